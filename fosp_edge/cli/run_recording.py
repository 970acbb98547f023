"""The experience store of a run, opened for the recorder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.manifest import Manifest
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.control.recorder import REASONS, Recorder, Writer
from fosp_edge.experience.episode import Camera, EpisodeHeader, Recording
from fosp_edge.experience.quota import enforce
from fosp_edge.experience.store import ExperienceStore

SOURCE = "bundle"


def recording_of(manifest: Manifest, cameras: Sequence[PolicyCamera] = ()) -> Recording:
    """What all episodes of a bundle's robot have in common, with what is known of the cameras that are there."""
    there = {camera.name: camera for camera in cameras}
    return Recording(
        robot=manifest.robot,
        rate_hz=manifest.rate_hz,
        cameras=tuple(
            Camera(camera.name, camera.width_px, camera.height_px, camera.preprocessing)
            if camera.name not in there
            else Camera(
                camera.name,
                camera.width_px,
                camera.height_px,
                there[camera.name].preprocessing,
                there[camera.name].serial,
                there[camera.name].calibration_sha256,
            )
            for camera in manifest.cameras
        ),
        state=manifest.state,
        action=manifest.actions,
    )


def open_recorder(
    folder: Path,
    bundle: Bundle,
    cameras: Sequence[PolicyCamera] = (),
    *,
    driver: Callable[[], str] | None = None,
    quota_bytes: int | None = None,
) -> tuple[Recorder, ExperienceStore]:
    """A recorder that writes into the store at `folder`; close the store after the recorder.

    Args:
        folder: of the store.
        bundle: says what is recorded.
        cameras: those that are there.
        driver: id of the bundle that drives the coming episode, where that changes.
        quota_bytes: what the episodes may take; before each new one the least telling of the old ones go.

    Raises:
        StoreError: the store cannot be made or opened there.
    """
    store = ExperienceStore(folder, "a")
    recording = recording_of(bundle.manifest, cameras)
    reasons = tuple(reason.name for reason in REASONS)

    def open_episode(seed: int, scenario: str) -> Writer:
        if quota_bytes is not None:
            enforce(store, quota_bytes)
        return store.writer(
            EpisodeHeader(
                recording=recording,
                source=SOURCE,
                scenario=scenario,
                seed=seed,
                bundle=bundle.path.name if driver is None else driver(),
                reasons=reasons,
            )
        )

    return Recorder(open_episode), store
