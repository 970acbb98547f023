"""Where a result of the motor wire comes from: command, commit, versions, date and how busy the machine was."""

import os
import platform
import shlex
import sys
from typing import Any

from fosp_edge.cli.provenance import provenance


def wire_origin(module: str) -> dict[str, Any]:
    """JSON values for a results file; call it before the work, so that the commit is the one that ran."""
    return provenance(
        command=shlex.join(["python", "-m", module, *sys.argv[1:]]),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        load_average=round(os.getloadavg()[0], 1),
    )
