"""The arm's own driver over a chain of emulated servos: the same loop, through the real bus code."""

import time

import numpy as np
import pytest

from firmware_bridge import Torque
from firmware_bridge.buses.calibration import centred
from firmware_bridge.buses.families import FAMILIES, ServoFamily
from firmware_bridge.buses.virtual import servo_link
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.base import RobotLost
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.serial_robot import SerialRobot
from tests.firmware_bridge.test_buses import chain_on_a_line, patient


@pytest.mark.parametrize("family", list(FAMILIES.values()), ids=list(FAMILIES))
def test_a_fingertip_velocity_moves_the_servos(family: ServoFamily) -> None:
    ids = tuple(range(1, 7))
    with chain_on_a_line(family) as chain:
        chain.plant.position = list(DESKTOP_ARM.home_rad)
        link = servo_link(
            chain.line.path,
            lambda port: patient(port, family, ids),
            centred(ids),
            at_exit=Torque.OFF,
            bus_watchdog_s=2.0,
        )
        # Generous times: this machine may be busy, and both ends of the line run on it.
        arm = SerialRobot(chain.line.path, FingertipDrive(), watchdog_s=1.0, telemetry_timeout_s=5.0, link=link)
        try:
            arm.connect(20.0)
            arm.arm()
            start = arm.read().state[6:9]
            deadline_s = time.monotonic() + 60.0
            while np.linalg.norm(arm.read().state[6:9] - start) < 0.02:
                assert time.monotonic() < deadline_s, "the fingertip did not move"
                if arm.read().fault:
                    arm.arm()
                arm.command(np.array([0.0, 0.1, 0.05]))
                time.sleep(0.02)
            moved = arm.read().state[6:9] - start
            assert moved[1] > 0.0 and moved[2] > -0.005
            assert arm.stop(10.0)
        finally:
            arm.close()
        assert chain.chain.servos[0].read("torque_enable") == 0
        with pytest.raises(RobotLost):
            arm.read()
