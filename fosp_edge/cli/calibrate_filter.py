"""`fosp-edge calibrate-filter`: thresholds of filter and gate from a bundle's own episodes, as a new bundle."""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from export.thresholds import Calibration, TooLittleDataError, calibrate, upper_threshold
from fosp_edge.bundle.folder import Bundle, load_bundle, read_files, write_bundle
from fosp_edge.bundle.manifest import (
    CLOSED_LOOP,
    GATE_FILE,
    GRAPH_FILE,
    IMAGINATION_FILE,
    REACHABILITY,
    RECORDED,
    BundleError,
    FilterThresholds,
    GateThreshold,
    Manifest,
)
from fosp_edge.cli.extras import require
from fosp_edge.cli.learnt_from import training_data
from fosp_edge.cli.provenance import commit, versions
from fosp_edge.control.follow import follow
from fosp_edge.control.gate import GateParameters, Trace, Tracer
from fosp_edge.control.gate_fit import episode_score, fit_parameters
from fosp_edge.control.inference import PolicyRuntime
from fosp_edge.control.look_ahead import open_runtime
from fosp_edge.control.types import Reason
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import is_held_out
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.catalogue import SIMULATED_TASKS

FloatArray = npt.NDArray[np.float32]

_SAME_ACTION = 1e-3
"""Two machines round differently; two networks differ by more."""
_LEAST_AGREEMENT = 0.9
"""Share of the ticks in which the recorded wish is this network's. A near-tie of a latent may fall otherwise."""


@dataclass(frozen=True)
class OwnEpisode:
    """One episode that the bundle's own network drove, followed again."""

    id: str
    unfiltered: bool
    reachability: FloatArray
    """Of the policy's choice, [T]; the last row, upon which nothing was decided, repeats the one before."""
    violation: FloatArray
    """Shape [T]."""
    trace: Trace


def own_episodes(bundle: Bundle, store: ExperienceStore) -> Iterator[OwnEpisode]:
    """The episodes of a store that this network drove. It is recognised by what it wanted, not by a name: thresholds
    may change without the policy changing, and a name may lie.

    Raises:
        StoreError: the store lacks a camera of the bundle, or an episode cannot be read.
    """
    manifest = bundle.manifest
    source = CameraSelection(store, [camera.name for camera in manifest.cameras])
    runtime = open_runtime(bundle)
    tracer = Tracer(manifest.cameras[0].height_px, manifest.cameras[0].width_px)
    for info in source.episodes():
        if info.header.bundle is None or not info.summary.finished or info.summary.rows < 2:
            continue
        episode = _followed(info, source.read(info.id), runtime, tracer)
        if episode is not None:
            yield episode


def _followed(info: EpisodeInfo, steps: Steps, runtime: PolicyRuntime, tracer: Tracer) -> OwnEpisode | None:
    reachability, surprise, wanted, cells, moved = [], [], [], [], []
    tracer.reset()
    for observation, scores in follow(runtime, steps, info.header.seed):
        picture, movement = tracer(observation)
        cells.append(picture)
        moved.append(movement)
        reachability.append(scores.reachability[0])
        surprise.append(scores.surprise)
        wanted.append(scores.candidates[0])
    same = np.abs(np.stack(wanted) - steps["nominal"][:-1]).max(axis=1) <= _SAME_ACTION
    if same.mean() < _LEAST_AGREEMENT:
        return None
    reasons = {info.header.reasons[int(index)] for index in np.unique(steps["reason"][:-1])}
    return OwnEpisode(
        id=info.id,
        unfiltered=reasons == {Reason.FILTER_OFF.name},
        reachability=np.append(reachability, reachability[-1]).astype(np.float32),
        violation=steps["violation"].astype(np.float32),
        trace=Trace(
            np.stack(cells), np.asarray(surprise, np.float32), steps["state"][:-1].astype(np.float32), np.stack(moved)
        ),
    )


@dataclass(frozen=True)
class GateCalibration:
    """A gate and how it came about."""

    parameters: GateParameters
    threshold: float
    sample_size: int


def calibrate_gate(traces: Sequence[tuple[str, Trace]], level: float) -> GateCalibration:
    """Fit on three tenths of the episodes, scale on two, calibrate on the remaining half; an episode's id decides.

    Raises:
        TooLittleDataError: too few episodes for the level.
    """
    parts: tuple[list[Trace], list[Trace], list[Trace]] = ([], [], [])
    for name, trace in traces:
        place = zlib.crc32(name.encode()) % 10
        parts[0 if place < 3 else 1 if place < 5 else 2].append(trace)
    if not parts[0] or not parts[1]:
        raise TooLittleDataError(
            f"the gate needs normal episodes of this policy to know what normal is; found {len(traces)}. Collect more"
        )
    parameters = fit_parameters(parts[0], parts[1])
    threshold = upper_threshold([episode_score(trace, parameters) for trace in parts[2]], level)
    return GateCalibration(parameters, threshold, len(parts[2]))


def calibrate_filter(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle to calibrate; it is not changed.")],
    dataset: Annotated[
        Path,
        typer.Option(help="Episodes of this bundle's policy without filter (data collect --bundle, run --no-filter)."),
    ],
    miss_rate: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Share of violations that may come without a timely alarm.")
    ] = 0.1,
    false_alarm_rate: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Share of normal episodes in which the gate may raise an alarm.")
    ] = 0.05,
    recorded: Annotated[
        bool,
        typer.Option(
            "--recorded",
            help="Calibrate the filter on the held-out episodes of whatever was recorded, scripts say, and no gate. "
            "Then the miss rate promises nothing about the policy's own episodes.",
        ),
    ] = False,
    gate: Annotated[bool, typer.Option(help="Calibrate the out-of-distribution gate too.")] = True,
    look_ahead: Annotated[
        bool,
        typer.Option(
            "--look-ahead",
            help="Judge each candidate by a few imagined steps too, at several times the inference time; whether there "
            "are fewer false alarms then, what is printed tells. Needs the extra `export` if the bundle has no "
            "imagination graph yet.",
        ),
    ] = False,
    out: Annotated[
        Path, typer.Option(help="Folder of bundles; the new one is a folder in it, named by its hash.")
    ] = Path("bundles"),
) -> None:
    """Calibrate the safety filter of a bundle by split-conformal prediction, and write the result as a new bundle.

    The filter's threshold is such that at most MISS_RATE of the policy's violations come without an alarm at least two
    ticks before. That holds for episodes which come about as the calibrated ones did, so these have to be the policy's
    own, without a filter; until its first intervention, a filtered episode is one of them. Too few of them, or another
    network's, are refused.

    Example: fosp-edge calibrate-filter bundles/4f1c... --dataset data/own --miss-rate 0.1
    """
    console = Console()
    opened = load_bundle(bundle)
    if REACHABILITY in opened.manifest.unknown_scores:
        raise BundleError(
            f"{opened.manifest.name!r} has nothing to calibrate: its agent never learnt reachability. It drives only "
            "with --no-filter"
        )
    files = {name: data for name, data in read_files(opened).items() if name != GATE_FILE}
    opened = _looking_ahead(opened, files) if look_ahead else _not_looking_ahead(opened)
    with ExperienceStore(dataset) as store, console.status("following the recorded episodes"):
        fingerprint = store.fingerprint()
        if recorded:
            calibration, familiar = _from_recorded(opened, store, miss_rate), None
        else:
            episodes = list(own_episodes(opened, store))
            calibration = _from_own(episodes, miss_rate, opened)
            traces = [(episode.id, episode.trace) for episode in episodes]
            familiar = calibrate_gate(traces, false_alarm_rate) if gate else None
    manifest = _calibrated(
        opened.manifest,
        calibration,
        familiar,
        miss_rate,
        false_alarm_rate,
        fingerprint,
        RECORDED if recorded else CLOSED_LOOP,
    )
    if familiar is not None:
        files[GATE_FILE] = familiar.parameters.to_bytes()
    path = write_bundle(replace(manifest, parent=opened.id), files, out)
    console.print(_table(path.name, calibration, familiar, miss_rate, false_alarm_rate))
    console.print(
        f"Next: fosp-edge {_measuring(opened.manifest.robot)} --bundle {path}", soft_wrap=True, highlight=False
    )


def _measuring(robot: str) -> str:
    """How what was calibrated is measured: what could be avoided is known of SafeReach alone."""
    if robot == DESKTOP_ARM.name:
        return "eval-filter"
    return "eval --without-filter" if robot in SIMULATED_TASKS else "run"


def _not_looking_ahead(bundle: Bundle) -> Bundle:
    limits = replace(bundle.manifest.filter, look_ahead_sha256=None)
    return replace(bundle, manifest=replace(bundle.manifest, filter=limits))


def _looking_ahead(bundle: Bundle, files: dict[str, bytes]) -> Bundle:
    """The bundle with its imagination graph in use; the graph is made from the weights, and added, if it has none."""
    if IMAGINATION_FILE not in files:
        require("export")
        from export.companions import ImaginationModule, export_companion
        from export.restore import agent_of_bundle

        files[IMAGINATION_FILE] = export_companion(ImaginationModule(agent_of_bundle(bundle)))
    graph = files[IMAGINATION_FILE]
    limits = replace(bundle.manifest.filter, look_ahead_sha256=hashlib.sha256(graph).hexdigest())
    return replace(bundle, manifest=replace(bundle.manifest, filter=limits), imagination_bytes=graph)


def _from_own(episodes: Sequence[OwnEpisode], miss_rate: float, bundle: Bundle) -> Calibration:
    unfiltered = [episode for episode in episodes if episode.unfiltered]
    if not unfiltered:
        raise TooLittleDataError(
            f"no episode of this data set was driven by the network of {bundle.manifest.name!r} with its filter off "
            f"({len(episodes)} were driven by it with the filter on). Collect some: fosp-edge data collect DATA "
            f"--bundle {bundle.path}, or fosp-edge run --no-filter"
        )
    return calibrate(((episode.reachability, episode.violation) for episode in unfiltered), miss_rate)


def _from_recorded(bundle: Bundle, store: ExperienceStore, miss_rate: float) -> Calibration:
    """Scores of the recorded actions need the agent itself, not only its graph."""
    require("export")
    from export.companions import horizon_of
    from export.exporter import calibrate_recorded
    from export.restore import agent_of_bundle

    source = CameraSelection(store, [camera.name for camera in bundle.manifest.cameras])
    # Data that were learnt from say too little of what is new; others are new as a whole.
    learnt = {str(item.get("sha256")) for item in training_data(bundle.manifest)}
    known = store.fingerprint() in learnt
    chosen = [info for info in source.episodes() if is_held_out(info) or not known]
    if not chosen:
        raise TooLittleDataError(f"{store.path} has no episodes that were held back from learning")
    episodes = (source.read(info.id) for info in chosen)
    return calibrate_recorded(agent_of_bundle(bundle), episodes, miss_rate, horizon_of(bundle.manifest.filter))


def _calibrated(
    manifest: Manifest,
    calibration: Calibration,
    familiar: GateCalibration | None,
    miss_rate: float,
    false_alarm_rate: float,
    fingerprint: str,
    trajectories: str,
) -> Manifest:
    now, graph = datetime.now(timezone.utc).isoformat(timespec="seconds"), manifest.files.get(GRAPH_FILE)
    if graph is None:
        raise BundleError(f"the bundle {manifest.name!r} has no step graph; export it again")
    thresholds = FilterThresholds(
        feasible_reachability=calibration.feasible_reachability,
        stop_reachability=calibration.stop_reachability,
        level=miss_rate,
        sample_size=calibration.sample_size,
        date_utc=now,
        data_sha256=fingerprint,
        graph_sha256=graph,
        trajectories=trajectories,
        look_ahead_sha256=manifest.filter.look_ahead_sha256,
    )
    gate = None
    if familiar is not None:
        gate = GateThreshold(
            familiar.threshold, false_alarm_rate, familiar.sample_size, now, fingerprint, graph, trajectories
        )
    about: dict[str, Any] = {
        "false_alarm_rate": calibration.false_alarm_rate,
        "worst_miss_rate": calibration.worst_miss_rate,
        "commit": commit(),
        "versions": versions(),
    }
    return replace(
        manifest,
        filter=thresholds,
        gate=gate,
        created_utc=now,
        provenance=manifest.provenance | {"calibration": about, "false_alarm_rate": calibration.false_alarm_rate},
    )


def _table(
    name: str, calibration: Calibration, familiar: GateCalibration | None, miss_rate: float, false_alarm_rate: float
) -> Table:
    table = Table(title=f"bundle {name[:12]}", show_header=False)
    table.add_row("feasible up to", f"{calibration.feasible_reachability:.4f}")
    table.add_row("hold above", f"{calibration.stop_reachability:.4f}")
    table.add_row(
        "violations without timely alarm",
        f"at most {miss_rate:.0%} over calibrations like this one, from {calibration.sample_size} violations; this one "
        f"at most {calibration.worst_miss_rate:.0%} with 95 % confidence",
    )
    table.add_row("ticks of quiet episodes in alarm", f"{calibration.false_alarm_rate:.1%}")
    if familiar is not None:
        table.add_row(
            "gate", f"at most {false_alarm_rate:.0%} of normal episodes with an alarm, from {familiar.sample_size}"
        )
    return table
