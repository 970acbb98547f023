"""What the fine-tuning experiment says of robots beside their twins that do not learn."""

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("mujoco")
from experiments.safereach_finetune import against_frozen


def cell(family: str, method: str, seed: int, reached: list[int], costs: list[float]) -> dict[str, Any]:
    online = [{"success": bool(one), "cost": cost} for one, cost in zip(reached, costs, strict=True)]
    return {"family": family, "method": method, "seed": seed, "online": online}


def test_each_robot_is_compared_with_the_one_that_met_the_same_tables() -> None:
    cells = [
        cell("goal-shape", "frozen", 0, [1, 0], [0.0, 0.0]),
        cell("goal-shape", "frozen", 1, [0, 0], [0.0, 5.0]),
        cell("goal-shape", "fosp", 0, [1, 1], [0.0, 3.0]),
        cell("goal-shape", "fosp", 1, [1, 1], [0.0, 0.0]),
        cell("goal-shape", "fosp", 2, [0, 0], [9.0, 9.0]),  # has no twin
        cell("lighting", "frozen", 0, [1, 1], [0.0, 0.0]),
        cell("lighting", "fosp", 0, [0, 0], [1.0, 1.0]),  # is not about geometry
    ]
    found = against_frozen(cells)
    assert list(found) == ["fosp"] and found["fosp"]["robots"] == 2
    assert found["fosp"]["success"]["mean"] == pytest.approx((0.5 + 1.0) / 2)
    assert found["fosp"]["violation"]["mean"] == pytest.approx((0.5 - 0.5) / 2)
    assert found["fosp"]["violation"]["low"] <= 0.0 <= found["fosp"]["violation"]["high"]
