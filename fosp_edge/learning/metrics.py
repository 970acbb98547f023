"""The log of a training: one JSON object per line, readable at any moment, also after a kill."""

import json
from pathlib import Path

from fosp_edge.files import write_atomically

METRICS_FILE = "metrics.jsonl"


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a log, oldest first; a last line that a kill cut off is left out.

    Raises:
        ValueError: there is no log, or a line in its middle is damaged.
    """
    if not path.is_file():
        raise ValueError(f"no log at {path}; give a run folder that `fosp-edge train` or `finetune` wrote")
    lines = path.read_text(errors="replace").splitlines()
    rows: list[dict[str, float]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            row["update"] = int(row["update"])
            rows.append(row)
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: expected JSON with `update`, found {line[:60]!r}") from error
    return rows


def forget_after(path: Path, update: int) -> None:
    """Take out the lines behind an update: they are of work that was lost with the process, and will be done again."""
    if not path.exists():
        return
    kept = [row for row in read_metrics(path) if row["update"] <= update]
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept).encode())
