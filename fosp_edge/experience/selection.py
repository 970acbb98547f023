"""Some of a recording's cameras: for agents that need fewer than were recorded."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fosp_edge.experience.episode import EpisodeInfo, Recording, StoreError
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.source import EpisodeSource


class CameraSelection:
    """A source seen through the named cameras only, in the named order.

    Raises:
        StoreError: the source has no such camera, or no episodes; the message lists the cameras there are.
    """

    def __init__(self, source: EpisodeSource, names: Sequence[str]) -> None:
        recording = source.header
        if recording is None:
            raise StoreError("there are no episodes to choose cameras from; `fosp-edge data collect` makes some")
        known = {camera.name: index for index, camera in enumerate(recording.cameras)}
        if missing := [name for name in names if name not in known]:
            raise StoreError(f"the recording has no camera {missing[0]!r}; it has: {', '.join(known)}")
        self._source = source
        self._channels = np.concatenate([3 * known[name] + np.arange(3) for name in names])
        self._order = [known[name] for name in names]
        self._recording = self._chosen(recording)

    @property
    def header(self) -> Recording:
        """The recording with the chosen cameras only."""
        return self._recording

    def episodes(self) -> list[EpisodeInfo]:
        """Every episode of the source."""
        return [
            replace(info, header=replace(info.header, recording=self._chosen(info.header.recording)))
            for info in self._source.episodes()
        ]

    def _chosen(self, recording: Recording) -> Recording:
        """Episodes may differ in which specimen of a camera they are from, so each keeps its own."""
        return replace(recording, cameras=tuple(recording.cameras[index] for index in self._order))

    def read(self, episode_id: str) -> Steps:
        """All rows of one episode, the images with the chosen cameras' channels."""
        steps = self._source.read(episode_id)
        return steps | {"image": np.ascontiguousarray(steps["image"][..., self._channels])}
