"""The shipped agent over each kind of motor wire: `python -m experiments.servo_wires [--episodes N] [--json FILE]`.

Every episode is a simulated robot of its own, in real time: table, arm and cameras are those of the seed, what differs
is what the motors hang on (a controller board, or emulated servos behind the real bus driver). Judged by the referee.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from experiments.wire_origin import wire_origin
from firmware_bridge.buses.bus import ServoBus
from firmware_bridge.buses.calibration import centred
from firmware_bridge.buses.families import FAMILIES
from firmware_bridge.buses.virtual import servo_link
from firmware_bridge.link import MotorLink
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.controller import Controller
from fosp_edge.control.loop import ControlLoop, LoopSettings
from fosp_edge.control.machine import Machine
from fosp_edge.control.session import AutomaticOperator, Plan, RunSummary, Session
from fosp_edge.robots.fingertip_drive import FingertipDrive
from fosp_edge.robots.serial_robot import SerialRobot
from fosp_edge.robots.wires import CONTROLLER
from fosp_edge.simulation.launcher import SimulatedRobot

IDS = tuple(range(1, 7))
PATIENCE_S = 0.5


def link_to(wire: str, port: str) -> MotorLink | None:
    """The driver for a wire; None lets SerialRobot open a controller board."""
    if wire == CONTROLLER:
        return None
    return servo_link(port, lambda name: ServoBus(name, FAMILIES[wire], IDS), centred(IDS), bus_watchdog_s=PATIENCE_S)


def episode(bundle: Bundle, wire: str, seed: int) -> tuple[RunSummary, bool]:
    """One judged episode; also whether the simulation could not keep up."""
    with SimulatedRobot(seed=seed, wire=wire) as device:
        arm = SerialRobot(
            device.port,
            FingertipDrive(period_s=1.0 / bundle.manifest.rate_hz),
            watchdog_s=PATIENCE_S,
            telemetry_timeout_s=PATIENCE_S,
            link=link_to(wire, device.port),
        )
        loop = ControlLoop(
            arm,
            [device.cameras[camera.name] for camera in bundle.manifest.cameras],
            Controller(bundle),
            Machine(),
            referee=device.referee,
            settings=LoopSettings(max_frame_age_s=PATIENCE_S, max_missed_in_a_row=40),
        )
        summary = Session(loop, AutomaticOperator()).run(Plan("standard", first_seed=seed, episodes=1))
        return summary, any("too busy" in line for line in device.log)


def measure(bundle: Bundle, wire: str, episodes: int) -> dict[str, Any]:
    """All episodes over one wire."""
    rows = []
    for seed in range(episodes):
        summary, starved = episode(bundle, wire, seed)
        [one] = summary.episodes
        rows.append(
            {
                "seed": seed,
                "end": one.reason.name,
                "sentence": summary.detail,
                "success": one.success,
                "cost": one.cost,
                "return": round(one.reward, 2),
                "simulation_starved": starved,
            }
        )
    return {
        "episodes": episodes,
        "reached": sum(bool(row["success"]) for row in rows),
        "in_violation": sum(row["cost"] > 0 for row in rows),
        "mean_return": round(sum(row["return"] for row in rows) / episodes, 2),
        "ended_by_the_wire": sum(row["end"] in ("ROBOT_LOST", "ROBOT_FAULT") for row in rows),
        "rows": rows,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bundle = load_bundle(shipped_bundle())
    result: dict[str, Any] = {"origin": wire_origin(), "bundle": bundle.path.name}
    for wire in (CONTROLLER, *FAMILIES):
        result[wire] = measure(bundle, wire, arguments.episodes)
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
