"""From what was learnt to a candidate bundle with the gate's verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fosp_edge.agent.agent import Agent
from fosp_edge.bundle.admission import DEFAULT_THRESHOLDS, GateThresholds, Verdict, judge
from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.manifest import BundleError
from fosp_edge.bundle.versions import Versions
from fosp_edge.cli.admission import measure
from fosp_edge.cli.candidate import NoCandidate, make_candidate
from fosp_edge.cli.learner_data import LearnerData
from fosp_edge.control.swap import contract_differences


@dataclass(frozen=True)
class JudgedCandidate:
    """A bundle beside the running one, and what the gate says of it."""

    path: Path
    verdict: Verdict
    expected: dict[str, float]
    """What probation may expect of it (`fosp_edge.control.probation.Expected`)."""


def judge_candidate(
    agent: Agent,
    running: Bundle,
    data: LearnerData,
    versions: Versions,
    *,
    scratch_folder: Path,
    update: int,
    thresholds: GateThresholds = DEFAULT_THRESHOLDS,
    breathe: Callable[[], None] = lambda: None,
) -> JudgedCandidate:
    """Export what was learnt, calibrate it, and hold it against the running bundle and the one that a person chose.

    Args:
        agent: what was learnt.
        running: the bundle that it wants to replace.
        data: what the gate compares on.
        versions: where bundles are, and which were refused before.
        scratch_folder: for what is not finished yet.
        update: the learner's, for the manifest.
        thresholds: of the gate.
        breathe: called now and then; it may wait, or raise.

    Raises:
        NoCandidate: what was learnt makes no bundle, or there is nothing to hold it against.
    """

    def refused(bundle: Bundle) -> str | None:
        refusal = versions.is_refused(bundle)
        return None if refusal is None else refusal.reason

    chosen, held_out = chosen_bundle(versions, running), data.held_out()
    path = make_candidate(
        agent, running, held_out, data.learnt_from(), versions.folder,
        scratch_folder=scratch_folder, update=update, breathe=breathe,
    )  # fmt: skip
    evidence, expected = measure(
        path, running, held_out, data.newest(), chosen=chosen, history=data.history(), refused=refused, breathe=breathe
    )
    return JudgedCandidate(path, judge(evidence, thresholds), expected)


def chosen_bundle(versions: Versions, running: Bundle) -> Bundle:
    """The bundle that a person chose last.

    Raises:
        NoCandidate: nothing can be held against it.
    """
    name = versions.state.chosen or running.id
    if name == running.id:
        return running
    try:
        bundle = versions.load(name)
        problems = contract_differences(bundle.manifest, running.manifest)
    except BundleError as error:
        problems = [str(error)]
    if problems:
        raise NoCandidate(
            f"it would be held against bundle {name[:12]}, which a person chose last: {'; '.join(problems)}; "
            "`fosp-edge bundles use current` chooses the running one"
        )
    return bundle
