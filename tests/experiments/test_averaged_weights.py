"""What is said of candidates beside each other comes from the same tables, update by update."""

import pytest

pytest.importorskip("torch")
from experiments.averaged_weights import compared


def row(of: str, update: int, reached: list[bool]) -> dict[str, object]:
    violated = [not item for item in reached]
    return {"scenario": "goal-shape", "update": update, "of": of, "tables": {"reached": reached, "violated": violated}}


def test_each_is_compared_on_the_tables_it_shares_with_the_other() -> None:
    rows = [
        row("shipped", 0, [True, False, False, False]),
        row("average", 400, [True, True, False, False]),
        row("weights", 400, [True, False, False, True]),
        row("average", 800, [True, True, True, True]),  # its weights were not driven any more
    ]
    found = {(item["of"], item["beside"]): item for item in compared(rows)}
    assert found["average", "weights"]["updates"] == [400]
    assert found["average", "weights"]["reached"]["mean"] == 0.0
    assert found["average", "shipped"]["updates"] == [400, 800]
    assert found["average", "shipped"]["reached"]["mean"] == pytest.approx(0.5)
    assert found["average", "shipped"]["violated"]["mean"] == pytest.approx(-0.5)
    assert found["weights", "shipped"]["reached"]["mean"] == pytest.approx(0.25)
