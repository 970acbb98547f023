"""A base's bumper gets the camera that its file names, or the rig is refused before anything is armed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fosp_edge.bundle.manifest import CameraContract
from fosp_edge.cli.rig import SIMULATED, MotorOptions, count_what_holds_back, open_rig
from fosp_edge.control.telemetry import Telemetry
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.base_file import BaseFile
from fosp_edge.robots.depth_window import DepthWindow
from fosp_edge.robots.mobile_base import TWO_WHEELS, Bumper, WheelDrive
from fosp_edge.robots.serial_robot import SerialRobot

FRONT = (CameraContract("front", 64, 64),)


def with_bumper(folder: Path, camera: str) -> str:
    base = replace(TWO_WHEELS, name="mine", bumper=Bumper(camera, 0.25, DepthWindow((0.0, 0.3, 1.0, 0.6))))
    path = folder / "base.json"
    path.write_text(BaseFile(base).to_json())
    return str(path)


def test_a_bumper_looks_through_the_camera_that_the_file_names(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    with open_rig(
        SIMULATED, FRONT, 20.0, motors=MotorOptions(), camera_sources=[], scenario="standard", seed=2,
        simulated=with_bumper(tmp_path, "front"),
    ) as rig:  # fmt: skip
        assert isinstance(rig.robot, SerialRobot) and isinstance(rig.robot.drive, WheelDrive)
        assert rig.robot.drive.look is not None
        seen = rig.robot.drive.look()
        assert seen.depth.shape == (64, 64) and seen.depth.max() > 500 and seen.unit_m == 0.001
        telemetry = Telemetry()
        count_what_holds_back(rig.robot, telemetry)
        rig.robot.drive.reset(0)
        for tick in range(400):  # the base stands, so the tether is where it drives to in its own mind
            rig.robot.drive.joint_velocity(np.full(2, 0.4 * tick), np.array([0.22, 0.0]), tick * 50_000_000)
        assert telemetry.counters["held back by the tether"] > 0


def test_a_bumper_without_its_camera_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    with pytest.raises(RobotError, match="the bumper of mine looks through the camera rear, here are: front"), open_rig(
        SIMULATED, FRONT, 20.0, motors=MotorOptions(), camera_sources=[], scenario="standard", seed=2,
        simulated=with_bumper(tmp_path, "rear"),
    ):  # fmt: skip
        pass
