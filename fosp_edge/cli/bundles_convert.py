"""`fosp-edge bundles convert`: the same agent in another precision, as another bundle."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.extras import require
from fosp_edge.cli.precisions import PrecisionChoice, precision_of, print_trials, task_driver
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import is_held_out
from fosp_edge.experience.store import ExperienceStore


def convert(
    dataset: Annotated[Path, typer.Option(help="Recorded episodes; the held-out tenth judges and calibrates.")],
    bundle: Annotated[Path | None, typer.Argument(help="Folder of the bundle; the shipped one if left out.")] = None,
    precision: Annotated[
        PrecisionChoice, typer.Option(help="auto takes the fastest on this device that stays within all bounds.")
    ] = PrecisionChoice.AUTO,
    miss_rate: Annotated[
        float | None, typer.Option(min=0.001, max=0.5, help="Level of the filter's threshold; by default the bundle's.")
    ] = None,
    closed_loop: Annotated[
        int, typer.Option(min=0, help="SafeReach episodes that each precision drives; 0 for none.")
    ] = 40,
    out: Annotated[Path, typer.Option(help="Folder of bundles.")] = Path("bundles"),
) -> None:
    """Convert a bundle's step graph to another precision, judged over whole recorded episodes and by driving.

    The filter is calibrated anew with the graph that will drive. What was fitted to the old graph (a gate against the
    unfamiliar, a filter's look-ahead) is left behind, and it is said how to get it back.

    Example: fosp-edge bundles convert bundles/4f1c... --dataset data/safereach
    """
    require("export")
    from export.convert import convert_bundle, left_behind

    console = Console()
    loaded = load_bundle(bundle or shipped_bundle(), check_signature=False)
    with ExperienceStore(dataset) as store:
        source = CameraSelection(store, [camera.name for camera in loaded.manifest.cameras])
        held_out = [source.read(info.id) for info in source.episodes() if is_held_out(info)]
        fingerprint = store.fingerprint()
    with console.status("converting, following recorded episodes, driving"):
        exported = convert_bundle(
            loaded, held_out,
            precision=precision_of(precision),
            miss_rate=loaded.manifest.filter.level if miss_rate is None else miss_rate,
            data_sha256=fingerprint,
            parent_folder=out,
            closed_loop=task_driver(loaded.manifest.robot, closed_loop),
        )  # fmt: skip
    print_trials(console, exported.trials)
    console.print(f"bundle in {exported.path}", highlight=False, soft_wrap=True)
    if lost := left_behind(loaded):
        console.print("\n".join(("What belonged to the old graph was left behind:", *(f"- {line}" for line in lost))))
        again = " --look-ahead" if loaded.manifest.filter.look_ahead_sha256 is not None else ""
        console.print(
            f"Set them again: fosp-edge data collect data/own --bundle {exported.path}\n"
            f"                fosp-edge calibrate-filter {exported.path} --dataset data/own{again}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
