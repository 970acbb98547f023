"""From what was learnt to a candidate bundle: exported as the running one was, its filter and its gate calibrated."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from export.companions import horizon_of
from export.exporter import export_bundle
from export.parity import ParityError
from export.reference import redrawn_reachability
from export.restore import agent_of_bundle
from export.storage import Storage
from export.thresholds import TooLittleDataError, UninformativeScoreError
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cli.admission import HeldOut
from fosp_edge.cli.familiarity import Episodes, with_gate
from fosp_edge.experience.schema import Steps

_PREFIX = "candidate."


class NoCandidate(Exception):  # noqa: N818 - a state
    """What was learnt does not make a bundle; the message says why."""


def make_candidate(
    agent: Agent,
    running: Bundle,
    held_out: HeldOut,
    lived: Episodes,
    parent_folder: Path,
    *,
    scratch_folder: Path,
    update: int,
    breathe: Callable[[], None] = lambda: None,
) -> Path:
    """Export, calibrate filter and gate at the levels of the running bundle, check parity; returns the folder.

    Args:
        agent: what was learnt.
        running: what it learnt from: contract, storage and levels are kept.
        held_out: episodes that were not learnt from.
        lived: own episodes that were.
        parent_folder: where bundles are kept.
        scratch_folder: where half-made ones are; what is found there was left behind by a learner that was killed.
        update: number of updates, for the name and the provenance.
        breathe: called often; gives way to the control loop.

    Raises:
        NoCandidate: with a sentence; nothing was written.
    """
    manifest = running.manifest
    for left in scratch_folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        recorded = [steps for _, steps in held_out.unprejudiced]
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=scratch_folder) as folder:
            exported = export_bundle(
                agent, manifest, recorded,
                name=f"{manifest.name.partition('+')[0]}+{update}",
                miss_rate=manifest.filter.level,
                data_sha256=manifest.filter.data_sha256,
                provenance={"learnt_from": running.id, "update": update},
                parent_folder=Path(folder),
                storage=_storage_of(running),
                judged_ahead=manifest.filter.look_ahead_sha256 is not None,
                search="least-harm" in manifest.candidates,
                ceilings=ceilings(agent, running, held_out, breathe),
            )  # fmt: skip
            breathe()
            return with_gate(load_bundle(exported.path, check_signature=False), running, lived, held_out.own,
                             parent_folder, breathe)  # fmt: skip
    except (ParityError, TooLittleDataError, UninformativeScoreError, BundleError) as error:
        raise NoCandidate(str(error)) from error


def ceilings(
    agent: Agent, running: Bundle, held_out: HeldOut, breathe: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """What a candidate's thresholds do not exceed. Recorded scripts are easier to foresee than the violations of the
    policy on which the running bundle's were calibrated, and would raise them.

    Where reachability did not learn, a score means what it meant, and they are those thresholds. Where it did, they
    are what alarms in as many ticks of the quiet held-out episodes as those do by the running bundle's reachability.
    """
    before = running.manifest.filter
    thresholds = (before.feasible_reachability, before.stop_reachability)
    quiet = [steps for _, steps in held_out.everything if not steps["violation"].any()]
    if not agent.config.reachability_learns or not quiet:
        return thresholds
    theirs, ours = (_ticks(judge, quiet, horizon_of(before), breathe) for judge in (agent_of_bundle(running), agent))
    ordered = np.sort(ours)
    first, second = (float(ordered[max(0, int(np.sum(theirs <= value)) - 1)]) for value in thresholds)
    return first, second


def _ticks(
    judge: Agent, episodes: Sequence[Steps], horizon: int, breathe: Callable[[], None]
) -> npt.NDArray[np.float32]:
    """Reachability of what was done in every tick, in several draws of the latent noise."""
    generator, scores = torch.Generator().manual_seed(0), []
    for steps in episodes:
        breathe()
        scores.append(redrawn_reachability(judge, steps, generator, horizon)[:, :-1].ravel())
    return np.concatenate(scores)


def _storage_of(running: Bundle) -> Storage:
    """As fine as the running bundle's and no coarser than float16: rounding to eight bits moves a reachability by as
    much as an update does, and would do so once more with every generation."""
    kept = running.manifest.storage
    return "float32" if kept is None or kept.kind == "float32" else "float16"
