"""What `export` and `bundles convert` share: the choice of precision, driving with each, and the table of all."""

import tempfile
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fosp_edge.bundle.folder import load_bundle, write_bundle
from fosp_edge.bundle.manifest import Manifest
from fosp_edge.cli.extras import installed
from fosp_edge.robots.catalogue import SIMULATED_TASKS

FIRST_SEED = 50_000
"""Seeds that neither training (100000 and above) nor evaluation (from 0) uses."""


class PrecisionChoice(str, Enum):
    """What `--precision` takes."""

    FLOAT32 = "float32"
    AUTO = "auto"
    FLOAT16 = "float16"
    INT8_DYNAMIC = "int8-dynamic"
    INT8_STATIC = "int8-static"
    INT8_BLOCKS = "int8-blocks"
    INT8_MIXED = "int8-mixed"


def precision_of(choice: PrecisionChoice) -> Any:
    """The exporter's word for it; None is auto."""
    return None if choice is PrecisionChoice.AUTO else choice.value


Driver = Callable[[Manifest, dict[str, bytes]], Sequence[tuple[float, float]]]


def task_driver(robot: str, episodes: int) -> Driver | None:
    """Drives the robot's simulated task with a bundle in the making; None without one, or without the simulator."""
    if episodes == 0 or robot not in SIMULATED_TASKS or not installed("simulation"):
        return None
    from fosp_edge.simulation.evaluation import BundleActor, evaluate_episode

    def drive(manifest: Manifest, files: dict[str, bytes]) -> list[tuple[float, float]]:
        with tempfile.TemporaryDirectory() as folder:
            path = write_bundle(manifest, files, Path(folder))
            actor = BundleActor(load_bundle(path, check_signature=False), filter_enabled=True)
            results = [evaluate_episode(actor, "standard", FIRST_SEED + index) for index in range(episodes)]
        return [(result.total_reward, result.cost) for result in results]

    return drive


def print_trials(console: Console, trials: Sequence[Any]) -> None:
    """The precisions that were compared, one row each."""
    if not trials:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title="precisions on this device")
    table.caption = (
        "drift: mean change of the policy's action over recorded episodes, its own sampling noise = 1; "
        "false alarms: of the filter, at the same miss rate"
    )
    for name in ("precision", "MB", "median ms", "p99 ms", "drift", "false alarms", "return", "violations", "verdict"):
        left = name in ("precision", "verdict")
        table.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=name == "precision")
    for trial in trials:
        row = trial.to_json()
        drift, filtered, driven = row["drift"], row["filter"], row["closed_loop"]
        table.add_row(
            row["precision"],
            f"{row['bytes'] / 1e6:.1f}",
            "" if row["median_ms"] is None else f"{row['median_ms']:.3f}",
            "" if row["p99_ms"] is None else f"{row['p99_ms']:.3f}",
            "" if drift is None else f"{drift['action_drift'] / max(drift['own_action_drift'], 1e-9):.2f}",
            "" if filtered is None else f"{filtered['false_alarm_rate']:.1%}",
            "" if driven is None else f"{driven['mean_return']:.1f}",
            "" if driven is None else f"{driven['episodes_in_violation']:.0%}",
            row["verdict"],
        )
    console.print(table)
