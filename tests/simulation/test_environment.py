"""SafeReach and SafeRoom as gymnasium environments, the scripted behaviours in it, and the episodes they leave."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("gymnasium")
from gymnasium.utils.env_checker import check_env

from fosp_edge.experience.schema import check_steps
from fosp_edge.robots.catalogue import SIMULATED_TASKS
from fosp_edge.robots.fingertip_drive import SPEED_LIMIT_M_S
from fosp_edge.robots.mobile_base import TWO_WHEELS
from fosp_edge.robots.workspace import DESKTOP_WORKSPACE
from fosp_edge.simulation.base_plant import SCALE
from fosp_edge.simulation.behaviours import BEHAVIOURS
from fosp_edge.simulation.collect import MIXTURE, behaviour_of, collect_episode
from fosp_edge.simulation.environment import ENVIRONMENTS, SafeReach, SafeRoom
from fosp_edge.simulation.layout import SCENARIOS, make_layout
from fosp_edge.simulation.plant import Outcome
from fosp_edge.simulation.task import EPISODE_STEPS, judge_step

OVERSHOOT_M = 0.02
"""At full speed a period and the delay before it carry the fingertip so far beyond a face at most."""


kinds = pytest.mark.parametrize("kind", ENVIRONMENTS.values())


def test_the_catalogue_knows_who_has_a_task() -> None:
    assert tuple(ENVIRONMENTS) == SIMULATED_TASKS


@kinds
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_gymnasium_s_own_checker_passes(kind: type[SafeReach] | type[SafeRoom], scenario: str) -> None:
    check_env(kind(scenario, render_mode="rgb_array"), skip_render_check=True)


@kinds
@pytest.mark.parametrize("scenario", ["standard", "lighting"])
def test_the_same_seed_is_the_same_episode_bit_for_bit(kind: type[SafeReach] | type[SafeRoom], scenario: str) -> None:
    episodes = []
    for seed in (5, 5, 6):
        environment, random = kind(scenario), np.random.default_rng(1)
        observation, _ = environment.reset(seed=seed)
        rows = [(observation["image"], observation["state"], 0.0, 0.0)]
        for _ in range(8):
            observation, reward, _, _, info = environment.step(
                random.uniform(-1, 1, len(kind.recording.action)).astype(np.float32)
            )
            rows.append((observation["image"], observation["state"], reward, info["cost"]))
        episodes.append(rows)
    for one, two in zip(episodes[0], episodes[1], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(episodes[0][0][0], episodes[2][0][0])


def test_a_layout_can_be_given_and_an_unseeded_reset_draws_new_ones() -> None:
    environment, layout = SafeReach(), make_layout("goal-shape", 9)
    environment.reset(seed=1, options={"layout": layout})
    assert environment.plant.layout == layout
    tables = []
    for _ in range(2):
        environment.reset()
        tables.append(environment.plant.layout)
    assert tables[0] != tables[1]


@pytest.mark.parametrize("action", [[np.nan, 0, 0], [0, 0], [np.inf, 0, 0]])
def test_an_action_that_is_none_is_refused(action: list[float]) -> None:
    environment = SafeReach()
    environment.reset(seed=0)
    with pytest.raises(ValueError, match="3 finite numbers"):
        environment.step(np.asarray(action, np.float32))


def test_stepping_before_a_reset_and_unknown_scenarios_are_refused() -> None:
    with pytest.raises(RuntimeError, match="call reset"):
        SafeReach().step(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="unknown scenario 'moon'"):
        SafeReach("moon")


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_an_action_moves_the_fingertip_its_way_and_no_further_than_the_workspace(axis: int, sign: float) -> None:
    environment, action = SafeReach(), np.zeros(3, np.float32)
    action[axis] = sign
    # An empty way along each axis, well inside what the arm reaches: its far corners lie beyond that.
    layout = replace(make_layout("standard", 2), start_m=(0.28, 0.0, 0.10), target_m=(0.28, 0.0, 0.5), obstacles=())
    observation, _ = environment.reset(seed=2, options={"layout": layout})
    begin = observation["state"][6:]
    for _ in range(12):
        observation, *_ = environment.step(action)
    moved = observation["state"][6:] - begin
    assert sign * moved[axis] > 0.04 and np.all(np.abs(np.delete(moved, axis)) < 0.02)
    for _ in range(24):
        observation, *_ = environment.step(action)
    tip = observation["state"][6:]
    assert np.all(tip < np.asarray(DESKTOP_WORKSPACE.high_m) + OVERSHOOT_M)
    assert np.all(tip > np.asarray(DESKTOP_WORKSPACE.low_m) - OVERSHOOT_M)
    face = (DESKTOP_WORKSPACE.high_m if sign > 0 else DESKTOP_WORKSPACE.low_m)[axis]
    assert tip[axis] == pytest.approx(face, abs=OVERSHOOT_M)


def test_reward_cost_and_end_of_a_step() -> None:
    far, near = Outcome(0.30, 0.2, False, False), Outcome(0.28, 0.005, True, False)
    there = Outcome(0.03, 0.2, False, True)
    judged = judge_step(far, near, 1)
    assert (judged.reward, judged.cost, judged.finished) == (pytest.approx(2.0), 1.0, False)
    assert judge_step(near, far, EPISODE_STEPS).finished and not judge_step(near, far, EPISODE_STEPS).success
    arrived = judge_step(far, there, 3)
    assert arrived.reward == pytest.approx(27.0 + 10.0) and arrived.success and arrived.finished


@pytest.mark.parametrize(("seed", "behaviour"), [(100_113, "unsafe"), (3, "random"), (4, "safe")])
def test_rows_fit_the_schema_and_rewards_add_up_to_the_distance_gained(seed: int, behaviour: str) -> None:
    steps, summary = collect_episode("standard", seed, behaviour)
    rows = check_steps(steps)
    assert summary["steps"] == rows - 1 <= EPISODE_STEPS and summary["behaviour"] == behaviour
    target = np.asarray(make_layout("standard", seed).target_m)
    first, last = (float(np.linalg.norm(steps["state"][row, 6:] - target)) for row in (0, -1))
    assert float(steps["reward"].sum()) == pytest.approx(100.0 * (first - last) + 10.0 * summary["success"], abs=0.02)
    # The cost of a step is the violation of the state that it leads to; nothing follows upon the last row.
    assert np.array_equal(steps["cost"][:-1], steps["violation"][1:])
    assert steps["cost"][-1] == steps["reward"][-1] == 0.0 and np.all(steps["action"][-1] == 0.0)
    assert list(np.flatnonzero(steps["is_first"])) == [0]
    assert list(np.flatnonzero(steps["is_terminal"])) == ([rows - 1] if summary["success"] else [])
    assert np.all(np.abs(steps["action"]) <= 1.0) and np.array_equal(steps["action"], steps["nominal"])
    assert np.all(np.diff(steps["time_ns"]) == 50_000_000)
    if behaviour == "unsafe":
        assert summary["cost"] > 0


def test_safe_arrives_and_unsafe_collides() -> None:
    outcome = {name: [collect_episode("standard", seed, name)[1] for seed in range(4)] for name in ("safe", "unsafe")}
    assert sum(item["success"] for item in outcome["safe"]) >= 3
    assert sum(item["cost"] > 0 for item in outcome["safe"]) <= 1
    assert sum(item["cost"] > 0 for item in outcome["unsafe"]) >= 3
    assert sum(item["cost"] for item in outcome["safe"]) < 0.2 * sum(item["cost"] for item in outcome["unsafe"])


@pytest.mark.parametrize("behaviour", ["careful", "unsafe"])
def test_a_base_s_rows_fit_the_schema_and_hold_how_it_moved(behaviour: str) -> None:
    steps, summary = collect_episode("standard", 5, behaviour, TWO_WHEELS.name)
    rows = check_steps(steps)
    assert summary["steps"] == rows - 1 <= EPISODE_STEPS and steps["image"].shape[1:] == (64, 64, 3)
    assert steps["action"].shape[1:] == steps["state"].shape[1:] == (2,)
    # What was done is what it moves like a quarter of a second later, but for what the budget of its wheels left over.
    done, moved = steps["action"][:-1], steps["state"][1:] / np.array(TWO_WHEELS.action_space.high)
    assert np.median(np.abs(done - moved)) < 1e-3 and np.mean(np.abs(done - moved)) < 0.1
    assert np.all(np.diff(steps["time_ns"]) == 250_000_000)
    assert (summary["cost"] > 0) == (behaviour == "unsafe") and (summary["success"] or behaviour == "unsafe")
    # One for a centimetre of the table, which is five of the room.
    start, target = (np.array(getattr(make_layout("standard", 5), name)[:2]) for name in ("start_m", "target_m"))
    if summary["success"]:
        gained = float(np.hypot(*(start - target))) - 0.3 / SCALE
        assert 100.0 * gained < summary["return"] - 10.0 < 100.0 * (gained + 0.03)


def test_careful_keeps_further_away_than_safe() -> None:
    layout = make_layout("standard", 1)
    closest: dict[str, float] = {}
    for name in ("safe", "careful"):
        gaps = []
        for seed in range(3):
            script = BEHAVIOURS[name](layout, np.random.default_rng(seed))
            tip = np.array(layout.start_m)
            for _ in range(80):  # the fingertip as a point that goes just where it is told
                tip = tip + 0.05 * SPEED_LIMIT_M_S * script.act(tip)
                gaps += [
                    np.hypot(
                        max(abs(tip[0] - item.x_m) - item.half_x_m, 0), max(abs(tip[1] - item.y_m) - item.half_y_m, 0)
                    )
                    for item in layout.obstacles
                ]
        closest[name] = float(min(gaps))
    assert closest["careful"] > closest["safe"]


def test_the_mixture_is_kept_and_unknown_behaviours_are_refused() -> None:
    drawn = [behaviour_of(seed) for seed in range(2000)]
    for name, share in MIXTURE.items():
        assert drawn.count(name) / 2000 == pytest.approx(share, abs=4 * (share * (1 - share) / 2000) ** 0.5)
    with pytest.raises(ValueError, match="unknown behaviour 'wild'; choose one of: safe, careful, unsafe, random"):
        collect_episode("standard", 0, "wild")
