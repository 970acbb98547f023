"""Where a calibration result comes from: command, commit, versions, date; goes into every results file."""

import shlex
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2

from fosp_edge.cli.provenance import commit, versions


def origin(options: dict[str, Any]) -> dict[str, Any]:
    """JSON values; call it before the work, so that the commit is the one that ran."""
    return {
        "command": shlex.join(["python", f"experiments/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in options.items()},
        "commit": commit(),
        "date_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions() | {"opencv": cv2.__version__, "scipy": metadata.version("scipy")},
    }
