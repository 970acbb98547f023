"""The firmware images: one conversation with the host build and with a Cortex-M3 under QEMU, and what is in them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from firmware_bridge import Capability, Fault, JointLimits, LinkLostError, MotorLink, Reaction, Refusal, State
from tests.firmware_bridge.boards import Board, host_board, qemu_board
from tests.firmware_bridge.native import build, needs_arm_gcc, needs_gcc, needs_qemu

LIMITS = [JointLimits(-2.0, 2.0, 1.0, 20.0)] * 6


def eventually(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.005)


@contextmanager
def any_board(kind: str, folder: Path) -> Iterator[Board]:
    with host_board(folder) if kind == "host" else qemu_board(folder) as board:
        yield board


kinds = pytest.mark.parametrize(
    "kind", [pytest.param("host", marks=needs_gcc), pytest.param("qemu", marks=[needs_arm_gcc, needs_qemu])]
)


@kinds
def test_the_whole_conversation(kind: str, tmp_path: Path) -> None:
    with any_board(kind, tmp_path) as board, MotorLink(board.port, expected_joint_count=6) as link:
        handshake = link.connect(20.0)
        assert handshake.name.startswith("fosp-")
        link.upload_limits(LIMITS, 10.0)
        link.configure_watchdog(0.5, Reaction.STOP)
        link.arm()

        def moved() -> bool:
            link.command_velocity(np.full(6, 0.5))
            now = link.latest()
            return now is not None and bool(np.all(now.position_rad > 0.05))

        eventually(moved)
        link.command_velocity(np.full(6, 1.01))
        eventually(lambda: link.latest().refusal is Refusal.VELOCITY)  # type: ignore[union-attr]
        eventually(lambda: link.latest().faults is Fault.WATCHDOG)  # type: ignore[union-attr]
        eventually(lambda: not np.any(link.latest().velocity_rad_s))  # type: ignore[union-attr]
        link.clear_faults()
        link.arm()
        link.command_position(link.latest().position_rad + 0.02)  # type: ignore[union-attr]
        assert link.stop(10.0)
        eventually(lambda: link.latest().faults is Fault.HOST_STOP)  # type: ignore[union-attr]
        counters = link.counters()
        assert counters.controller.crc_errors == counters.controller.framing_errors == 0
        assert counters.host.crc_errors == counters.host.framing_errors == 0
        assert counters.controller.watchdog_trips == 1


@needs_gcc
def test_wheels_turn_on_and_on(tmp_path: Path) -> None:
    with host_board(tmp_path, 2, wheels=True) as board, MotorLink(board.port, expected_joint_count=2) as link:
        assert Capability.ENDLESS in link.connect(20.0).capabilities
        link.upload_limits([JointLimits(-100.0, 100.0, 40.0, 400.0)] * 2, 10.0)
        link.configure_watchdog(1.0, Reaction.STOP)
        link.arm()
        seen: list[float] = []

        def past_the_ends() -> bool:
            link.command_velocity(np.array([40.0, -40.0]))
            now = link.latest()
            assert now is not None and now.refusal is Refusal.NONE
            np.testing.assert_allclose(now.position_rad.sum(), 0.0, atol=1e-5)
            seen.append(float(now.position_rad[0]))
            return len(seen) > 1 and sum(after < before for before, after in pairwise(seen)) > 20

        eventually(past_the_ends)
        assert -np.pi - 1e-6 <= min(seen) < -2.0 and 2.0 < max(seen) <= np.pi + 1e-6
        assert link.stop(10.0)


@needs_arm_gcc
@needs_qemu
def test_a_reset_in_mid_motion_is_noticed_and_leaves_the_board_disarmed(tmp_path: Path) -> None:
    with qemu_board(tmp_path) as board, MotorLink(board.port) as link:
        link.connect(20.0)
        link.upload_limits(LIMITS, 10.0)
        link.configure_watchdog(1.0)
        link.arm()
        link.command_velocity(np.full(6, 0.3))
        eventually(lambda: link.latest().state is State.ARMED)  # type: ignore[union-attr]
        board.reset()

        def noticed() -> bool:
            try:
                link.latest()
            except LinkLostError as lost:
                return "restarted" in str(lost)
            return False

        eventually(noticed)
        link.close()
        link.connect(20.0)
        telemetry = link.latest()
        assert telemetry is not None and telemetry.state is State.DISARMED and not np.any(telemetry.position_rad)


@needs_gcc
def test_the_board_is_killed_in_mid_motion(tmp_path: Path) -> None:
    with host_board(tmp_path) as board, MotorLink(board.port) as link:
        link.connect(10.0)
        board.process.kill()

        def lost() -> bool:
            try:
                link.latest()
            except LinkLostError:
                return True
            return False

        eventually(lost)


@needs_arm_gcc
@pytest.mark.parametrize(
    ("target", "image", "options"),
    [
        ("qemu", "fosp_qemu.elf", ()),
        ("nucleo", "fosp_nucleo_f446re.elf", ()),
        ("nucleo", "fosp_nucleo_f446re.elf", ("ENDLESS=1",)),
    ],
)
def test_images_have_no_floating_point_and_no_heap(
    target: str, image: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    build(target, tmp_path, *options)
    names = subprocess.run(
        ["arm-none-eabi-nm", str(tmp_path / image)], capture_output=True, text=True, check=True
    ).stdout
    symbols = {line.split()[-1] for line in names.splitlines()}
    assert "fosp_check_command" in symbols
    floating = {name for name in symbols if name.startswith(("__aeabi_f", "__aeabi_d")) and "ldivmod" not in name}
    assert not floating
    assert not symbols & {"malloc", "free", "_sbrk", "printf"}
