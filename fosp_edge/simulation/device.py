"""The process that is the simulated robot: `python -m fosp_edge.simulation.device`.

It offers what a real robot offers, a serial port and cameras, and nothing else to the control loop. Its standard
input and output are the referee's channel (`referee_protocol`). The first line it writes says where everything is:

    {"event": "ready", "port": "/dev/pts/3", "cameras": {"fixed": {"ring": ..., "serial": ...}, ...}, ...}

It ends when its standard input ends, so it never outlives the program that started it.
"""

import argparse
import contextlib
import gc
import json
import os
import select
import sys
import time

from firmware_bridge.buses.families import FAMILIES
from fosp_edge.cameras.base import CameraError
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.base_file import BaseFile
from fosp_edge.robots.catalogue import MECHANISMS, mechanism
from fosp_edge.robots.wires import CONTROLLER
from fosp_edge.simulation.pacing import StepPacer
from fosp_edge.simulation.referee_protocol import BadRequestError, LineBuffer, parse_request

try:
    from fosp_edge.simulation.machine import CYCLE_S, SimulatedMachine
except ModuleNotFoundError as error:
    if error.name is not None and error.name.partition(".")[0] in ("mujoco", "gymnasium"):
        sys.exit("the simulated robot needs the extra `simulation`: pip install 'fosp-edge[simulation]'")
    raise

_PRIORITY = -10
_COMPLAIN_EVERY_NS = 5_000_000_000
_WORTH_A_WORD_NS = 50_000_000


def main(arguments: list[str] | None = None) -> int:
    """Run the robot until standard input ends. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="fosp_edge.simulation.device", description="The simulated robot as a device.")
    parser.add_argument("--scenario", default="standard", help="scenario family of the first table")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first table")
    parser.add_argument("--wire", default=CONTROLLER, help=f"motors on: {CONTROLLER}, {', '.join(FAMILIES)}")
    parser.add_argument(
        "--arm", default=DESKTOP_ARM.name, help=f"what moves: {', '.join(MECHANISMS)}, or a robot's file"
    )
    parser.add_argument("--ids", type=int, nargs="*", default=[], help="ids of the servos from base to tool")
    parser.add_argument("--camera-hz", type=float, default=40.0, help="pictures per second, all cameras alike")
    options = parser.parse_args(arguments)
    if not 1.0 <= options.camera_hz <= 200.0:
        parser.error(f"--camera-hz: expected 1 to 200, found {options.camera_hz:g}")
    # A real controller is not slowed down by what else runs on the host; where the system allows it, nor is this one.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    try:
        found = mechanism(options.arm)
        moved = found.base if isinstance(found, BaseFile) else found.arm
        machine = SimulatedMachine(
            options.scenario, options.seed, wire=options.wire, moved=moved, motor_ids=tuple(options.ids),
            wheels=found.directions if isinstance(found, BaseFile) else (),
        )  # fmt: skip
    except (ValueError, CameraError, RobotError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        _say(_introduction(machine, options.camera_hz))
        _live(machine, options.camera_hz)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        machine.close()
    return 0


def _introduction(machine: SimulatedMachine, camera_hz: float) -> dict[str, object]:
    cameras = {
        name: {
            "ring": ring.name,
            "serial": ring.format.serial,
            "width_px": ring.format.width_px,
            "height_px": ring.format.height_px,
        }
        for name, ring in machine.rings.items()
    }
    return {"event": "ready", "port": machine.line.path, "cameras": cameras, "camera_hz": camera_hz}


def _live(machine: SimulatedMachine, camera_hz: float) -> None:
    """Let time pass in step with the clock until standard input ends."""
    source = sys.stdin.fileno()
    lines = LineBuffer()
    now_ns = time.monotonic_ns()
    steps = StepPacer(round(CYCLE_S * 1e9), now_ns)
    pictures = StepPacer(round(1e9 / camera_hz), now_ns)
    machine.take_pictures()
    gc.collect()
    gc.freeze()  # what start-up made stays: later collections, which delay the controller, need not look at it
    reported_ns, complaint_ns = 0, 0
    while True:
        for _ in range(steps.due(time.monotonic_ns())):
            machine.cycle()
        if pictures.due(time.monotonic_ns()):  # pictures that were missed are not taken twice
            machine.take_pictures()
        while machine.answers:
            _say(machine.answers.popleft())
        now_ns = time.monotonic_ns()
        if steps.lost_ns - reported_ns > _WORTH_A_WORD_NS and now_ns > complaint_ns:
            print(
                f"the simulated robot lost {(steps.lost_ns - reported_ns) * 1e-9:.2f} s: this computer is too busy to "
                "simulate in real time",
                file=sys.stderr,
                flush=True,
            )
            reported_ns, complaint_ns = steps.lost_ns, now_ns + _COMPLAIN_EVERY_NS
        readable, _, _ = select.select([source], [], [], steps.wait_s(time.monotonic_ns()))
        if readable:
            data = os.read(source, 65536)
            if not data:
                return
            for line in lines.feed(data):
                _obey(machine, line)


def _obey(machine: SimulatedMachine, line: bytes) -> None:
    try:
        machine.handle(parse_request(line))
    except BadRequestError as error:
        _say({"id": None, "ok": False, "error": str(error)})


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
