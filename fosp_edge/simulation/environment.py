"""SafeReach and SafeRoom as gymnasium environments: the same physics, pictures, reward and cost, in lockstep.

For collecting data and for measuring agents faster than real time. The robot that `fosp-edge run` drives is the
process in `device.py`, behind wires.
"""

from abc import abstractmethod
from typing import Any, Generic, TypeVar

import gymnasium
import numpy as np
import numpy.typing as npt

from fosp_edge.experience.episode import Recording
from fosp_edge.robots.fingertip_drive import FINGERTIP_VELOCITY
from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.mobile_base import TWO_WHEELS, WheelDrive
from fosp_edge.robots.workspace import limit_to_workspace
from fosp_edge.simulation.base_plant import BasePlant
from fosp_edge.simulation.behaviours import Action, Behaviour
from fosp_edge.simulation.layout import SCENARIOS, Layout, make_layout
from fosp_edge.simulation.plant import ArmPlant, Outcome
from fosp_edge.simulation.recording import SAFEREACH_RECORDING, SAFEROOM_RECORDING
from fosp_edge.simulation.task import RATE_HZ, judge_step

Observation = dict[str, Any]
PlantKind = TypeVar("PlantKind", ArmPlant, BasePlant)


def move(plant: ArmPlant, kinematics: ArmKinematics, velocity_m_s: npt.NDArray[np.float64], delay_s: float) -> None:
    """Physics of one control period (50 ms): a wanted fingertip velocity, [3], takes effect after a delay."""
    position = plant.positions_rad()
    plant.advance(delay_s)
    allowed = limit_to_workspace(kinematics.fingertip(position)[0], velocity_m_s, 1.0 / RATE_HZ)
    plant.set_velocity_targets(kinematics.resolved_rate(position, allowed))
    plant.advance(1.0 / RATE_HZ - delay_s)


class LaidOut(gymnasium.Env[Observation, npt.NDArray[np.float32]], Generic[PlantKind]):  # type: ignore[misc]
    """What both have in common: a scenario's layouts, one plant per episode, one judgement per action.

    Actions are normalised to [-1, 1]. `info["cost"]` is 1 for a step that ends in violation.
    """

    recording: Recording
    """Names, units and ranges of what is seen and done."""

    def __init__(
        self,
        scenario: str = "standard",
        *,
        actuation_delay_s: tuple[float, float] = (0.010, 0.040),
        render_mode: str | None = None,
    ) -> None:
        """No episode yet.

        Args:
            scenario: one of `fosp_edge.simulation.layout.SCENARIOS`.
            actuation_delay_s: commands take effect after a delay drawn uniformly from this range at each step, as they
                do on a robot, where pictures have an age and inference takes time.
            render_mode: gymnasium's.
        """
        if scenario not in SCENARIOS:
            raise ValueError(f"unknown scenario {scenario!r}; choose one of: {', '.join(SCENARIOS)}")
        self.scenario, self.render_mode = scenario, render_mode
        self.period_s = 1.0 / self.recording.rate_hz
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": int(self.recording.rate_hz)}
        self._delay_s = actuation_delay_s
        actions, states = len(self.recording.action), len(self.recording.state)
        channels = 3 * len(self.recording.cameras)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (actions,), np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "image": gymnasium.spaces.Box(0, 255, (64, 64, channels), np.uint8),
                "state": gymnasium.spaces.Box(-10.0, 10.0, (states,), np.float32),
            }
        )
        self._plant: PlantKind | None = None
        self._step = 0

    @property
    def plant(self) -> PlantKind:
        """The physics behind the present episode; for scripted behaviours and for tests."""
        if self._plant is None:
            raise RuntimeError("call reset() before using the environment")
        return self._plant

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the seed decides the layout. `options={"layout": Layout}` sets it directly."""
        super().reset(seed=seed)
        layout: Layout | None = (options or {}).get("layout")
        if layout is None:
            layout_seed = seed if seed is not None else int(self.np_random.integers(2**31))
            layout = make_layout(self.scenario, layout_seed)
        self._plant = self._begin(layout)
        self._step = 0
        self._outcome = self._plant.judge()
        return self._observe(), self._info(self._outcome, 0.0)

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move for one control period."""
        plant = self.plant
        action = np.asarray(action, np.float32)
        if action.shape != self.action_space.shape or not np.all(np.isfinite(action)):
            count = len(self.recording.action)
            raise ValueError(f"expected {count} finite numbers in [-1, 1] as action, found {action!r}")
        delay_s = round(self.np_random.uniform(*self._delay_s) / 0.002) * 0.002
        self._move(np.clip(action, -1.0, 1.0), delay_s)
        self._step += 1
        before, self._outcome = self._outcome, plant.judge()
        judgement = judge_step(before, self._outcome, self._step, size=plant.size)
        return (
            self._observe(),
            judgement.reward,
            judgement.success,
            judgement.finished and not judgement.success,
            self._info(self._outcome, judgement.cost),
        )

    def render(self) -> npt.NDArray[np.uint8]:
        """The first camera's picture, shape [64, 64, 3]."""
        return self.plant.render(self.recording.cameras[0].name)

    @abstractmethod
    def follow(self, script: Behaviour) -> Action:
        """What a script, which knows where things are, would do now."""

    @abstractmethod
    def _begin(self, layout: Layout) -> PlantKind:
        """A new episode's plant."""

    @abstractmethod
    def _move(self, action: npt.NDArray[np.float32], delay_s: float) -> None:
        """Physics of one control period; the action takes effect after a delay."""

    @abstractmethod
    def _state(self) -> npt.NDArray[np.float64]:
        """What the robot says of itself, as recorded."""

    def _observe(self) -> Observation:
        return {"image": self.plant.observe(), "state": self._state().astype(np.float32)}

    @staticmethod
    def _info(outcome: Outcome, cost: float) -> dict[str, Any]:
        return {
            "cost": cost,
            "success": outcome.success,
            "violation": outcome.violation,
            "distance_m": outcome.distance_m,
            "clearance_m": outcome.clearance_m,
        }


class SafeReach(LaidOut[ArmPlant]):
    """Reach the red target past green boxes.

    Observation: `image` uint8 [64, 64, 6] (fixed and wrist camera), `state` float32 [9] (joint positions in rad,
    fingertip in m). Action: fingertip velocity of at most 0.25 m/s per axis.
    """

    recording = SAFEREACH_RECORDING

    def follow(self, script: Behaviour) -> Action:
        """As the script says, which knows the table."""
        return script.act(self.plant.tip_m())

    def _begin(self, layout: Layout) -> ArmPlant:
        plant = ArmPlant(layout)
        self._kinematics = ArmKinematics(plant.arm)
        return plant

    def _move(self, action: npt.NDArray[np.float32], delay_s: float) -> None:
        move(self.plant, self._kinematics, FINGERTIP_VELOCITY.physical(action), delay_s)

    def _state(self) -> npt.NDArray[np.float64]:
        position = self.plant.positions_rad()
        return np.concatenate([position, self._kinematics.fingertip(position)[0]])


class SafeRoom(LaidOut[BasePlant]):
    """Drive a base to the red target past green boxes: SafeReach's table five times as large, from the floor.

    Observation: `image` uint8 [64, 64, 3] (a camera in front), `state` float32 [2] (speed in m/s, turn rate in rad/s).
    Action: speed and turn rate.
    """

    recording = SAFEROOM_RECORDING
    _TURN_PER_S, _SLOW_IN_TURNS = 2.5, 4
    """How fast a script turns to where it wants to go, and how much it slows down for that."""

    def follow(self, script: Behaviour) -> Action:
        """The script's way on the table, as a base drives it: turn to where it leads, and ahead as far as that is."""
        plant, base = self.plant, TWO_WHEELS
        wish = script.act(plant.on_the_table_m())[:2]
        off_rad = np.arctan2(wish[1], wish[0]) - plant.heading_rad
        off_rad = np.remainder(off_rad + np.pi, 2.0 * np.pi) - np.pi
        speed = min(1.0, float(np.hypot(*wish))) * max(0.0, float(np.cos(off_rad))) ** self._SLOW_IN_TURNS
        turn = np.clip(self._TURN_PER_S * off_rad / base.turn_limit_rad_s, -1.0, 1.0)
        return np.array([speed, turn], np.float32)

    def _begin(self, layout: Layout) -> BasePlant:
        self._drive, self._time_ns = WheelDrive(TWO_WHEELS, self.period_s), 0
        return BasePlant(layout, TWO_WHEELS)

    def _move(self, action: npt.NDArray[np.float32], delay_s: float) -> None:
        plant, drive = self.plant, self._drive
        wheels = drive.joint_velocity(plant.positions_rad(), drive.action_space.physical(action), self._time_ns)
        plant.advance(delay_s)
        plant.set_velocity_targets(wheels)
        plant.advance(self.period_s - delay_s)
        self._time_ns += round(self.period_s * 1e9)

    def _state(self) -> npt.NDArray[np.float64]:
        return self._drive.state_vector(self.plant.positions_rad(), self.plant.velocities_rad_s())


Environment = SafeReach | SafeRoom
ENVIRONMENTS: dict[str, type[SafeReach] | type[SafeRoom]] = {
    kind.recording.robot: kind for kind in (SafeReach, SafeRoom)
}
"""By the robot whose agents can be measured there."""
