"""Proof, on the hardware that is connected, that its limits and its watchdog work: `certify`.

Nothing moves noticeably: the only motion ever applied is a velocity of zero, everything faster must be refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from firmware_bridge.codes import Fault, Reaction, Refusal, Result, State
from firmware_bridge.errors import LinkError, RefusedError
from firmware_bridge.link import Handshake, MotorLink
from firmware_bridge.telemetry import JointLimits, Telemetry

WATCHDOG_S = 0.1
PATIENCE_S = 5.0


@dataclass(frozen=True)
class Check:
    """One thing that was tried and what came of it."""

    name: str
    passed: bool
    measured: str


@dataclass(frozen=True)
class Certificate:
    """What was tried on which controller."""

    controller: Handshake
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


def limits_around(position_rad: float, reach_rad: float = 0.3) -> JointLimits:
    """Return slow limits around where a joint is now: safe on hardware of which nothing else is known."""
    return JointLimits(
        position_rad - reach_rad, position_rad + reach_rad, 0.3, 2.0, effort_max_nm=1.0, distance_max_rad=0.1
    )


def certify(link: MotorLink, handshake: Handshake) -> Certificate:
    """Try limits, watchdog, stop and latches on a connected, disarmed controller. Leaves it disarmed.

    Raises LinkLostError if the controller goes away meanwhile.
    """
    telemetry = link.latest()
    assert telemetry is not None
    link.clear_faults()
    joints = handshake.joint_count
    checks = [_boots_disarmed(telemetry), _needs_limits(link, joints)]
    link.upload_limits([limits_around(float(at)) for at in telemetry.position_rad])
    checks.append(Check("limits are stored as sent", True, f"{joints} joints read back"))
    link.configure_watchdog(WATCHDOG_S, Reaction.HOLD)
    link.arm()
    checks.append(_refuses(link, "a velocity beyond its limit", np.full(joints, 0.31), Refusal.VELOCITY))
    checks.append(_refuses(link, "a jump beyond its acceleration", np.full(joints, 0.25), Refusal.ACCELERATION))
    checks.append(_refuses_nan(link, joints))
    checks.append(_watchdog(link, joints))
    checks.append(_latched(link))
    link.clear_faults()
    link.arm()
    checks.append(_stop(link))
    link.clear_faults()
    link.disarm()
    return Certificate(handshake, tuple(checks))


def _boots_disarmed(telemetry: Telemetry) -> Check:
    return Check("a new session is disarmed", not telemetry.armed, telemetry.state.name)


def _needs_limits(link: MotorLink, joints: int) -> Check:
    # Limits of an earlier session are still stored: then there is nothing to refuse.
    try:
        link.arm()
    except RefusedError as refused:
        return Check("arming needs limits", refused.result is Result.LIMITS_MISSING, refused.result.name)
    link.disarm()
    return Check("arming needs limits", True, f"limits of an earlier session are stored for {joints} joints")


def _wait(link: MotorLink, condition: Callable[[Telemetry], bool]) -> Telemetry | None:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        telemetry = link.latest()
        if telemetry is not None and condition(telemetry):
            return telemetry
        time.sleep(0.001)
    return None


def _rearm(link: MotorLink) -> None:
    telemetry = link.latest()
    if telemetry is not None and telemetry.state is State.FAULT:
        link.clear_faults()
    link.arm()


def _refuses(link: MotorLink, what: str, velocity_rad_s: np.ndarray, why: Refusal) -> Check:
    _rearm(link)
    start = link.latest()
    assert start is not None
    link.command_velocity(velocity_rad_s)
    seen = _wait(link, lambda now: now.commands_refused > start.commands_refused)
    moved = 0.0 if seen is None else float(np.max(np.abs(seen.position_rad - start.position_rad)))
    passed = seen is not None and seen.refusal is why and moved < 0.02
    found = "not refused" if seen is None else f"{seen.refusal.name}, moved {moved * 1e3:.1f} mrad"
    return Check(f"refuses {what}", passed, found)


def _refuses_nan(link: MotorLink, joints: int) -> Check:
    try:
        link.command_velocity(np.full(joints, np.nan))
    except ValueError:
        return Check("NaN never leaves this computer", True, "ValueError")
    return Check("NaN never leaves this computer", False, "it was sent")


def _watchdog(link: MotorLink, joints: int) -> Check:
    _rearm(link)
    sequence = link.command_velocity(np.zeros(joints))
    applied = _wait(link, lambda now: now.command_sequence == sequence and now.armed)
    tripped = _wait(link, lambda now: bool(now.faults & Fault.WATCHDOG))
    if applied is None or tripped is None:
        return Check("the watchdog stops on silence", False, "it did not trip")
    # Between two telemetry messages of the controller's own clock: an upper bound by one period each.
    silent_s = (tripped.ticks_us - applied.ticks_us) * 1e-6
    return Check(
        "the watchdog stops on silence", silent_s < WATCHDOG_S + 0.05, f"{silent_s * 1e3:.0f} ms by its own clock"
    )


def _latched(link: MotorLink) -> Check:
    try:
        link.arm()
    except RefusedError as refused:
        return Check("a fault stays until it is cleared", refused.result is Result.FAULT_LATCHED, refused.result.name)
    return Check("a fault stays until it is cleared", False, "it armed")


def _stop(link: MotorLink) -> Check:
    started_s = time.monotonic()
    try:
        acknowledged = link.stop(PATIENCE_S)
    except LinkError as problem:
        return Check("stop is acknowledged", False, str(problem))
    took_ms = (time.monotonic() - started_s) * 1e3
    held = _wait(link, lambda now: now.state is State.FAULT and bool(now.faults & Fault.HOST_STOP))
    return Check("stop is acknowledged and latches", acknowledged and held is not None, f"{took_ms:.1f} ms")
