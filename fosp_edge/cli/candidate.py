"""From what was learnt to a candidate bundle: exported as the running one was, its filter and its gate calibrated."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from export.exporter import export_bundle
from export.parity import ParityError
from export.storage import Storage
from export.thresholds import NO_CEILINGS, TooLittleDataError, UninformativeScoreError
from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cli.admission import HeldOut
from fosp_edge.cli.familiarity import Episodes, with_gate

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
                ceilings=_ceilings(agent, running),
            )  # fmt: skip
            breathe()
            return with_gate(load_bundle(exported.path, check_signature=False), running, lived, held_out.own,
                             parent_folder, breathe)  # fmt: skip
    except (ParityError, TooLittleDataError, UninformativeScoreError, BundleError) as error:
        raise NoCandidate(str(error)) from error


def _ceilings(agent: Agent, running: Bundle) -> tuple[float, float]:
    """Where reachability did not learn, a score means what it meant, and what the running bundle's thresholds promise
    stands: recorded scripts are easier to foresee than the violations of a policy, and would raise them."""
    before = running.manifest.filter
    return NO_CEILINGS if agent.config.reachability_learns else (before.feasible_reachability, before.stop_reachability)


def _storage_of(running: Bundle) -> Storage:
    """As fine as the running bundle's and no coarser than float16: rounding to eight bits moves a reachability by as
    much as an update does, and would do so once more with every generation."""
    kept = running.manifest.storage
    return "float32" if kept is None or kept.kind == "float32" else "float16"
