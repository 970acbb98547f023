"""What `run --judge FILE` adds: the sources of reward and cost that the file names, behind the loop's referee."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.manifest import CameraContract
from fosp_edge.cli.rig import Rig, distances
from fosp_edge.control.decider import Decider
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.drive import Drive
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.judge_file import Judges, open_judges
from fosp_edge.robots.judging import SourcesReferee
from fosp_edge.robots.mobile_base import WheelDrive
from fosp_edge.robots.serial_robot import SerialRobot
from fosp_edge.robots.sources import Where

DEFAULT_STEPS = 100


@dataclass
class Bench:
    """The rig with its judges, and what they have to be told."""

    rig: Rig
    press: Callable[[str], None] | None = None
    """Hands a key to whoever judges by the keyboard; None if nobody does."""
    keys: frozenset[str] = frozenset()
    """That mean something to them."""
    controller: Callable[[], Decider] | None = None
    """Who decides; set once there is a loop."""
    stopped: Callable[[], bool] = lambda: False
    """Whether an emergency stop is pressed."""

    def intervened(self) -> bool:
        """Whether the filter stepped in at the last tick."""
        try:
            insight = None if self.controller is None else self.controller().insight
        except RuntimeError:  # nothing was decided since the reset
            return False
        return insight is not None and insight.advice.intervened


@contextmanager
def judged(
    rig: Rig,
    file: Path | None,
    cameras: Sequence[CameraContract],
    *,
    max_steps: int | None,
    keyboard_free: bool,
    otherwise: Callable[[], Judges] | None = None,
) -> Iterator[Bench]:
    """The rig as it is without a file, and otherwise judged by what the file names.

    Args:
        rig: opened; a referee of its own goes on laying out the scene.
        file: see `fosp_edge.robots.judge_file`.
        cameras: that a classifier has to look through.
        max_steps: longest episode.
        keyboard_free: whether somebody hands the keys on that are pressed during the run.
        otherwise: who judges where neither a file nor the rig does.

    Raises:
        ValueError, RobotError, CameraError, OSError: with what cannot be done.
    """
    if file is None and (rig.referee is not None or otherwise is None):
        yield Bench(rig)
        return
    if file is not None:
        for camera in rig.cameras:
            camera.start()  # whoever judges by what they see looks before anything moves
        depth = {camera.name: partial(distances, camera, rig.patience_s) for camera in rig.cameras}
        judges = open_judges(file, *_moved(rig), depth)
    else:
        assert otherwise is not None
        judges = otherwise()
    bench = Bench(rig)
    referee = SourcesReferee(
        judges.sources,
        rig.robot.read,
        look=(lambda: _picture(rig)) if judges.cameras is not None else lambda: None,
        intervened=bench.intervened,
        stopped=lambda: bench.stopped(),
        max_steps=max_steps or DEFAULT_STEPS,
        scene=rig.referee,
    )
    try:
        _check(judges, cameras, keyboard_free)
        bench.rig = replace(rig, referee=referee)
        if judges.keyboard is not None:
            bench.press, bench.keys = judges.keyboard.press, judges.keyboard.names
        yield bench
    finally:
        referee.close()


def _moved(rig: Rig) -> tuple[int, Where | None]:
    """How many joints there are, and how the robot's place is told."""
    if not isinstance(rig.robot, SerialRobot):
        raise RobotError(f"--judge does not know how {rig.robot.name} moves")
    return len(rig.robot.drive.limits), place_of(rig.robot.drive)


def place_of(drive: Drive) -> Where | None:
    """Where an arm's joints lead its fingertip, or a base's wheels the base; None where nobody knows."""
    if isinstance(drive, FingertipDrive):
        return lambda state: drive.kinematics.fingertip(state.position_rad)[0]
    if isinstance(drive, WheelDrive):
        return lambda state: np.append(drive.place_m, 0.0)
    return None


def _check(judges: Judges, cameras: Sequence[CameraContract], keyboard_free: bool) -> None:
    names = tuple(camera.name for camera in cameras)
    if judges.cameras is not None and judges.cameras != names:
        raise ValueError(
            f"the classifier looks through {', '.join(judges.cameras) or 'no camera'}, the bundle through "
            f"{', '.join(names)}; train it with those (fosp-edge data classifier --camera NAME)"
        )
    if judges.keyboard is not None and not keyboard_free:
        raise ValueError(
            "a keyboard cannot both answer questions and judge: give --yes and run in a terminal, or use a gamepad"
        )


def _picture(rig: Rig) -> npt.NDArray[np.uint8]:
    """The newest pictures, side by side on the channels; how old they may be is the loop's affair."""
    return np.concatenate([camera.latest(rig.patience_s).image for camera in rig.cameras], axis=-1)
