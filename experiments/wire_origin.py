"""Where a result of the motor wire comes from: command, commit, versions, date and how busy the machine was."""

import os
import platform
import sys
from typing import Any

from fosp_edge.cli.provenance import command, provenance


def wire_origin() -> dict[str, Any]:
    """JSON values for a results file; call it before the work, so that the commit is the one that ran."""
    arguments = list(sys.argv[1:])
    for option in ("--json", "--sdk"):  # where things lie on this machine is nobody's business
        if option in arguments:
            at = arguments.index(option)
            del arguments[at : at + 2]
    return provenance(
        command=command(arguments),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        load_average=round(os.getloadavg()[0], 1),
    )
