"""`fosp-edge bundles tune`: measure how many threads a bundle's graph should have on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.bundles_prepare import OptionList, parse_options
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.device import CPU, Device
from fosp_edge.control.inference import DEFAULT_EXECUTION, Execution, NotFinite
from fosp_edge.control.tuning import Tuning, find_tuning, tune, tuning_folder


def tune_bundle(
    bundle: Annotated[Path | None, typer.Argument(help="Folder of the bundle; the shipped one if left out.")] = None,
    provider: Annotated[str, typer.Option(help="What computes the step graph: cpu, cuda, tensorrt.")] = CPU,
    option: OptionList = None,
) -> None:
    """Try the step graph with one thread and with more, and keep what suits this machine for `run`.

    `run` does this by itself, before the motors are armed, for a bundle that was never measured on this machine. Do it
    again here when the machine is as busy as it will be while the robot drives. Kept in FOSP_EDGE_TUNING, by default
    ~/.cache/fosp-edge/tuning, under the hash of graph, versions, processor and cores.

    Example: fosp-edge bundles tune runs/bundles/4f1c...
    """
    console = Console(highlight=False, soft_wrap=True)
    tuning = tune(load_bundle(bundle or shipped_bundle()), Device(provider, parse_options(option)))
    table = Table("threads", "helpers on cores", "helpers wait", "median ms", "p99 ms", "")
    for item in tuning.timings:
        way, chosen = item.execution, item.execution == tuning.chosen
        wait = "" if way.threads == 1 else "busily" if way.spin else "asleep"
        table.add_row(
            str(way.threads), ", ".join(map(str, way.cores)), wait, f"{item.median_ms:.2f}", f"{item.p99_ms:.2f}",
            "chosen" if chosen else "",
        )  # fmt: skip
    console.print(table)
    console.print(f"kept in {tuning_folder()}")


def execution_for(console: Console, bundle: Bundle, device: Device) -> Execution:
    """What was measured for this bundle on this machine; measured now, and said, if it never was. Raises BundleError.

    Only before anything moves: measuring loads the machine for seconds.
    """
    tuning = find_tuning(bundle, device)
    if tuning is None:
        try:
            with console.status("measuring how many threads suit this machine (once)"):
                tuning = tune(bundle, device)
        except NotFinite:  # the run will say so, with the motors at rest
            return DEFAULT_EXECUTION
        except OSError as error:
            say = f"what suits this machine cannot be kept in {tuning_folder()} ({error.strerror}); one thread is used"
            console.print(say, style="yellow", soft_wrap=True, highlight=False, markup=False)
            return DEFAULT_EXECUTION
        console.print(sentence(tuning), style="dim", soft_wrap=True, highlight=False, markup=False)
    return tuning.chosen


def sentence(tuning: Tuning) -> str:
    """What was chosen, and by which figures."""
    timing = next(item for item in tuning.timings if item.execution == tuning.chosen)
    threads = f"{timing.execution.threads} thread{'s' if timing.execution.threads > 1 else ''}"
    return (
        f"measured on this machine: {threads} for the step graph, {timing.median_ms:.2f} ms (p99 {timing.p99_ms:.2f}) "
        f"of {len(tuning.timings)} ways tried; again with `fosp-edge bundles tune`"
    )
