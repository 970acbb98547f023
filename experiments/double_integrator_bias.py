"""How much of the double integrator's error is the expectile's own: the fixed point of the update, without a network.

The same targets and weights as in training (`learning/objectives.py`), over the actions that the recordings draw, are
iterated on a grid of states with bilinear interpolation until nothing moves. What is left between its boundary and the
braking distance no training can take away.

    python -m experiments.double_integrator_bias --out experiments/results/double-integrator-bias.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.double_integrator import PERIOD_S, SPEED, THRESHOLD, WALL, unavoidable
from fosp_edge.cli.provenance import provenance
from fosp_edge.files import write_atomically
from fosp_edge.learning.objectives import expectile_weight, reachability_target

ACTIONS = np.concatenate([[-1.0] * 8, [0.0] * 4, [1.0] * 4, np.linspace(-1.0, 1.0, 4)])
"""The recordings' mixture: two fifths braking, a fifth each of coasting, pushing and anything between."""
DISCOUNT = 0.99


def interpolated(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Bilinear; beyond the grid, its edge."""
    last_row, last_column = values.shape[0] - 1, values.shape[1] - 1
    rows, columns = rows.clamp(0, last_row), columns.clamp(0, last_column)
    row, column = rows.long().clamp(max=last_row - 1), columns.long().clamp(max=last_column - 1)
    down, right = rows - row, columns - column
    above = (1 - right) * values[row, column] + right * values[row, column + 1]
    below = (1 - right) * values[row + 1, column] + right * values[row + 1, column + 1]
    return (1 - down) * above + down * below


def fixed_point(expectile: float, points: int = 201, sweeps: int = 150) -> dict[str, float]:
    """How well the exact solution under an expectile tells unavoidable states from the others."""
    x, v = np.linspace(-1.6, 1.3, points), np.linspace(-SPEED - 0.4, SPEED + 0.4, points)
    position, velocity = np.meshgrid(x, v, indexing="ij")
    here, speed = torch.from_numpy(position), torch.from_numpy(velocity)
    actions, counts = np.unique(ACTIONS, return_counts=True)
    share = torch.from_numpy(counts / counts.sum())[:, None, None]
    crashed = (here > WALL).double()
    reach = crashed.clone()
    for _ in range(sweeps):
        following = []
        for action in actions:
            after = here + speed * PERIOD_S + action * PERIOD_S**2 / 2.0
            faster = speed + action * PERIOD_S
            ahead = interpolated(reach, (after - x[0]) / (x[1] - x[0]), (faster - v[0]) / (v[1] - v[0]))
            following.append(torch.maximum(crashed, reachability_target((after > WALL).double(), ahead, DISCOUNT)))
        target, value = torch.stack(following), reach
        for _ in range(6):  # an expectile is the mean under its own weights
            weight = share * expectile_weight(target - value, expectile)
            value = (weight * target).sum(0) / weight.sum(0)
        moved, reach = float((value - reach).abs().max()), value
        if moved < 1e-4:
            break
    inside = (position >= -1.0) & (position <= WALL) & (np.abs(velocity) <= SPEED)
    truth, found = unavoidable(position, velocity), reach.numpy() > THRESHOLD
    caught, spared = float(found[inside & truth].mean()), float((~found[inside & ~truth]).mean())
    return {"expectile": expectile, "balanced_accuracy": (caught + spared) / 2.0, "unavoidable_found": caught,
            "avoidable_spared": spared, "last_change": moved}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expectiles", type=float, nargs="+", default=[0.2, 0.1, 0.03, 0.01])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [fixed_point(expectile) for expectile in options.expectiles]
    for row in rows:
        print(row)
    result = {"provenance": provenance(experiment="double_integrator_bias", discount=DISCOUNT), "rows": rows}
    write_atomically(options.out, (json.dumps(result, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
