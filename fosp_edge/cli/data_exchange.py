"""`fosp-edge data import|export`: episodes from and for other tools."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fosp_edge.bundle.picture import Preprocessing
from fosp_edge.cameras.preprocess import Preprocessor
from fosp_edge.cli.data import KINDS, Kind
from fosp_edge.experience.episode import Camera, EpisodeHeader, EpisodeInfo, Recording
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.source import EpisodeSource
from fosp_edge.experience.sources import FORMATS, open_source, writer_for
from fosp_edge.experience.store import ExperienceStore

POLICY_PICTURE_PX = 64
"""What a FOSP agent looks at."""
_WRITABLE = ", ".join(item.name for item in FORMATS if item.write is not None)


def import_episodes(
    source: Annotated[Path, typer.Argument(help=f"Folder to read: {', '.join(item.name for item in FORMATS)}.")],
    store: Annotated[Path, typer.Argument(help="Store to append to; made if it is not there.")],
    rate_hz: Annotated[
        float | None, typer.Option(min=0.1, help="Control rate of the recording, where its format does not say.")
    ] = None,
    robot: Annotated[str | None, typer.Option(help="Name of the robot, in place of what the recording says.")] = None,
    picture: Annotated[
        int, typer.Option(min=0, help="Side of the policy's pictures in pixels; 0 leaves pictures as they are.")
    ] = POLICY_PICTURE_PX,
) -> None:
    """Append the episodes of another tool to a store. What was imported before is not imported twice.

    Larger pictures are cropped and resized as the cameras' are on the robot, and the store says so.
    """
    with _open(source, rate_hz) as opened, ExperienceStore(store, "a") as target:
        present = {_identity(info.header) for info in target.episodes()}
        wanted = []
        for info in opened.episodes():
            header = _resized(_renamed(info.header, robot), picture)
            if _identity(header) not in present:
                wanted.append((info, header))
        with _progress("importing") as progress:
            task = progress.add_task("", total=len(wanted))
            for info, header in wanted:
                steps = through_preprocessing(opened.read(info.id), header.recording.cameras)
                target.add(header, steps, info.summary.outcome)
                progress.advance(task)
        already = len(opened.episodes()) - len(wanted)
    typer.echo(f"{len(wanted)} episodes imported into {store}" + (f", {already} were there already" if already else ""))


def _resized(header: EpisodeHeader, side_px: int) -> EpisodeHeader:
    """The header of the same episode with pictures of the policy's size, as `through_preprocessing` makes them."""
    cameras = []
    for camera in header.recording.cameras:
        here = camera.width_px, camera.height_px
        if side_px and here != (side_px, side_px) and min(here) >= side_px:
            if camera.preprocessing is not None:
                raise ValueError(
                    f"camera {camera.name}: its pictures of {here[0]}x{here[1]} pixels were preprocessed already "
                    f"({camera.preprocessing.sentence()}); import them as they are with --picture 0"
                )
            wanted = Preprocessing(side_px, side_px, source_px=here)
            camera = replace(camera, width_px=side_px, height_px=side_px, preprocessing=wanted)
        cameras.append(camera)
    return replace(header, recording=replace(header.recording, cameras=tuple(cameras)))


def through_preprocessing(steps: Steps, cameras: Sequence[Camera]) -> Steps:
    """The same steps with every camera's pictures brought to what `cameras` state, by the function the robot uses."""
    images = np.asarray(steps["image"], dtype=np.uint8)
    height, width = images.shape[1:3]
    if all((camera.width_px, camera.height_px) == (width, height) for camera in cameras):
        return steps
    seen = []
    for index, camera in enumerate(cameras):
        prepare = Preprocessor(camera.preprocessing or Preprocessing(camera.width_px, camera.height_px), width, height)
        seen.append(np.stack([prepare(row) for row in images[..., 3 * index : 3 * index + 3]]))
    return steps | {"image": np.concatenate(seen, axis=-1)}


def export_episodes(
    store: Annotated[Path, typer.Argument(help="Store, or any other folder of episodes.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; must be empty or not there.")],
    form: Annotated[str, typer.Option("--format", help=f"One of: {_WRITABLE}.")] = "lerobot",
    only: Annotated[Kind | None, typer.Option(help="Only episodes with this in them.")] = None,
) -> None:
    """Write episodes in the format of another tool; pictures are kept without loss."""
    write = writer_for(form)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; choose another folder")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; choose another folder")
    with _open(store, None) as opened:
        ids = [info.id for info in opened.episodes() if only is None or KINDS[only](info)]
        if not ids:
            raise ValueError(f"{store} has no such episodes; nothing was written")
        with _progress("exporting") as progress:
            task = progress.add_task("", total=len(ids))
            files = write(_Watched(opened, lambda: progress.advance(task)), out, ids)
    typer.echo(f"{len(ids)} episodes exported to {out}, {files} file{'' if files == 1 else 's'} in the format {form}")


class _Watched:
    """A source that tells when an episode is read."""

    def __init__(self, source: EpisodeSource, told: Callable[[], None]) -> None:
        self._source, self._told = source, told

    @property
    def header(self) -> Recording | None:
        return self._source.header

    def episodes(self) -> Sequence[EpisodeInfo]:
        return self._source.episodes()

    def read(self, episode_id: str) -> Steps:
        steps = self._source.read(episode_id)
        self._told()
        return steps


@contextmanager
def _open(path: Path, rate_hz: float | None) -> Iterator[EpisodeSource]:
    source = open_source(path, rate_hz)
    try:
        yield source
    finally:
        if isinstance(source, ExperienceStore):
            source.close()


def _progress(word: str) -> Progress:
    columns = (TextColumn(word), BarColumn(), MofNCompleteColumn(), TextColumn("episodes, left"), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _identity(header: EpisodeHeader) -> tuple[str, str, int, str | None, str]:
    return header.source, header.scenario, header.seed, header.bundle, header.recording.robot


def _renamed(header: EpisodeHeader, robot: str | None) -> EpisodeHeader:
    return header if robot is None else replace(header, recording=replace(header.recording, robot=robot))
