"""The same agent as another bundle, its step graph in another precision."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from export.candidates import Candidates
from export.conversion import Yardstick, enough
from export.drift import Steps
from export.exporter import metadata_of
from export.finishing import TRIALS_FILE, Driver, Exported, now, with_precision
from export.graph import export_step
from export.parity import ParityError
from export.precision import Precision
from export.restore import agent_of_bundle
from export.step import StepModule
from fosp_edge.bundle.folder import Bundle, read_files
from fosp_edge.bundle.manifest import CLOSED_LOOP, GATE_FILE, RECORDED


def convert_bundle(
    bundle: Bundle,
    held_out: Sequence[Steps],
    *,
    precision: Precision | None,
    miss_rate: float,
    data_sha256: str,
    parent_folder: Path,
    closed_loop: Driver | None = None,
) -> Exported:
    """The same agent as another bundle, its step graph in another precision. The out-of-distribution gate is left out:
    it was fitted to the old graph.

    Raises:
        ParityError, TooLittleDataError, BundleError: nothing was written; the message says why.
    """
    if not held_out:
        raise ParityError("a conversion cannot be judged: there is no recorded episode held out")
    agent = agent_of_bundle(bundle)
    manifest = bundle.manifest
    rows = Candidates.of(agent, search="least-harm" in manifest.candidates)
    plain = export_step(StepModule(agent, rows), metadata_of(manifest.name, manifest, agent, rows))
    files = {name: data for name, data in read_files(bundle).items() if name not in (GATE_FILE, TRIALS_FILE)}
    date = now()
    manifest = replace(
        manifest,
        gate=None,
        candidates=rows.names,
        sampled_candidates=rows.samples,
        filter=replace(
            manifest.filter,
            level=miss_rate,
            data_sha256=data_sha256,
            trajectories=RECORDED,
            date_utc=date,
            look_ahead_sha256=None,
        ),
        provenance=manifest.provenance | {"converted_from": bundle.id},
        created_utc=date,
    )
    return with_precision(
        manifest, files, plain, Yardstick(agent, enough(held_out)), held_out, precision, closed_loop, parent_folder
    )


def left_behind(bundle: Bundle) -> list[str]:
    """What belongs to a bundle's old graph and does not go with it into another, a sentence each."""
    manifest, lost = bundle.manifest, list[str]()
    if manifest.filter.trajectories == CLOSED_LOOP:
        lost.append("its filter was set on episodes that it drove itself; the new one is set on recorded episodes")
    if manifest.filter.look_ahead_sha256 is not None:
        lost.append("its filter looked ahead; the new one does not")
    if manifest.gate is not None:
        lost.append("its gate against the unfamiliar knew what the old graph is surprised by; the new one has no gate")
    return lost
