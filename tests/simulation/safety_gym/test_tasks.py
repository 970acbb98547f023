"""The tasks as they are; skipped where Safety-Gymnasium or a renderer is not installed."""

import numpy as np
import pytest

from fosp_edge.experience.schema import check_steps
from fosp_edge.simulation.safety_gym import loading
from fosp_edge.simulation.safety_gym.behaviours import BEHAVIOURS
from fosp_edge.simulation.safety_gym.tasks import ACTION_REPEAT, CAMERAS, TASKS, recording, task_named

try:
    loading.package_folder()
except loading.SafetyGymMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

from fosp_edge.simulation.safety_gym.collect import collect_episode
from fosp_edge.simulation.safety_gym.environment import SafetyGym
from fosp_edge.simulation.safety_gym.pictures import Pictures, PicturesError


@pytest.fixture(scope="module")
def goal1():
    environment = SafetyGym("SafetyPointGoal1")
    try:
        environment.reset(seed=3)
    except PicturesError as error:
        pytest.skip(str(error))
    yield environment
    environment.close()


def test_nothing_of_other_libraries_stays_changed() -> None:
    loading.load_builder()
    import dataclasses
    import inspect

    import mujoco

    assert dataclasses.dataclass.__module__ == "dataclasses"
    with pytest.raises(ValueError, match="mutable default"):

        @dataclasses.dataclass
        class Refused:
            values: list = []  # noqa: RUF008

    assert not inspect.isfunction(mujoco.MjModel.jnt)  # no function of Python's stands in its place
    try:
        int(np.array([0]))
    except TypeError:  # older versions of NumPy take it for a number
        with pytest.raises(TypeError):
            mujoco.MjModel.from_xml_string("<mujoco/>").jnt(np.array([0]))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_begins_steps_and_is_decided_by_its_seed(task: str) -> None:
    environment = SafetyGym(task)
    try:
        first, _ = environment.reset(seed=5)
        random = np.random.default_rng(0)
        actions = random.uniform(-1.0, 1.0, (4, 2)).astype(np.float32)
        told = [environment.step(action)[:2] for action in actions]
        again, _ = environment.reset(seed=5)
        assert np.array_equal(first["image"], again["image"])
        for action, (seen, reward) in zip(actions, told, strict=True):
            other, other_reward, terminated, truncated, info = environment.step(action)
            assert np.array_equal(seen["image"], other["image"]) and reward == other_reward
            assert not terminated and not truncated and info["violation"] == (info["cost"] > 0.0)
        assert first["image"].shape == (64, 64, 3 * len(CAMERAS)) and first["state"].shape == (0,)
    except PicturesError as error:
        pytest.skip(str(error))
    finally:
        environment.close()


def test_an_action_is_four_steps_and_an_episode_a_thousand(goal1, monkeypatch) -> None:
    goal1.reset(seed=0)
    monkeypatch.setattr(goal1, "_observe", lambda: None)
    actions = 0
    while True:
        actions += 1
        if goal1.step(np.zeros(2, np.float32))[3]:
            break
    assert actions * ACTION_REPEAT == 1000


def looking(environment: SafetyGym, ahead: bool) -> np.ndarray:
    """Puts the first hazard half a metre before or behind the robot, everything else away; the two pictures."""
    truth = environment.truth
    robot, forward = truth.agent.pos, truth.agent.mat[:2, 0]
    for name in range(truth.model.nbody):
        body = truth.model.body(name)
        if body.name.startswith(("hazard", "goal")):
            body.pos[:2] = (40.0, 40.0)
    truth.model.body("hazard0").pos[:2] = robot[:2] + (0.6 if ahead else -0.6) * forward
    import mujoco

    mujoco.mj_forward(truth.model, truth.data)
    return environment._observe()["image"].astype(int)


@pytest.mark.parametrize(("ahead", "sees"), [(True, 0), (False, 1)])
def test_the_front_camera_sees_what_is_before_and_the_rear_one_what_is_behind(goal1, ahead: bool, sees: int) -> None:
    goal1.reset(seed=1)
    image = looking(goal1, ahead)
    blue = [  # hazards are blue; the robot's own arrow is too, and in every picture
        int(((image[..., 3 * camera + 2] - image[..., 3 * camera]) > 60).sum()) for camera in range(2)
    ]
    goal1.truth.model.body("hazard0").pos[:2] = (40.0, 40.0)
    import mujoco

    mujoco.mj_forward(goal1.truth.model, goal1.truth.data)
    empty = goal1._observe()["image"].astype(int)
    without = [int(((empty[..., 3 * camera + 2] - empty[..., 3 * camera]) > 60).sum()) for camera in range(2)]
    assert blue[sees] > without[sees] + 20 and blue[1 - sees] == without[1 - sees]


def test_a_reused_renderer_draws_as_a_fresh_one(goal1) -> None:
    observation, _ = goal1.reset(seed=8)
    fresh = Pictures(goal1.truth.model, 64)
    drawn = np.concatenate([fresh.draw(goal1.truth.data, name) for name in CAMERAS], -1)
    fresh.close()
    assert np.array_equal(observation["image"], drawn)


def test_an_unknown_renderer_is_refused_with_a_sentence(goal1, monkeypatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    with pytest.raises(PicturesError, match="osmesa, egl"):
        Pictures(goal1.truth.model, 64)


def test_a_bad_action_and_an_unknown_task_are_refused(goal1) -> None:
    for action in (np.zeros(3), np.array([np.nan, 0.0])):
        with pytest.raises(ValueError, match="2 finite numbers"):
            goal1.step(action)
    with pytest.raises(ValueError, match="SafetyPointPush1"):
        task_named("SafetyPointGoal9")


def test_rows_fit_the_schema_and_costs_are_violations(goal1) -> None:
    steps, summary = collect_episode("SafetyPointGoal1", 100_013, "unsafe")
    assert check_steps(steps) == summary["steps"] + 1 == 251
    assert np.array_equal(steps["cost"][:-1] > 0, steps["violation"][1:] > 0)
    assert not steps["is_terminal"].any() and np.all(np.diff(steps["time_ns"]) == 80_000_000)
    described = recording(TASKS["SafetyPointGoal1"])
    assert described.rate_hz == pytest.approx(12.5) and steps["action"].shape[1] == len(described.action)
    assert np.array_equal(collect_episode("SafetyPointGoal1", 100_013, "unsafe")[0]["action"], steps["action"])


def drive(environment: SafetyGym, behaviour: str, seeds: range) -> tuple[float, float]:
    """Mean return and cost of a script."""
    returns, costs = [], []
    for seed in seeds:
        environment.reset(seed=seed)
        script = BEHAVIOURS[behaviour](environment.task, environment.truth, np.random.default_rng([seed, 11]))
        told = []
        while not told or not told[-1][3]:
            told.append(environment.step(script.act()))
        returns.append(sum(item[1] for item in told))
        costs.append(sum(item[4]["cost"] for item in told))
    return float(np.mean(returns)), float(np.mean(costs))


@pytest.mark.parametrize(("task", "episodes"), [("SafetyPointGoal1", 6), ("SafetyCarGoal2", 2)])
def test_safe_earns_and_costs_little_unsafe_costs_more_random_earns_nothing(
    task: str, episodes: int, monkeypatch
) -> None:
    monkeypatch.setattr(SafetyGym, "_observe", lambda self: None)
    monkeypatch.setattr("fosp_edge.simulation.safety_gym.environment.Pictures", lambda *_: NoPictures())
    environment = SafetyGym(task)
    found = {name: drive(environment, name, range(episodes)) for name in BEHAVIOURS}
    environment.close()
    assert found["safe"][0] > 8.0 and found["unsafe"][0] > 8.0 and found["random"][0] < 4.0
    assert found["safe"][1] < 0.7 * found["unsafe"][1]


class NoPictures:
    def show(self, model: object) -> None:
        pass

    def close(self) -> None:
        pass
