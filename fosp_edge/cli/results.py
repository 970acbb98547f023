"""What an evaluation leaves behind: OUT.json, and OUT.png where something can draw."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from fosp_edge.cli.extras import installed
from fosp_edge.cli.files import write_atomically


def write_results(console: Console, out: Path, report: Mapping[str, Any], plot: Callable[[], bytes]) -> None:
    """Write the report, and the picture (PNG) that `plot` draws; both are named to the reader."""
    out.parent.mkdir(parents=True, exist_ok=True)
    target = out.with_suffix(".json")
    write_atomically(target, (json.dumps(report, indent=1) + "\n").encode())
    console.print(f"results in {target}")
    if installed("visualisation"):
        picture = out.with_suffix(".png")
        write_atomically(picture, plot())
        console.print(f"plot in {picture}")
