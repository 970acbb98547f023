"""`fosp-edge export`: a checkpoint becomes a bundle that a robot accepts."""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fosp_edge.bundle.contract import RobotContract
from fosp_edge.bundle.folder import load_bundle
from fosp_edge.bundle.manifest import REACHABILITY, CameraContract
from fosp_edge.cli import foreign as foreign_checkpoints
from fosp_edge.cli.bundles_prepare import report_engine
from fosp_edge.cli.extras import require
from fosp_edge.cli.foreign import Family, is_foreign
from fosp_edge.cli.precisions import PrecisionChoice, precision_of, print_trials, task_driver
from fosp_edge.control.device import Device, check_available
from fosp_edge.experience.episode import Recording
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import is_held_out
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.robots.catalogue import SIMULATED_TASKS


class StorageChoice(str, Enum):
    """What `--storage` takes."""

    AUTO = "auto"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(help="Run folder or checkpoint file of `fosp-edge train`, or another project's checkpoint."),
    ],
    dataset: Annotated[
        Path,
        typer.Option(
            help="The data it learnt from: the held-out tenth calibrates the filter. For another project's agent, a "
            "recording of the robot it shall drive: cameras, state, actions and rate are taken from it."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of bundles; the new one is a folder in it, named by its hash.")
    ] = Path("bundles"),
    name: Annotated[str | None, typer.Option(help="Name for people; by default that of the run.")] = None,
    miss_rate: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Share of violations that may go without a timely alarm.")
    ] = 0.05,
    storage: Annotated[
        StorageChoice,
        typer.Option(help="How weights are kept; auto: the smallest that moves the agent less than its own noise."),
    ] = StorageChoice.AUTO,
    precision: Annotated[
        PrecisionChoice,
        typer.Option(help="What the step graph computes in; auto: the fastest here that stays within all bounds."),
    ] = PrecisionChoice.FLOAT32,
    closed_loop: Annotated[
        int, typer.Option(min=0, help="SafeReach episodes that each precision drives before it is taken; 0 for none.")
    ] = 40,
    prepare: Annotated[
        str | None,
        typer.Option(help="Compile the step graph for a provider of this machine too: tensorrt, ..."),
    ] = None,
    look_ahead: Annotated[
        bool, typer.Option("--look-ahead", help="Add the imagination graph: where each candidate leads.")
    ] = False,
    search: Annotated[
        bool, typer.Option("--search", help="Add the candidate least-harm: a search around the least unsafe proposal.")
    ] = False,
    decoder: Annotated[
        bool, typer.Option("--decoder", help="Add the decoder graph: what the agent believes it sees.")
    ] = False,
    any_camera: Annotated[
        bool, typer.Option("--any-camera", help="Do not tie the bundle to the camera that all recordings are from.")
    ] = False,
    family: Annotated[
        Family, typer.Option("--from", help="Who wrote the checkpoint; auto looks into it (docs/foreign.md).")
    ] = Family.AUTO,
    groups: Annotated[
        int | None,
        typer.Option(min=1, help="Another project's agent: `stoch` in its config.yaml; FOSP 48, DreamerV3 32."),
    ] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(help="Another project's agent: name of a recorded camera, in the order it saw them. Repeat."),
    ] = None,
    without_reachability: Annotated[
        bool,
        typer.Option(
            "--without-reachability",
            help="FOSP's own agents: leave out p_critic. The bundle then drives with --no-filter only.",
        ),
    ] = False,
) -> None:
    """Export a checkpoint: ONNX step graph, filter thresholds, parity check against PyTorch, manifest with hashes.

    Weights are rounded to 8 or 16 bits if that moves the agent less than its own sampling noise does;
    what is in the bundle for learning is then exactly what is in the graph.

    With `--precision auto` every precision is converted, timed here, followed through whole recorded episodes, given a
    filter of its own, and driven in SafeReach; the fastest that stays within the bounds of docs/export.md is taken.

    Refused, with nothing written, if the graph differs from the checkpoint by more than the tolerance over recorded
    episodes, or if the held-out data are too few for the filter's level.

    Example: fosp-edge export runs/train/nano-fosp-s0 --dataset data/safereach

    Another project's: fosp-edge export checkpoint.ckpt --groups 48 --dataset data/my-robot --camera front --camera back
    """
    require("export")
    if prepare is not None:
        check_available(prepare)  # before the work, not after it
    import torch

    from export.exporter import export_bundle
    from export.forgetting import forget_costs, forget_reachability
    from fosp_edge.learning.checkpoint import load_agent

    console = Console()
    foreign = is_foreign(checkpoint, family)
    if not foreign and (groups is not None or camera or without_reachability):
        raise ValueError("--groups, --camera and --without-reachability are for other projects' agents; leave them out")
    if not foreign:
        agent, header = load_agent(checkpoint, torch.device("cpu"))
        if not agent.config.safety:  # `bc` and `dreamerv3`: nothing that a filter could go by was ever taught
            agent = forget_costs(agent)
        provenance = {"training": header["notes"], "progress": {"update": header["progress"]["update"]}}
        camera = header["notes"]["cameras"]
    with ExperienceStore(dataset) as store:
        source = CameraSelection(store, camera or recorded_cameras(store))
        recording = source.header
        recordings = [info.header.recording for info in source.episodes()]
        if foreign:
            found = foreign_checkpoints.read(checkpoint, family, groups, len(recording.state))
            agent, provenance = found.agent, {"foreign": foreign_checkpoints.origin(checkpoint, found)}
            if without_reachability:
                agent = forget_reachability(agent)
            chosen = foreign_checkpoints.episodes_for([info for info in source.episodes() if info.summary.rows > 1])
        else:
            chosen = [info for info in source.episodes() if is_held_out(info)]
        held_out = [source.read(info.id) for info in chosen]
        fingerprint = store.fingerprint()
    contract = RobotContract(
        robot=recording.robot,
        rate_hz=recording.rate_hz,
        cameras=camera_contracts(recordings, any_camera=any_camera),
        state=recording.state,
        actions=recording.action,
    )
    with console.status("exporting, calibrating the filter, checking parity"):
        exported = export_bundle(
            agent, contract, held_out,
            name=name or checkpoint.resolve().name,
            miss_rate=miss_rate,
            data_sha256=fingerprint,
            provenance=provenance,
            parent_folder=out,
            storage=None if storage is StorageChoice.AUTO else storage.value,
            precision=precision_of(precision),
            closed_loop=task_driver(recording.robot, closed_loop),
            look_ahead=look_ahead,
            decoder=decoder,
            search=search,
        )  # fmt: skip
    parity, calibration = exported.manifest.parity, exported.calibration
    table = Table(title=f"bundle {exported.path.name[:12]}", show_header=False)
    table.add_row("folder", str(exported.path))
    table.add_row("parity", f"{parity.steps} recorded ticks, {parity.latent_flips} decided by rounding")
    table.add_row("", f"actions within {parity.action_error:.1e}, reachability {parity.reachability_error:.1e}, "
                      f"values {parity.value_error:.1e}")  # fmt: skip
    if (kept := exported.manifest.storage) is not None:
        table.add_row("weights", f"{kept.kind}: actions move by {kept.action_drift:.2g} on average over {kept.ticks} "
                                 f"ticks, own noise moves them by {kept.own_action_drift:.2g}")  # fmt: skip
    files = list(exported.path.iterdir())
    table.add_row("size", f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB in {len(files)} files")
    armable = REACHABILITY not in exported.manifest.unknown_scores
    if not armable:
        table.add_row("filter", "none: the agent never learnt reachability, so nothing predicts a violation")
    else:
        table.add_row("filter", f"feasible up to {calibration.feasible_reachability:.3f}, stop above "
                            f"{calibration.stop_reachability:.3f}")  # fmt: skip
        table.add_row("", f"at most {miss_rate:.0%} of violations without alarm, from {calibration.sample_size} "
                          f"held-out violations; {calibration.false_alarm_rate:.1%} false alarms")  # fmt: skip
    print_trials(console, exported.trials)
    console.print(table)
    if prepare is not None:
        report_engine(console, load_bundle(exported.path, check_signature=False), Device(prepare))
    drive = f"fosp-edge run --bundle {exported.path}" + ("" if armable else " --no-filter")
    here = recording.robot in SIMULATED_TASKS  # only those are evaluated in lockstep
    console.print("Next: " + (f"fosp-edge eval --bundle {exported.path}   or   " if here else "") + drive)


def recorded_cameras(store: ExperienceStore) -> list[str]:
    """All cameras of a recording, in its order."""
    return [] if store.header is None else [camera.name for camera in store.header.cameras]


def camera_contracts(recordings: Sequence[Recording], *, any_camera: bool = False) -> tuple[CameraContract, ...]:
    """What the bundle asks of each camera, from all recordings it learnt from.

    Serial number and calibration are asked for where every recording states the same one; data from several cameras,
    or from a simulation beside a real one, tie the bundle to none. Nor does anything with `any_camera`.
    """
    contracts = []
    for seen in zip(*(recording.cameras for recording in recordings), strict=True):
        stated = [camera.preprocessing for camera in seen if camera.preprocessing is not None]
        contracts.append(
            CameraContract(
                seen[0].name,
                seen[0].width_px,
                seen[0].height_px,
                serial=None if any_camera else _common([camera.serial for camera in seen]),
                calibration_sha256=None if any_camera else _common([camera.calibration_sha256 for camera in seen]),
                preprocessing=next((item for item in stated if item.source_px), stated[0] if stated else None),
            )
        )
    return tuple(contracts)


def _common(values: Sequence[str | None]) -> str | None:
    return values[0] if len(set(values)) == 1 else None
