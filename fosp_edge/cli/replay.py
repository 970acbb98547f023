"""`fosp-edge replay`: compute a recorded run again, show it to another bundle, or hand it to Foxglove."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fosp_edge.bundle.folder import load_bundle
from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cli.extras import require
from fosp_edge.cli.files import write_atomically
from fosp_edge.cli.run_recording import machine
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.controller import Controller
from fosp_edge.control.device import Device
from fosp_edge.control.flight.log import FlightError
from fosp_edge.control.flight.replay import Comparison, Flight, Verification, compare, open_flight, verify
from fosp_edge.control.gate_response import GateSettings
from fosp_edge.control.inference import Execution
from fosp_edge.control.look_ahead import open_runtime
from fosp_edge.control.safety_filter import FilterSettings


def replay(
    run: Annotated[Path, typer.Argument(help="Folder of a run, as `fosp-edge run` leaves it.")],
    other: Annotated[
        Path | None, typer.Option("--with", help="Show the recorded pictures to this bundle instead.")
    ] = None,
    bundles: Annotated[
        Path | None, typer.Option(help="Where to look for the run's own bundle, if it was moved.")
    ] = None,
    episode: Annotated[int | None, typer.Option(min=0, help="Only this episode, counted from 0.")] = None,
    mcap: Annotated[Path | None, typer.Option(help="Write the recording as MCAP, for Foxglove (extra `mcap`).")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the findings as JSON.")] = None,
) -> None:
    """Compute every tick of a recorded run again and compare it bit for bit; name the first difference.

    Exit status: 0 if everything agreed, 1 if something did not, 2 if it cannot be computed.

    Example: fosp-edge replay runs/2026-11-25T10-00-00Z --with bundles/4f1c...
    """
    console = Console() if sys.stdout.isatty() else Console(width=140)
    try:
        flight = open_flight(run)
        if flight.torn:
            console.print(
                f"{flight.torn} file(s) end in the middle of a tick, as after a power cut; all before is read"
            )
        if mcap is not None:
            require("mcap")
            from fosp_edge.control.flight.mcap_export import export_mcap

            console.print(f"{export_mcap(flight, mcap)} ticks written to {mcap}", highlight=False, soft_wrap=True)
            return
        if other is not None:
            comparison = compare(flight, controller_of(flight, other), episode=episode)
            _show_comparison(console, comparison)
            code, found = int(comparison.refused is not None), asdict(comparison)
        else:
            verification = verify(flight, _own_controllers(flight, bundles), episode=episode)
            _show_verification(console, flight, verification)
            code, found = int(verification.difference is not None or not verification.equal), asdict(verification)
        if out is not None:
            write_atomically(out, (json.dumps(found, indent=2) + "\n").encode())
    except (FlightError, BundleError, OSError) as error:
        console.print(f"[bold red]refused[/]: {error}", soft_wrap=True, highlight=False)
        code = 2
    raise typer.Exit(code)


def _own_controllers(flight: Flight, bundles: Path | None) -> dict[int, Controller]:
    return {
        number: controller_of(flight, _find(about["id"], Path(about["path"]), bundles))
        for number, about in flight.bundles.items()
    }


def _find(identity: str, path: Path, bundles: Path | None) -> Path:
    for place in ([bundles / identity, bundles] if bundles is not None else []) + [path, shipped_bundle()]:
        if place.name == identity and place.is_dir():
            return place
    raise BundleError(f"the run was driven by the bundle {identity}, which is not at {path}; say --bundles FOLDER")


def controller_of(flight: Flight, bundle: Path) -> Controller:
    """As the run had it (`run_recording.settings_of`)."""
    about: dict[str, Any] = flight.meta["controller"]
    kept, loaded = about["execution"], load_bundle(bundle)
    execution = Execution(kept["threads"], tuple(kept["cores"]), kept["spin"])
    controller = Controller(
        loaded,
        filter_enabled=about["filter_enabled"],
        gate_enabled=about["gate_enabled"],
        settings=FilterSettings(**{"recovery_speed": 1.0, **about["filter"]}),  # before it was kept, it was full speed
        gate_settings=GateSettings(**about["gate"]),
        runtime=open_runtime(loaded, execution, device=Device(about["provider"])),
        full_range_s=about["full_range_s"],
    )
    controller.limits.slow(about["speed"])
    return controller


def _show_verification(console: Console, flight: Flight, found: Verification) -> None:
    if found.skipped:
        console.print(f"{found.skipped} ticks skipped: the beginning of their episode is no longer in the recording")
    words = f"{found.equal} ticks of {found.episodes} episodes computed again"
    if found.difference is None:
        console.print(f"[green]equal[/]: {words}, every value the same to the last bit", highlight=False)
        return
    console.print(f"[bold red]different[/] after {found.equal} equal ticks: ", end="", highlight=False)
    console.print(found.difference.sentence(), soft_wrap=True, highlight=False, markup=False)
    here = machine()
    for name, recorded in flight.meta["machine"].items():
        if here.get(name) != recorded:
            console.print(f"note: {name} was {recorded} then and is {here.get(name)} here", style="yellow")


def _show_comparison(console: Console, found: Comparison) -> None:
    table = Table("", "as it was", "with the other bundle")
    table.add_row("ticks", str(found.ticks), str(found.ticks))
    table.add_row("filter stepped in", str(found.interventions), str(found.other_interventions))
    table.add_row(
        "mean reachability of the policy's choice",
        f"{found.mean_reachability:.4f}",
        f"{found.other_mean_reachability:.4f}",
    )
    console.print(table)
    console.print(
        f"executed actions differ by {found.mean_action_change:.4f} on average and {found.largest_action_change:.4f} "
        f"at most (of a range of 2); the reason was the same in {found.same_reason} of {found.ticks} ticks",
        soft_wrap=True,
        highlight=False,
    )
    if found.refused is not None:
        console.print(f"it ended there: {found.refused}", style="bold red", soft_wrap=True, markup=False)
