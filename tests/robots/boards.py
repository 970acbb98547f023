"""An emulated controller behind a pseudo-terminal, before joints that follow at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from firmware_bridge.emulator import ControllerEmulator, PseudoTerminal
from fosp_edge.robots.arm import FloatArray
from tests.firmware_bridge.plants import served


class Joints:
    """Joints that follow their velocity at once."""

    def __init__(self, position_rad: FloatArray) -> None:
        self.position = position_rad.copy()
        self.velocity = np.zeros(len(position_rad))
        self.temperature_c = 30.0

    def joint_count(self) -> int:
        return len(self.position)

    def positions_rad(self) -> Sequence[float]:
        return self.position.tolist()  # type: ignore[no-any-return]

    def velocities_rad_s(self) -> Sequence[float]:
        return self.velocity.tolist()

    def temperatures_c(self) -> Sequence[float]:
        return [self.temperature_c] * len(self.position)

    def set_velocity_targets(self, velocity_rad_s: Sequence[float]) -> None:
        self.velocity = np.array(velocity_rad_s)

    def set_hold(self) -> None:
        self.velocity = np.zeros(len(self.position))


class Board(ControllerEmulator):
    """The controller and what it moves; `hung`, it does nothing any more."""

    def __init__(self, joints: Joints, *, endless: bool = False) -> None:
        super().__init__(joints, endless=endless)
        self.joints = joints
        self.hung = False

    def advance(self, dt_us: int) -> None:
        if not self.hung:
            super().advance(dt_us)
            self.joints.position = self.joints.position + self.joints.velocity * dt_us * 1e-6


@contextmanager
def board(joints: Joints, *, endless: bool = False) -> Iterator[tuple[PseudoTerminal, Board]]:
    emulator = Board(joints, endless=endless)
    with served(emulator, 0.002) as line:
        yield line, emulator
