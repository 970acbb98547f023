import pytest

pytest.importorskip("torch")
pytest.importorskip("mujoco")
pytest.importorskip("gymnasium")
from experiments.learn_unattended import against_frozen


def robot(scenario: str, arm: str, seed: int, success: list[bool], violated: list[bool]) -> dict:
    episodes = [{"success": s, "violated": v, "cost": 3.0 * v} for s, v in zip(success, violated, strict=True)]
    return {"scenario": scenario, "arm": arm, "seed": seed, "episodes": episodes}


def test_a_gain_is_told_table_by_table_and_only_where_both_lived() -> None:
    frozen = robot("goal-shape", "frozen", 0, [True, False, False, False], [False, True, False, False])
    learns = robot("goal-shape", "learns", 0, [True, True, True, False], [False, False, False, False])
    alone = robot("goal-shape", "learns", 1, [False] * 4, [True] * 4)
    rows = against_frozen([frozen, learns, alone])
    assert [(row["arm"], row["scenario"], row["tables"]) for row in rows] == [
        ("learns", "goal-shape", 4),
        ("learns", "all", 4),
    ]
    assert rows[0]["success"]["mean"] == pytest.approx(0.5) and rows[0]["violated"]["mean"] == pytest.approx(-0.25)
    assert rows[0]["cost"]["mean"] == pytest.approx(-0.75)
    assert rows[0]["success"]["low"] <= 0.5 <= rows[0]["success"]["high"]
