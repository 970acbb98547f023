"""The paper's five tasks as gymnasium environments: two cameras on the robot, four physics steps per action.

The paper names a rear camera `vision_back` that the released package does not have; its renderer then shows the whole
scene from above, layout and all. Here the rear camera is one: the front camera turned about the robot's upright axis.
Nor are the package's lidar markers drawn into the pictures, which show what only the simulator knows.
"""

import tempfile
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from fosp_edge.simulation.safety_gym.loading import load_builder, package_folder
from fosp_edge.simulation.safety_gym.pictures import Pictures
from fosp_edge.simulation.safety_gym.tasks import ACTION_REPEAT, CAMERAS, PIXELS, task_named


class SafetyGym(gymnasium.Env[dict[str, Any], npt.NDArray[np.float32]]):  # type: ignore[misc]
    """One of the paper's simulation tasks.

    Observation: `image` uint8 [64, 64, 6] (front and rear camera), `state` float32 [0]. Action: two numbers in [-1, 1].
    Rewards and costs are summed over the repeats of an action; `info["violation"]` says whether any of them had a
    cost. An episode has 1,000 steps of the simulation, 250 actions.

    Args:
        task: a name in `TASKS`.

    Raises:
        ValueError: unknown task.
        SafetyGymMissing: Safety-Gymnasium is not installed.
        PicturesError: from `reset`; this machine cannot draw.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 12}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, task: str) -> None:
        self.task = task_named(task)
        builder = load_builder()
        self.scenario = task
        self.period_s = ACTION_REPEAT * self.task.step_s
        with warnings.catch_warnings():  # ranges of observations that nobody looks at
            warnings.filterwarnings("ignore", "overflow encountered in cast", RuntimeWarning)
            self._builder = builder(f"{task}-v0", config={"agent_name": self.task.robot})
        self._folder = tempfile.TemporaryDirectory()
        robot = self._builder.task.agent
        robot.base = str(_with_rear_camera(package_folder() / robot.base, Path(self._folder.name)))
        # What the package calls an observation takes as long as the physics, and nobody looks at it.
        self._builder.task.obs = lambda: None
        self._pictures: Pictures | None = None
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (len(self.task.action),), np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "image": gymnasium.spaces.Box(0, 255, (PIXELS, PIXELS, 3 * len(CAMERAS)), np.uint8),
                "state": gymnasium.spaces.Box(-1.0, 1.0, (0,), np.float32),
            }
        )

    @property
    def truth(self) -> Any:
        """The package's own task object; for scripted behaviours and tests."""
        return self._builder.task

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode; the seed decides the layout."""
        super().reset(seed=seed)
        self._builder.reset(seed=seed if seed is not None else int(self.np_random.integers(2**31)))
        if self._pictures is None:
            self._pictures = Pictures(self.truth.model, PIXELS)
        self._pictures.show(self.truth.model)  # each episode is a model of its own
        return self._observe(), _info(0.0)

    def step(self, action: npt.NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Four steps of the simulation."""
        action = np.asarray(action, np.float64)
        if action.shape != self.action_space.shape or not np.all(np.isfinite(action)):
            raise ValueError(f"expected {len(self.task.action)} finite numbers in [-1, 1] as action, found {action!r}")
        total_reward = total_cost = 0.0
        terminated = truncated = False
        for _ in range(ACTION_REPEAT):
            _, reward, cost, terminated, truncated, _ = self._builder.step(np.clip(action, -1.0, 1.0))
            total_reward, total_cost = total_reward + float(reward), total_cost + float(cost)
            if terminated or truncated:
                break
        return self._observe(), total_reward, bool(terminated), bool(truncated), _info(total_cost)

    def render(self, camera: str = "vision") -> npt.NDArray[np.uint8]:
        """One camera's picture, [64, 64, 3]; `fixedfar` looks from outside."""
        if self._pictures is None:
            raise RuntimeError("call reset() before using the environment")
        return self._pictures.draw(self.truth.data, camera)

    def close(self) -> None:
        """Give the renderer back."""
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None
        self._folder.cleanup()

    def _observe(self) -> dict[str, Any]:
        return {"image": np.concatenate([self.render(name) for name in CAMERAS], -1), "state": np.zeros(0, np.float32)}


def _info(cost: float) -> dict[str, Any]:
    return {"cost": cost, "violation": cost > 0.0, "success": False}


def _with_rear_camera(model: Path, folder: Path) -> Path:
    """A copy of a robot's model whose front camera has a counterpart that looks backwards."""
    tree = ET.parse(model)  # noqa: S314 - a file of an installed package
    for body in tree.iter("body"):
        front = body.find("camera[@name='vision']")
        if front is not None:
            rear = dict(front.attrib) | {"name": CAMERAS[1]}
            for name in ("pos", "xyaxes"):  # turned by half a turn about the upright axis
                turned = np.fromstring(front.attrib[name], sep=" ").reshape(-1, 3) * (-1.0, -1.0, 1.0)
                rear[name] = " ".join(f"{value:g}" for value in turned.ravel())
            body.insert(list(body).index(front) + 1, ET.Element("camera", rear))
            break
    else:
        raise ValueError(f"{model} has no camera `vision`; expected that of safety-gymnasium's robots")
    copy = folder / model.name
    tree.write(copy)
    return copy
