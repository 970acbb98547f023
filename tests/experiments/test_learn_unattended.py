import pytest

pytest.importorskip("torch")
pytest.importorskip("mujoco")
pytest.importorskip("gymnasium")
from experiments.learn_unattended import (
    against_frozen,
    beside_the_gate,
    by_phase,
    ended_with,
    first_take_over,
    passed,
    together,
)  # fmt: skip
from experiments.tables import learnt_together


def robot(scenario: str, arm: str, seed: int, success: list[bool], violated: list[bool], bundles: str = "aaaa") -> dict:
    episodes = [
        {"success": s, "violated": v, "cost": 3.0 * v, "bundle": b, "interventions": 1 + v, "steps": 10}
        for s, v, b in zip(success, violated, bundles, strict=True)
    ]
    return {"scenario": scenario, "arm": arm, "seed": seed, "episodes": episodes}


def test_a_gain_is_told_table_by_table_and_only_where_both_lived() -> None:
    frozen = robot("goal-shape", "frozen", 0, [True, False, False, False], [False, True, False, False])
    learns = robot("goal-shape", "learns", 0, [True, True, True, False], [False] * 4, "aabb")
    alone = robot("goal-shape", "learns", 1, [False] * 4, [True] * 4)
    rows = against_frozen([frozen, learns, alone])
    assert [(row["arm"], row["scenario"], row["tables"]) for row in rows] == [
        ("learns", "goal-shape", 4),
        ("learns", "all", 4),
        ("learns", "all, after the first take-over", 2),
    ]
    assert rows[0]["success"]["mean"] == pytest.approx(0.5) and rows[0]["violated"]["mean"] == pytest.approx(-0.25)
    assert rows[0]["cost"]["mean"] == pytest.approx(-0.75)
    assert rows[0]["interventions"] == pytest.approx([0.125, 0.1])
    assert rows[2]["success"]["mean"] == pytest.approx(0.5) and rows[2]["violated"]["mean"] == 0.0
    assert [row["violations"] for row in rows] == [[1, 0], [1, 0], [0, 0]]
    assert rows[0]["success"]["low"] <= 0.5 <= rows[0]["success"]["high"]


def test_robots_of_two_reports_are_told_together_unless_they_are_the_same() -> None:
    def report(seed: int, arms: tuple[str, ...], *, gained: bool) -> dict:
        lived = [
            robot("goal-shape", arm, seed, [arm != "frozen" and gained, False], [False, True], "aa") for arm in arms
        ]
        tried = {"success": [gained], "violated": [False], "cost": [0.0], "steps": [5]}
        return {"robots": [item | {"afterwards": {"first": tried, "last": tried}} for item in lived]}

    first = report(0, ("frozen", "learns", "no gate"), gained=True)
    second = report(1, ("frozen", "learns"), gained=False)
    found = together([first, second])
    assert found["robots"] == 2 and {row["arm"] for row in found["against_frozen"]} == {"learns"}
    assert found["against_frozen"][0]["tables"] == 4
    assert found["against_frozen"][0]["success"]["mean"] == 0.25
    assert found["ended_with"][0]["tables"] == 2
    with pytest.raises(ValueError, match="the same scenario and seed in two"):
        together([first, second, second])
    lines = learnt_together({"together": found}).splitlines()
    assert lines[2].startswith("| goal-shape | 4 | +25.0 (") and "| 2, 2 | 0.0 (0.0 to 0.0) | 2 | 0.0" in lines[2]


def test_what_was_gained_is_told_apart_by_whether_the_bundle_was_still_on_probation() -> None:
    names = ("a" * 64, "b" * 64, "b" * 64, "b" * 64, "c" * 64, "a" * 64)
    frozen = robot("goal-shape", "frozen", 0, [False] * 6, [True] * 6, names[:1] * 6)
    learns = robot("goal-shape", "learns", 0, [False, False, True, True, False, True], [False] * 6, names)
    events = [
        f"bundle {'b' * 12} took over from {'a' * 12} between two episodes",
        f"bundle {'b' * 12} passed its probation: as good as expected over 2 episodes on the robot",
        f"bundle {'c' * 12} is taken back for {'a' * 12}: the run ended on it",
    ]
    learns["passed"] = passed(events)
    assert learns["passed"] == {"b" * 12: 2}
    rows = {row["phase"]: row for row in by_phase([frozen, learns])}
    assert {name: row["tables"] for name, row in rows.items()} == {"first bundle": 2, "on probation": 3, "passed": 1}
    assert rows["on probation"]["success_share"] == pytest.approx([0.0, 1 / 3])
    assert rows["passed"]["violated"]["mean"] == -1.0 and rows["passed"]["interventions"] == pytest.approx([0.2, 0.1])
    assert by_phase([learns]) == []


def test_the_time_to_a_deployed_improvement_is_counted_from_the_first_episode() -> None:
    def lived(bundles: str, arm: str = "learns") -> dict:
        return {"arm": arm, "episodes": [{"bundle": bundle, "steps": 1200} for bundle in bundles]}

    found = first_take_over([lived("aaab"), lived("aaaaabba"), lived("aaaa"), lived("ab", "no gate")])
    assert found == {"robots": 3, "took_over": 2, "episodes": 4.0, "robot_minutes": 4.0}
    assert first_take_over([lived("aa")]) == {"robots": 1, "took_over": 0}


def test_what_robots_ended_with_is_told_beside_what_they_began_with() -> None:
    def ended(scenario: str, first: list[bool], last: list[bool], arm: str = "learns") -> dict:
        told = {
            name: {"success": s, "violated": [not x for x in s], "cost": [0.0] * len(s), "steps": [10] * len(s)}
            for name, s in (("first", first), ("last", last))
        }
        return {"scenario": scenario, "arm": arm, "afterwards": told}

    shape = ended("goal-shape", [True, False, False], [True, True, False])
    count = ended("obstacle-count", [True], [False])
    rows = ended_with([shape, count, {"scenario": "goal-shape", "arm": "frozen"}])
    assert [(row["scenario"], row["tables"]) for row in rows] == [("goal-shape", 3), ("obstacle-count", 1), ("all", 4)]
    assert rows[0]["success"]["gained"]["mean"] == pytest.approx(1 / 3)
    assert (rows[1]["success"]["first"], rows[1]["success"]["last"]) == (1.0, 0.0)
    assert rows[2]["success"]["gained"]["mean"] == 0.0 and rows[2]["violated"]["first"] == 0.5
    assert ended_with([{"scenario": "goal-shape", "arm": "frozen"}]) == []


def test_what_the_gate_is_worth_is_told_robot_by_robot_and_apart_where_it_refused_something() -> None:
    gate = robot("goal-shape", "learns", 0, [True, True], [False, False], "ab") | {"candidates": 2, "admitted": 1}
    none = robot("goal-shape", "no gate", 0, [True, False], [True, True], "ab")
    for one, last in ((gate, [False, True]), (none, [True, True])):
        one["afterwards"] = {"last": {"success": last, "violated": [not item for item in last]}}
    same = [robot("goal-shape", arm, 1, [True], [False], "a") | {"candidates": 1, "admitted": 1} for arm in
            ("learns", "no gate")]  # fmt: skip
    for one in same:
        one["afterwards"] = {"last": {"success": [True], "violated": [False]}}
    some, both = beside_the_gate([gate, none, *same, robot("goal-shape", "no gate", 2, [True], [False], "a")])
    assert [(row["of"], row["robots"]) for row in (some, both)] == [("refused some", 1), ("all", 2)]
    violated, reached = some["while_learning"]["violated"], some["ended_with"]["success"]
    assert (violated["gate"], violated["no_gate"], violated["gained"]["mean"]) == (0, 2, 1.0)
    assert (reached["gate"], reached["no_gate"], reached["gained"]["mean"]) == (1, 2, 0.5)
    assert both["while_learning"]["violated"]["gained"]["mean"] == 0.5 and both["ended_with"]["tables"] == 3
    assert beside_the_gate([gate]) == []
