import pytest

from experiments.filter_tables import answers, look_ahead_in_charge


def episode(seed: int, interventions: int, cost: float = 0.0) -> dict[str, object]:
    return {"scenario": "standard", "seed": seed, "success": True, "cost": cost, "steps": 10,
            "interventions": interventions}  # fmt: skip


def test_two_filters_are_compared_table_by_table() -> None:
    plain, ahead = [episode(0, 1), episode(1, 3, cost=2.0)], [episode(0, 0), episode(1, 2)]
    lines = look_ahead_in_charge({"episodes": plain + ahead}).splitlines()
    assert lines[2:4] == [
        "| step graph | 2 of 2 | 1 of 2 | 1.00 | 20.0 % |",
        "| with five imagined steps | 2 of 2 | 0 of 2 | 0.00 | 10.0 % |",
    ]
    assert "**-10.0 (-10.0 to -10.0)**" in lines[4]


def test_tables_that_are_not_the_same_are_not_compared() -> None:
    with pytest.raises(ValueError, match="two bundles over the same tables"):
        look_ahead_in_charge({"episodes": [episode(0, 1), episode(1, 0)]})


def test_fewer_violations_are_averted_ones() -> None:
    gained = {"mean": -0.5, "low": -0.75, "high": -0.25}
    own = {"tables": 4, "reached": 3, "violations": 1, "cost": 0.25, "interventions": 0.125, "violated_gained": gained,
           "success_gained": {"mean": 0.0, "low": -0.25, "high": 0.25}}  # fmt: skip
    lines = answers({"answers": {"full speed": own | {"violations": 3}, "holds": own}}).splitlines()
    assert lines[2] == "| `full speed` | 3 of 4 |  | 0.25 | 75.0 % |  | 12.5 % |"
    assert lines[3].startswith(
        "| `holds` | 1 of 4 | **+50.0 (+25.0 to +75.0)** | 0.25 | 75.0 % | 0.0 (-25.0 to +25.0) |"
    )
