"""A small exact plant for tests: joints that follow their velocity at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from firmware_bridge.emulator import ControllerEmulator, PseudoTerminal, serve


class IntegratorPlant:
    """Positions are the integral of the last velocity target; records every target it was given."""

    def __init__(self, joints: int = 6) -> None:
        self.position = [0.0] * joints
        self.velocity = [0.0] * joints
        self.holds = 0
        self.fastest_rad_s = 0.0

    def joint_count(self) -> int:
        return len(self.position)

    def positions_rad(self) -> Sequence[float]:
        return self.position

    def velocities_rad_s(self) -> Sequence[float]:
        return self.velocity

    def set_velocity_targets(self, velocity_rad_s: Sequence[float]) -> None:
        self.velocity = list(velocity_rad_s)
        self.fastest_rad_s = max(self.fastest_rad_s, *map(abs, velocity_rad_s))

    def set_hold(self) -> None:
        self.holds += 1
        self.velocity = [0.0] * len(self.position)

    def step(self, dt_s: float) -> None:
        self.position = [p + v * dt_s for p, v in zip(self.position, self.velocity, strict=True)]


class SteppedEmulator(ControllerEmulator):
    """Physics and controller in lockstep."""

    def __init__(self, plant: IntegratorPlant) -> None:
        super().__init__(plant)
        self.plant = plant

    def advance(self, dt_us: int) -> None:
        super().advance(dt_us)
        self.plant.step(dt_us * 1e-6)


@contextmanager
def served(emulator: ControllerEmulator, period_s: float = 0.001) -> Iterator[PseudoTerminal]:
    """A pseudo-terminal that an emulator serves from a thread of this process."""
    stop = threading.Event()
    with PseudoTerminal() as line:
        thread = threading.Thread(target=serve, args=(line.fd, emulator, stop, period_s), daemon=True)
        thread.start()
        try:
            yield line
        finally:
            stop.set()
            thread.join()


@contextmanager
def running_emulator(joints: int = 6) -> Iterator[tuple[PseudoTerminal, SteppedEmulator]]:
    """An emulator of joints that follow at once, serving a pseudo-terminal."""
    emulator = SteppedEmulator(IntegratorPlant(joints))
    with served(emulator) as line:
        yield line, emulator
