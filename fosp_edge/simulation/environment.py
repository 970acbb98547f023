"""SafeReach as a gymnasium environment: the same physics, pictures, reward and cost, in lockstep.

For collecting data and for measuring agents faster than real time. The robot that `fosp-edge run` drives is the
process in `device.py`, behind wires.
"""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from fosp_edge.robots.kinematics import ArmKinematics
from fosp_edge.robots.workspace import limit_to_workspace
from fosp_edge.simulation.layout import SCENARIOS, Layout, make_layout
from fosp_edge.simulation.plant import ArmPlant, Outcome
from fosp_edge.simulation.task import ACTION_SPACE, RATE_HZ, judge_step

Observation = dict[str, Any]


def move(plant: ArmPlant, kinematics: ArmKinematics, velocity_m_s: npt.NDArray[np.float64], delay_s: float) -> None:
    """Physics of one control period (50 ms): a wanted fingertip velocity, [3], takes effect after a delay."""
    position = plant.positions_rad()
    plant.advance(delay_s)
    allowed = limit_to_workspace(kinematics.fingertip(position)[0], velocity_m_s, 1.0 / RATE_HZ)
    plant.set_velocity_targets(kinematics.resolved_rate(position, allowed))
    plant.advance(1.0 / RATE_HZ - delay_s)


class SafeReach(gymnasium.Env[Observation, npt.NDArray[np.float32]]):  # type: ignore[misc]
    """Reach the red target past green boxes.

    Observation: `image` uint8 [64, 64, 6] (fixed and wrist camera), `state` float32 [9] (joint positions in rad,
    fingertip in m). Action: fingertip velocity, normalised to [-1, 1], of at most 0.25 m/s per axis. `info["cost"]`
    is 1 for a step that ends in violation.

    Args:
        scenario: one of `fosp_edge.simulation.layout.SCENARIOS`.
        actuation_delay_s: commands take effect after a delay drawn uniformly from this range at each step, as they
            do on a robot, where pictures have an age and inference takes time.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": int(RATE_HZ)}  # noqa: RUF012

    def __init__(
        self,
        scenario: str = "standard",
        *,
        actuation_delay_s: tuple[float, float] = (0.010, 0.040),
        render_mode: str | None = None,
    ) -> None:
        if scenario not in SCENARIOS:
            raise ValueError(f"unknown scenario {scenario!r}; choose one of: {', '.join(SCENARIOS)}")
        self.scenario, self.render_mode = scenario, render_mode
        self.period_s = 1.0 / RATE_HZ
        self._delay_s = actuation_delay_s
        self._kinematics: ArmKinematics | None = None
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "image": gymnasium.spaces.Box(0, 255, (64, 64, 6), np.uint8),
                "state": gymnasium.spaces.Box(-10.0, 10.0, (9,), np.float32),
            }
        )
        self._plant: ArmPlant | None = None
        self._step = 0

    @property
    def plant(self) -> ArmPlant:
        """The physics behind the present episode; for scripted behaviours and for tests."""
        if self._plant is None:
            raise RuntimeError("call reset() before using the environment")
        return self._plant

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the seed decides the layout. `options={"layout": Layout}` sets the table directly."""
        super().reset(seed=seed)
        layout: Layout | None = (options or {}).get("layout")
        if layout is None:
            layout_seed = seed if seed is not None else int(self.np_random.integers(2**31))
            layout = make_layout(self.scenario, layout_seed)
        self._plant = ArmPlant(layout)
        self._kinematics = ArmKinematics(self._plant.arm)
        self._step = 0
        self._outcome = self._plant.judge()
        return self._observe(), self._info(self._outcome, 0.0)

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move for one control period (50 ms)."""
        plant, kinematics = self.plant, self._kinematics
        assert kinematics is not None
        action = np.asarray(action, np.float32)
        if action.shape != (3,) or not np.all(np.isfinite(action)):
            raise ValueError(f"expected three finite numbers in [-1, 1] as action, found {action!r}")
        velocity = ACTION_SPACE.physical(np.clip(action, -1.0, 1.0))
        delay_s = round(self.np_random.uniform(*self._delay_s) / 0.002) * 0.002
        move(plant, kinematics, velocity, delay_s)
        self._step += 1
        before, self._outcome = self._outcome, plant.judge()
        judgement = judge_step(before, self._outcome, self._step)
        return (
            self._observe(),
            judgement.reward,
            judgement.success,
            judgement.finished and not judgement.success,
            self._info(self._outcome, judgement.cost),
        )

    def render(self) -> npt.NDArray[np.uint8]:
        """The fixed camera's picture, shape [64, 64, 3]."""
        return self.plant.render("fixed")

    def _observe(self) -> Observation:
        assert self._kinematics is not None
        position = self.plant.positions_rad()
        tip = self._kinematics.fingertip(position)[0]
        return {"image": self.plant.observe(), "state": np.concatenate([position, tip]).astype(np.float32)}

    @staticmethod
    def _info(outcome: Outcome, cost: float) -> dict[str, Any]:
        return {
            "cost": cost,
            "success": outcome.success,
            "violation": outcome.violation,
            "distance_m": outcome.distance_m,
            "clearance_m": outcome.clearance_m,
        }
