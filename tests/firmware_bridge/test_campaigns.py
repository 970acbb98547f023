"""The fault and fuzz campaigns in small, and that they would notice a controller that is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import wire_faults, wire_fuzz
from experiments.wire_processes import ProcessTrial, ServoTrial
from firmware_bridge.buses.families import FAMILIES, ServoFamily
from firmware_bridge.codes import Fault, Refusal
from firmware_bridge.controller import Controller
from firmware_bridge.safety import Verdict
from tests.firmware_bridge.native import NativeController, needs_gcc


@pytest.mark.parametrize("make", [Controller, pytest.param(NativeController, marks=needs_gcc)])
def test_motors_stop_in_every_trial(make: type[Controller]) -> None:
    result = wire_faults.campaign(lambda seed: wire_faults.Trial(make, seed).run(), 25, seed=1)
    assert result["violations"] == []
    assert result["trials_with_motion"] > 15 and len(result["endings"]) == len(wire_faults.ENDINGS)


class WithoutWatchdog(Controller):
    def _latch(self, fault: Fault, *, react: bool = True) -> None:
        if fault is not Fault.WATCHDOG:
            super()._latch(fault, react=react)


def test_a_controller_without_watchdog_is_found_out() -> None:
    assert wire_faults.campaign(lambda seed: wire_faults.Trial(WithoutWatchdog, seed).run(), 8, seed=1)["violations"]


@pytest.mark.parametrize("make", [Controller, pytest.param(NativeController, marks=needs_gcc)])
def test_motors_stop_when_a_host_process_ends(make: type[Controller]) -> None:
    result = wire_faults.campaign(lambda seed: ProcessTrial(make, seed).run(), 3, seed=2)
    assert result["violations"] == [] and result["trials_with_motion"]


def test_a_controller_without_watchdog_does_not_survive_a_killed_process() -> None:
    # SIGKILL, then a cable that is pulled.
    outcomes = [ProcessTrial(WithoutWatchdog, seed).run() for seed in (1, 2)]
    assert any(outcome["violations"] for outcome in outcomes)


@pytest.mark.parametrize("family", ["dynamixel", "feetech"])
def test_servos_come_to_rest_when_their_host_process_ends(family: str) -> None:
    outcome = ServoTrial(family, 1).run()
    assert outcome["violations"] == [] and outcome["moved"]


def test_a_controller_without_limits_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def allow(*arguments: object, **_: object) -> Verdict:
        return Verdict(Refusal.NONE, 0, tuple(arguments[4]))  # type: ignore[arg-type]

    monkeypatch.setattr("firmware_bridge.safety.check_command", allow)
    assert wire_faults.campaign(lambda seed: wire_faults.Trial(Controller, seed).run(), 40, seed=1)["violations"]


def test_python_reads_any_bytes() -> None:
    result = wire_fuzz.fuzz_python(3_000, seed=2)
    assert result["damaged_frames_accepted"] == 0 and result["ignored_frames"]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_servo_packets_are_read_from_any_bytes(family: ServoFamily) -> None:
    result = wire_fuzz.fuzz_servo_packets(family, 3_000, seed=2)
    assert result["longest_buffer"] < 70_000  # type: ignore[operator]
    assert result["damaged_packets_accepted"] <= 3 * result["accepted_by_the_odds_of_its_check"] + 3  # type: ignore[operator]


@needs_gcc
def test_c_reads_any_bytes(tmp_path: Path) -> None:
    result = wire_fuzz.fuzz_c(3_000, seed=2)
    assert result["unsound"] == 0 and result["edges"] > 200  # type: ignore[operator]
