"""A base whose wheels are servos: the same drive, through the real bus code."""

import time
from dataclasses import replace

import numpy as np

from firmware_bridge.buses.bus import ServoBus
from firmware_bridge.buses.calibration import centred
from firmware_bridge.buses.families import DYNAMIXEL_X
from firmware_bridge.buses.virtual import servo_link
from fosp_edge.robots.base_file import BaseFile
from fosp_edge.robots.mobile_base import TWO_WHEELS, WheelDrive
from fosp_edge.robots.serial_robot import SerialRobot
from tests.firmware_bridge.test_buses import chain_on_a_line, patient


def test_it_drives_a_circle_forwards_and_its_tether_holds_it() -> None:
    described = BaseFile(replace(TWO_WHEELS, tether_m=0.1), "dynamixel", "1,2", ("right",))
    calibration = centred((1, 2), directions=described.directions)
    with chain_on_a_line(DYNAMIXEL_X, joints=2, wheels=described.directions) as chain:

        def open_bus(port: str) -> ServoBus:
            return patient(port, DYNAMIXEL_X, (1, 2), wheels=True)

        link = servo_link(chain.line.path, open_bus, calibration, bus_watchdog_s=2.0)
        # Generous times: this machine may be busy, and both ends of the line run on it.
        drive = WheelDrive(described.base, 0.05)
        base = SerialRobot(chain.line.path, drive, watchdog_s=1.0, telemetry_timeout_s=5.0, link=link)
        try:
            base.connect(20.0)
            base.arm()
            deadline_s = time.monotonic() + 60.0
            while drive.from_start_m < 0.05:
                assert time.monotonic() < deadline_s, "it did not drive"
                if base.read().fault:
                    base.arm()
                base.command(np.array([0.1, 0.5]))
                time.sleep(0.02)
            left, right = chain.plant.position
            assert right > left > 0.0, "both forwards, the right one farther: it turns left"
            while drive.from_start_m < 0.095 and time.monotonic() < deadline_s:
                if base.read().fault:
                    break  # anew, the tether would be tied here
                base.command(np.array([0.1, 0.0]))
                time.sleep(0.02)
            for _ in range(20):
                base.command(np.array([0.1, 0.0]))
                time.sleep(0.02)
            assert drive.from_start_m <= 0.1 + 0.005
            assert base.stop(10.0)
        finally:
            base.close()
        assert [servo.read("goal_velocity") for servo in chain.chain.servos] == [0, 0]
