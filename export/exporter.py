"""Checkpoint in, verified bundle out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from export.graph import export_step
from export.parity import check_parity
from export.reference import recorded_reachability
from export.step import SAMPLES, StepModule, candidate_names
from export.thresholds import Calibration, calibrate
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    CameraContract,
    Channel,
    FilterThresholds,
    LatentContract,
    Manifest,
)

Steps = dict[str, npt.NDArray[np.generic]]
PARITY_EPISODES = 3


@dataclass(frozen=True)
class Contract:
    """What the agent was trained for, as its recordings say."""

    robot: str
    rate_hz: float
    cameras: tuple[CameraContract, ...]
    state: tuple[Channel, ...]
    actions: tuple[Channel, ...]


@dataclass(frozen=True)
class Exported:
    """The bundle's folder and what was measured on the way."""

    path: Path
    manifest: Manifest
    calibration: Calibration


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

    Raises:
        ParityError, TooLittleDataError, BundleError: nothing was written; the message says why.
    """
    graph = export_step(StepModule(agent))
    generator = torch.Generator().manual_seed(0)
    measured = [
        (recorded_reachability(agent, steps, generator), steps["violation"].astype(np.float32)) for steps in held_out
    ]
    calibration = calibrate(measured, miss_rate)
    parity = check_parity(agent, graph, held_out[:PARITY_EPISODES])
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    config = agent.config
    manifest = Manifest(
        name=name,
        robot=contract.robot,
        rate_hz=contract.rate_hz,
        cameras=contract.cameras,
        state=contract.state,
        actions=contract.actions,
        latent=LatentContract(config.deterministic, config.groups, config.classes),
        candidates=candidate_names(),
        sampled_candidates=SAMPLES,
        filter=FilterThresholds(
            calibration.feasible_reachability,
            calibration.stop_reachability,
            miss_rate,
            calibration.sample_size,
            now,
            data_sha256,
            hashlib.sha256(graph).hexdigest(),
        ),
        parity=parity,
        created_utc=now,
        provenance=provenance | {"false_alarm_rate": calibration.false_alarm_rate},
    )
    # The slow copies are made anew from the critics when learning goes on.
    weights = {key: value.contiguous() for key, value in agent.state_dict().items() if not key.startswith("slow_")}
    path = write_bundle(manifest, {GRAPH_FILE: graph, WEIGHTS_FILE: save(weights)}, parent_folder)
    return Exported(path, manifest, calibration)
