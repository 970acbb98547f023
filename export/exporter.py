"""Checkpoint in, verified bundle out."""

import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.candidates import Candidates
from export.compact import compact
from export.companions import HORIZON, DecoderModule, ImaginationModule, export_companion, export_initial
from export.conversion import Yardstick, choose_storage, enough
from export.drift import Steps
from export.finishing import Driver, Exported, now, with_precision
from export.graph import export_step
from export.parity import ParityError, check_parity
from export.precision import Precision
from export.reference import redrawn_reachability
from export.step import StepModule
from export.storage import Storage, pack
from export.thresholds import NO_CEILINGS, UNCALIBRATED, Calibration, calibrate
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.contract import Contract
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import (
    GRAPH_FILE,
    IMAGINATION_FILE,
    REACHABILITY,
    SCHEMA_VERSION,
    WEIGHTS_FILE,
    BundleError,
    FilterThresholds,
    LatentContract,
    Manifest,
)

INITIAL_FILE, DECODER_FILE = "initial.onnx", "decoder.onnx"
PARITY_EPISODES = 3


def export_bundle(
    agent: Agent,
    contract: Contract,
    held_out: Sequence[Steps],
    *,
    name: str,
    miss_rate: float,
    data_sha256: str,
    provenance: dict[str, Any],
    parent_folder: Path,
    storage: Storage | None = None,
    precision: Precision | None = "float32",
    closed_loop: Driver | None = None,
    look_ahead: bool = False,
    judged_ahead: bool = False,
    decoder: bool = False,
    search: bool = False,
    ceilings: tuple[float, float] = NO_CEILINGS,
) -> Exported:
    """Export, calibrate the filter, check parity, and only then write.

    Args:
        agent: on the CPU.
        contract: cameras, state and actions.
        held_out: episodes that the agent did not learn from.
        name: for people.
        miss_rate: level of the filter's threshold.
        data_sha256: names the data the held-out episodes are from.
        provenance: goes into the manifest.
        parent_folder: where bundles are kept.
        storage: of the weights; None takes the smallest that moves the agent less than its own noise does.
        precision: of the step graph; None takes the fastest on this device within bounds (`export.trial`).
        closed_loop: drives a bundle that is not yet written; None if there is no simulator.
        look_ahead: add the imagination graph.
        judged_ahead: the filter goes by it, and is calibrated so; in float32 only.
        decoder: add the decoder graph.
        search: add the candidate `least-harm` (`export.candidates`).
        ceilings: of the filter's thresholds (`export.thresholds.calibrate`).

    Raises:
        ParityError, TooLittleDataError, BundleError: nothing was written; the message says why.
        ValueError: a filter that looks ahead in another precision.
    """
    if judged_ahead and precision != "float32":
        raise ValueError(f"a filter that looks ahead needs a step graph in float32, asked was {precision or 'any'}")
    look_ahead = look_ahead or judged_ahead
    if not held_out:
        raise ParityError("the graph cannot be compared with the checkpoint: there is no recorded episode held out")
    _refuse_other_shapes(agent, contract)
    unknown = _unknown_scores(agent, look_ahead=look_ahead, decoder=decoder, precision=precision)
    yardstick = functools.cache(lambda: Yardstick(agent, enough(held_out)))
    agent, kept_as, conversion = choose_storage(agent, yardstick, storage)
    config, rows = agent.config, Candidates.of(agent, search=search)
    metadata = metadata_of(name, contract, agent, rows)
    plain = export_step(StepModule(agent, rows), metadata)
    graph = compact(plain)
    calibration = UNCALIBRATED
    if REACHABILITY not in unknown:
        calibration = calibrate_recorded(agent, held_out, miss_rate, HORIZON if judged_ahead else 0, ceilings)
    files = {GRAPH_FILE: graph}
    if config.recurrence == "gru":  # the other begins with no class chosen, which indices cannot say
        files[INITIAL_FILE] = export_initial(agent, metadata)
    if look_ahead:
        files[IMAGINATION_FILE] = compact(export_companion(ImaginationModule(agent, rows=rows), metadata))
    if decoder:
        files[DECODER_FILE] = compact(export_companion(DecoderModule(agent), metadata))
    parity = check_parity(agent, graph, held_out[:PARITY_EPISODES], rows=rows)
    date = now()
    manifest = Manifest(
        name=name,
        robot=contract.robot,
        rate_hz=contract.rate_hz,
        cameras=contract.cameras,
        state=contract.state,
        actions=contract.actions,
        latent=LatentContract(config.deterministic, config.groups, config.classes),
        candidates=rows.names,
        sampled_candidates=rows.samples,
        filter=FilterThresholds(
            calibration.feasible_reachability,
            calibration.stop_reachability,
            miss_rate,
            calibration.sample_size,
            date,
            data_sha256,
            hashlib.sha256(graph).hexdigest(),
            look_ahead_sha256=hashlib.sha256(files[IMAGINATION_FILE]).hexdigest() if judged_ahead else None,
        ),
        parity=parity,
        created_utc=date,
        # The configuration makes the agent again; a caller's own copy of it cannot be allowed to differ.
        provenance=provenance | {"config": config.to_dict(), "false_alarm_rate": calibration.false_alarm_rate},
        storage=conversion,
        unknown_scores=unknown,
    )
    # The slow copies are made anew from the critics when learning goes on.
    weights = {key: value for key, value in agent.state_dict().items() if not key.startswith("slow_")}
    files[WEIGHTS_FILE] = pack(weights, kept_as)
    if precision != "float32":
        return with_precision(
            manifest, files, plain, Yardstick(agent, enough(held_out)), held_out, precision, closed_loop, parent_folder
        )
    path = write_bundle(manifest, files, parent_folder)
    return Exported(path, manifest, calibration)


def calibrate_recorded(
    agent: Agent,
    episodes: Iterable[Steps],
    miss_rate: float,
    horizon: int,
    ceilings: tuple[float, float] = NO_CEILINGS,
) -> Calibration:
    """Thresholds from what the agent says of recorded actions, with several draws of each episode; read one by one.

    Raises as `calibrate` does; `horizon` is that of `redrawn_reachability`.
    """
    generator = torch.Generator().manual_seed(0)
    scored = (
        (redrawn_reachability(agent, steps, generator, horizon), steps["violation"].astype(np.float32))
        for steps in episodes
    )
    return calibrate(scored, miss_rate, ceilings)


_LEARNT_BY = {"cost_value": "cost_action", REACHABILITY: "reach_action", "state_reachability": "reach_state"}


def _unknown_scores(agent: Agent, *, look_ahead: bool, decoder: bool, precision: Precision | None) -> tuple[str, ...]:
    """Outputs of the graph that the agent never learnt. Raises BundleError if something else is asked of it that it
    cannot do."""
    config = agent.config
    if decoder and not config.has_decoder:
        raise BundleError("the agent came without its decoder, so there is no decoder graph; leave out --decoder")
    if look_ahead and config.trained_elsewhere:
        raise BundleError(
            "the look-ahead graph needs an agent of this project's own architecture; leave out --look-ahead"
        )
    found = tuple(score for score, head in _LEARNT_BY.items() if head in config.unknown)
    if REACHABILITY in found and precision != "float32":
        raise BundleError(
            "precisions are compared by what they do to the filter, and an agent without reachability has none; export "
            "with --precision float32"
        )
    return found


def _refuse_other_shapes(agent: Agent, contract: Contract) -> None:
    """Raises BundleError: the agent does not take what the recordings hold."""
    config = agent.config
    pairs = {
        "image channels": (config.image_channels, 3 * len(contract.cameras)),
        "state components": (config.state_size, len(contract.state)),
        "actions": (config.action_size, len(contract.actions)),
    }
    if wrong := [f"{have} {what}, the recordings {want}" for what, (have, want) in pairs.items() if have != want]:
        raise BundleError(
            f"the checkpoint does not belong to these recordings: it has {'; it has '.join(wrong)}; export with the "
            "data set it was trained on"
        )


def metadata_of(name: str, contract: Contract, agent: Agent, rows: Candidates) -> dict[str, str]:
    """What a graph says of itself to whoever finds it without its bundle."""
    config = agent.config
    return {
        "bundle_name": name,
        "bundle_schema": str(SCHEMA_VERSION),
        "robot": contract.robot,
        "rate_hz": f"{contract.rate_hz:g}",
        "cameras": ", ".join(camera.name for camera in contract.cameras),
        "actions": ", ".join(f"{channel.name} ({channel.unit})" for channel in contract.actions),
        "latent": f"deterministic {config.deterministic}, stochastic {config.groups} x {config.classes}",
        "candidates": ", ".join(rows.names),
    }
