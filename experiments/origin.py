"""Where a calibration result comes from: command, commit, versions, date; goes into every results file."""

from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2

from fosp_edge.cli.provenance import command, commit, versions


def origin(options: dict[str, Any]) -> dict[str, Any]:
    """JSON values; call it before the work, so that the commit is the one that ran."""
    return {
        "command": command(),
        "options": {name: value for name, value in options.items() if not isinstance(value, Path)},
        "commit": commit(),
        "date_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions() | {"opencv": cv2.__version__, "scipy": metadata.version("scipy")},
    }
