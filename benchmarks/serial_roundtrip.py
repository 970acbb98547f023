"""Latency and rate on the serial line: `python -m benchmarks.serial_roundtrip [--json FILE] [--sdk FOLDER]`.

Every far end is a process of its own on a pseudo-terminal, or a Cortex-M3 under QEMU. Measured: a command (encode and
write), a request and its answer, and a sync read of six servos by this project's bus and by the vendors' kits, taken in
turns on the same emulated bus, back to back and paced at 500 Hz or the line's limit. The kits are used where FOLDER or
the environment has them (`pip install --target FOLDER dynamixel-sdk feetech-servo-sdk`). A pseudo-terminal has no bit
rate: the line's limit is what 1 Mbaud would allow for the same bytes. On a busy machine only the ratios mean something.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.serial_far_end import JOINTS
from experiments.wire_origin import wire_origin
from firmware_bridge import JointLimits, MotorLink
from firmware_bridge.buses.bus import ServoBus
from firmware_bridge.buses.families import FAMILIES
from firmware_bridge.buses.packets import sync_read

LINE_BITS_PER_BYTE = 10
BAUD_RATE = 1_000_000
ROUNDS = 5


@contextmanager
def far_end(kind: str) -> Iterator[str]:
    """The port of an emulator in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.serial_far_end", kind]
    root = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()


@contextmanager
def firmware(kind: str) -> Iterator[str]:
    """The port of the C firmware: on this computer, or on a Cortex-M3 under QEMU."""
    from tests.firmware_bridge.boards import host_board, qemu_board

    with TemporaryDirectory() as folder, (host_board if kind == "host" else qemu_board)(Path(folder)) as board:
        yield board.port


def timed(call: Callable[[], object], times: int, pause_s: float = 0.0) -> dict[str, float]:
    """Median, 99th percentile and largest duration of `times` calls, after a tenth as many to warm up."""
    took_us = []
    for number in range(-times // 10, times):
        started = time.perf_counter_ns()
        call()
        if number >= 0:
            took_us.append((time.perf_counter_ns() - started) / 1e3)
        if pause_s:
            time.sleep(pause_s)
    median, high = np.percentile(took_us, [50, 99])
    return {"median_us": round(median, 1), "p99_us": round(high, 1), "max_us": round(max(took_us), 1), "calls": times}


def sustained(call: Callable[[], object], rate_hz: float, seconds: float) -> dict[str, float]:
    """Call at a fixed rate, as a control loop does; a deadline that is missed is skipped, not caught up."""
    period_s = 1.0 / rate_hz
    start_s = due_s = time.perf_counter()
    made = missed = 0
    while due_s < start_s + seconds:
        time.sleep(max(0.0, due_s - time.perf_counter()))
        call()
        made += 1
        due_s += period_s
        late_s = time.perf_counter() - due_s
        if late_s > 0.0:
            skipped = int(late_s / period_s) + 1
            missed += skipped
            due_s += skipped * period_s
    return {
        "asked_hz": round(rate_hz, 1),
        "kept_hz": round(made / (time.perf_counter() - start_s), 1),
        "missed_percent": round(100.0 * missed / (made + missed), 2),
    }


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The median of every figure over the rounds, so that one bad moment of the machine does not decide."""
    if not rounds:
        return None
    return {
        name: middle([one[name] for one in rounds])
        if isinstance(value, dict)
        else round(float(np.median([one[name] for one in rounds])), 2)
        for name, value in rounds[0].items()
    }


def line_limit_hz(kind: str) -> float:
    """How often a line of 1 Mbaud can carry a sync read of all joints and its answers, nothing else."""
    family = FAMILIES[kind]
    address, length = family.state_span
    request = len(sync_read(family.form, address, length, tuple(range(1, JOINTS + 1))))
    return BAUD_RATE / LINE_BITS_PER_BYTE / (request + JOINTS * len(family.form.answer(1, 0, bytes(length))))


def measure_link(port: str, times: int) -> dict[str, Any]:
    """A command and a request over one link."""
    with MotorLink(port, expected_joint_count=JOINTS) as link:
        link.connect(20.0)
        link.upload_limits([JointLimits(-2.0, 2.0, 1.0, 20.0)] * JOINTS)
        link.configure_watchdog(1.0)
        link.arm()
        velocity = np.zeros(JOINTS)
        command = timed(lambda: link.command_velocity(velocity), times, pause_s=0.001)
        before = link.counters()
        rate = sustained(lambda: link.command_velocity(velocity), 500.0, seconds=times / 500)
        after = link.counters()
        applied = after.controller.commands_applied - before.controller.commands_applied
        rate["commands_not_applied"] = after.commands_sent - before.commands_sent - applied
        request = timed(link.counters, times)  # last: a second without a command trips the watchdog
        return {"command_encode_and_write": command, "request_and_answer": request, "sustained_commands": rate}


def measure_bus(kind: str, port: str, times: int) -> dict[str, Any]:
    """Sync reads of six servos by this project's bus."""
    family, ids = FAMILIES[kind], tuple(range(1, JOINTS + 1))
    bus = ServoBus(port, family, ids, state_timeout_s=1.0, register_timeout_s=2.0)
    bus.handshake()
    result: dict[str, Any] = timed(bus.read_states, times)
    goals = [2048] * JOINTS

    def cycle() -> None:
        bus.read_states()
        bus.write_goals(goals)

    result["read_and_write"] = timed(cycle, times)
    result["one_register"] = timed(lambda: bus.read_register(1, "present_position"), times)
    result["missing_answers"] = bus.counters.missing_answers
    result["sustained"] = sustained(bus.read_states, min(500.0, line_limit_hz(kind)), seconds=times / 500)
    bus.close()
    result["line_limit_hz"] = round(line_limit_hz(kind))
    return result


def measure_kit(kind: str, port: str, times: int) -> dict[str, Any] | None:
    """The same sync reads by the vendor's kit, as its own examples do them; None where it is not installed."""
    name = {"dynamixel": "dynamixel_sdk", "feetech": "scservo_sdk"}[kind]
    try:
        kit = import_module(name)
    except ModuleNotFoundError:
        return None
    address, length = FAMILIES[kind].state_span
    handler = kit.PortHandler(port)
    handler.openPort()
    handler.setBaudRate(BAUD_RATE)
    packets = kit.PacketHandler(2.0 if kind == "dynamixel" else 0)
    reader = kit.GroupSyncRead(handler, packets, address, length)
    for motor_id in range(1, JOINTS + 1):
        reader.addParam(motor_id)
    failed = 0
    position = FAMILIES[kind].registers["present_position"]

    def read() -> None:
        nonlocal failed
        failed += reader.txRxPacket() != 0
        for motor_id in range(1, JOINTS + 1):
            reader.getData(motor_id, position.address, position.size)

    result: dict[str, Any] = timed(read, times)
    read_one = packets.read4ByteTxRx if position.size == 4 else packets.read2ByteTxRx
    result["one_register"] = timed(lambda: read_one(handler, 1, position.address), times)
    result["sustained"] = sustained(read, min(500.0, line_limit_hz(kind)), seconds=times / 500)
    handler.closePort()
    return {**result, "failed_reads": failed}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sdk", type=Path, help="folder with the vendors' kits")
    arguments = parser.parse_args()
    if arguments.sdk:
        sys.path.append(str(arguments.sdk))
    # The load says who else wanted the processor: above the number of cores, the tails below are theirs.
    result: dict[str, Any] = {"origin": wire_origin()}
    with far_end("controller") as port:
        result["emulated controller (Python)"] = measure_link(port, arguments.times)
    for kind in ("host", "qemu"):
        with firmware(kind) as port:
            result[f"firmware ({kind})"] = measure_link(port, arguments.times // 5)
    for kind in FAMILIES:
        with far_end(kind) as port:
            own, kit = [], []
            for _ in range(ROUNDS):
                own.append(measure_bus(kind, port, arguments.times // ROUNDS))
                kit.append(measure_kit(kind, port, arguments.times // ROUNDS))
            result[f"{kind}: sync read of {JOINTS}"] = middle(own)
            result[f"{kind}: sync read of {JOINTS}, vendor's kit"] = middle([one for one in kit if one is not None])
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
