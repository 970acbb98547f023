"""What stands between the serial line and the simulated arm or base: a controller board, or servos on a bus."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from firmware_bridge.buses.emulator import ServoChainEmulator
from firmware_bridge.buses.families import FAMILIES
from firmware_bridge.codes import Drive, State
from firmware_bridge.emulator import ControllerEmulator
from fosp_edge.robots.wires import CONTROLLER, WIRES
from fosp_edge.simulation.base_plant import BasePlant
from fosp_edge.simulation.plant import ArmPlant

_MODELS = {"dynamixel": 1020, "feetech": 777}
"""XM430-W350 and STS3215."""

Answer = dict[str, object]


class Motors:
    """The plant as the electronics see it; outlives the tables that the robot is put at."""

    def __init__(self, plant: ArmPlant | BasePlant) -> None:
        self.plant = plant

    def joint_count(self) -> int:
        """Number of joints."""
        return self.plant.joint_count

    def positions_rad(self) -> Sequence[float]:
        """Joint positions."""
        return self.plant.positions_rad().tolist()  # type: ignore[no-any-return]

    def velocities_rad_s(self) -> Sequence[float]:
        """Joint velocities."""
        return self.plant.velocities_rad_s().tolist()  # type: ignore[no-any-return]

    def set_velocity_targets(self, velocity_rad_s: Sequence[float]) -> None:
        """Drive the joints."""
        self.plant.set_velocity_targets(np.asarray(velocity_rad_s))

    def set_hold(self) -> None:
        """Brake and stay."""
        self.plant.set_hold()


class Electronics(Protocol):
    """One end of a line. `poll`, `advance`, `flush` never block."""

    def poll(self, fd: int) -> object:
        """Take what the line brought."""

    def advance(self, dt_us: int) -> None:
        """Let time pass: sensors, decisions, motors."""

    def flush(self, fd: int) -> None:
        """Send what waits."""

    @property
    def dangerous(self) -> bool:
        """Whether the motors may move by themselves, so that nobody reaches in."""

    @property
    def driving(self) -> bool:
        """Whether the motors are being driven now."""

    def status(self) -> Answer:
        """The truth, for the referee."""


class Board:
    """A controller that speaks PROTOCOL.md."""

    def __init__(self, motors: Motors, name: str) -> None:
        wheels = isinstance(motors.plant, BasePlant)
        self._emulator = ControllerEmulator(motors, name=name, serial="SIM0001", endless=wheels)
        self.poll, self.advance, self.flush = self._emulator.poll, self._emulator.advance, self._emulator.flush

    @property
    def dangerous(self) -> bool:
        """Armed."""
        return self._emulator.controller.state is State.ARMED

    @property
    def driving(self) -> bool:
        """Following a velocity or an effort."""
        return self._emulator.controller.drive in (Drive.VELOCITY, Drive.EFFORT)

    def status(self) -> Answer:
        """State, faults and counters of the controller."""
        controller = self._emulator.controller
        return {
            "state": controller.state.name,
            "drive": controller.drive.name,
            "faults": int(controller.faults),
            "counters": vars(controller.read_counters()),
        }


class Servos:
    """A chain of servos: they know positions and torque, nothing of limits, arming or faults."""

    def __init__(self, motors: Motors, family: str, motor_ids: Sequence[int], wheels: Sequence[int] = ()) -> None:
        self._chain = ServoChainEmulator(FAMILIES[family], motor_ids, motors, _MODELS[family], wheels)
        self.model_number = _MODELS[family]

    def poll(self, fd: int) -> None:
        """Answer what the line brought."""
        self._chain.poll(fd)

    def advance(self, dt_us: int) -> None:
        """Position control of every servo, or velocity control of every wheel."""
        self._chain.advance(dt_us * 1e-6)

    def flush(self, fd: int) -> None:
        """Answers are sent when the question is read."""
        self._chain.poll(fd)

    @property
    def dangerous(self) -> bool:
        """A servo with torque goes back to its goal."""
        return any(servo.read("torque_enable") for servo in self._chain.servos)

    @property
    def driving(self) -> bool:
        """Never in the sense of a board; rest is judged by the joints."""
        return False

    def status(self) -> Answer:
        """Torque and goal of each servo, in the family's own units."""
        servos = self._chain.servos
        return {
            "state": "TORQUE" if self.dangerous else "LIMP",
            "goals": [servo.read("goal_position") for servo in servos],
            "torque": [servo.read("torque_enable") for servo in servos],
            "ids": [servo.read("id") for servo in servos],
        }


def make_electronics(
    wire: str, motors: Motors, name: str, motor_ids: Sequence[int] = (), wheels: Sequence[int] = ()
) -> Board | Servos:
    """What the wire asks for; servos without ids count from 1. `wheels`: 1 or -1 for each that counts backwards.

    Raises:
        ValueError: unknown wire, wheels on a wire of servos that cannot be any, or not one id per joint.
    """
    if wire not in WIRES:
        raise ValueError(f"unknown wire {wire!r}; choose one of: {', '.join(WIRES)}")
    if wire == CONTROLLER:
        return Board(motors, name)
    count = motors.joint_count()
    directions = (wheels or (1,) * count) if isinstance(motors.plant, BasePlant) else ()
    return Servos(motors, wire, motor_ids or range(1, count + 1), directions)
