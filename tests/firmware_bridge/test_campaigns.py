"""The fault and fuzz campaigns in small, and that they would notice a controller that is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import wire_faults, wire_fuzz
from firmware_bridge.codes import Fault, Refusal
from firmware_bridge.controller import Controller
from firmware_bridge.safety import Verdict
from tests.firmware_bridge.native import NativeController, needs_gcc


@pytest.mark.parametrize("make", [Controller, pytest.param(NativeController, marks=needs_gcc)])
def test_motors_stop_in_every_trial(make: type[Controller]) -> None:
    result = wire_faults.campaign(make, 25, seed=1)
    assert result["violations"] == []
    assert result["trials_with_motion"] > 15 and len(result["endings"]) == len(wire_faults.ENDINGS)


class WithoutWatchdog(Controller):
    def _latch(self, fault: Fault, *, react: bool = True) -> None:
        if fault is not Fault.WATCHDOG:
            super()._latch(fault, react=react)


def test_a_controller_without_watchdog_is_found_out() -> None:
    assert wire_faults.campaign(WithoutWatchdog, 8, seed=1)["violations"]


def test_a_controller_without_limits_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def allow(*arguments: object, **_: object) -> Verdict:
        return Verdict(Refusal.NONE, 0, tuple(arguments[4]))  # type: ignore[arg-type]

    monkeypatch.setattr("firmware_bridge.safety.check_command", allow)
    assert wire_faults.campaign(Controller, 40, seed=1)["violations"]


def test_python_reads_any_bytes() -> None:
    result = wire_fuzz.fuzz_python(3_000, seed=2)
    assert result["damaged_frames_accepted"] == 0 and result["ignored_frames"]


@needs_gcc
def test_c_reads_any_bytes(tmp_path: Path) -> None:
    result = wire_fuzz.fuzz_c(3_000, seed=2)
    assert result["unsound"] == 0 and result["edges"] > 200  # type: ignore[operator]
