"""The out-of-distribution gate of a candidate: what is normal to see stays, what its model expects is measured anew.

The statistics of the pictures are those of the running bundle, which a person calibrated: a learner that fits them
again to what it saw would get used to a lens that slowly gets dirty. The surprise belongs to the world model, and is
fitted to episodes that the robot lived. The threshold is conformal over episodes that were held out of learning, at the
level of the running bundle; with too few of them there is no candidate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.thresholds import TooLittleDataError, upper_threshold
from fosp_edge.bundle.folder import Bundle, read_files, write_bundle
from fosp_edge.bundle.manifest import CLOSED_LOOP, GATE_FILE, GRAPH_FILE, BundleError, GateThreshold
from fosp_edge.control.follow import follow
from fosp_edge.control.gate import DETECTORS, GateParameters, OodGate, Trace, Tracer
from fosp_edge.control.gate_fit import episode_score, fit_parameters
from fosp_edge.control.look_ahead import open_runtime
from fosp_edge.control.types import Observation, Reason
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.schema import Steps

Episodes = Sequence[tuple[EpisodeInfo, Steps]]
Image = npt.NDArray[np.uint8]
FEWEST_TO_FIT = 10
"""Episodes from which the surprise of each tick has a mean and a deviation worth the name."""
_UNFAMILIAR = {Reason.UNFAMILIAR.name, Reason.UNFAMILIAR_STOP.name}
_SURPRISE = DETECTORS.index("surprise")


def is_normal(info: EpisodeInfo, steps: Steps) -> bool:
    """Whether the robot never had to hold still because of what it saw. Alarms that passed at once may be false ones:
    leaving those episodes out too would make the gate stricter from candidate to candidate."""
    found = {info.header.reasons[int(index)] for index in np.unique(steps["reason"])}
    return not found & _UNFAMILIAR


def with_gate(
    candidate: Bundle,
    running: Bundle,
    lived: Episodes,
    held_out: Episodes,
    parent_folder: Path,
    breathe: Callable[[], None] = lambda: None,
) -> Path:
    """Write the candidate once more, with a gate if the running bundle has one; returns the folder of the new bundle.

    Args:
        candidate: exported without one.
        running: whose level, and whose idea of normal pictures, is kept.
        lived: own episodes that were learnt from.
        held_out: own episodes that were not.
        parent_folder: where it is written.
        breathe: called often; gives way to the control loop.

    Raises:
        TooLittleDataError: too few normal episodes for the level.
        BundleError: the disk refuses.
    """
    files, manifest = read_files(candidate), candidate.manifest
    if running.manifest.gate is None:
        return write_bundle(manifest, files, parent_folder)
    before = GateParameters.from_bytes(running.gate_bytes or b"", running.manifest)
    level = running.manifest.gate.level
    parameters = _fitted(before, _traces(candidate, lived, breathe))
    scores = [episode_score(trace, parameters) for trace in _traces(candidate, held_out, breathe)]
    gate = GateThreshold(
        threshold=upper_threshold(scores, level),
        level=level,
        sample_size=len(scores),
        date_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data_sha256=manifest.filter.data_sha256,
        graph_sha256=manifest.files[GRAPH_FILE],
        trajectories=CLOSED_LOOP,
    )
    return write_bundle(replace(manifest, gate=gate), files | {GATE_FILE: parameters.to_bytes()}, parent_folder)


def _fitted(before: GateParameters, traces: Sequence[Trace]) -> GateParameters:
    """The old parameters with the surprise of another world model."""
    if len(traces) < FEWEST_TO_FIT:
        raise TooLittleDataError(
            f"the gate needs {FEWEST_TO_FIT} normal episodes to know what its world model expects, found {len(traces)}"
        )
    fitted = fit_parameters(traces[0::2], traces[1::2])
    scale = before.scale.copy()
    scale[_SURPRISE] = fitted.scale[_SURPRISE]
    return replace(
        before, surprise_mean=fitted.surprise_mean, surprise_deviation=fitted.surprise_deviation, scale=scale
    )


def _traces(bundle: Bundle, episodes: Episodes, breathe: Callable[[], None]) -> list[Trace]:
    """What the gate looks at along each normal episode."""
    camera, runtime, found = bundle.manifest.cameras[0], open_runtime(bundle), []
    tracer = Tracer(camera.height_px, camera.width_px)
    for info, steps in episodes:
        if not is_normal(info, steps):
            continue
        breathe()
        tracer.reset()
        ticks = [(tracer(seen), scores.surprise) for seen, scores in follow(runtime, steps, info.header.seed)]
        found.append(
            Trace(
                np.stack([cells for (cells, _), _ in ticks]),
                np.array([surprise for _, surprise in ticks], np.float32),
                steps["state"][:-1].astype(np.float32),
                np.stack([moved for (_, moved), _ in ticks]),
            )
        )
    return found


def _third_covered(image: Image) -> Image:
    covered: Image = image.copy()
    covered[:, : image.shape[1] // 3] = 25
    return covered


def _red_green_swapped(image: Image) -> Image:
    order = [3 * (channel // 3) + (1, 0, 2)[channel % 3] for channel in range(image.shape[-1])]
    swapped: Image = image[..., order]
    return swapped


DISTURBANCES: dict[str, Callable[[Image], Image]] = {
    "lens covered": lambda image: np.full_like(image, 12),
    "a third of the lens covered": _third_covered,
    "red and green swapped": _red_green_swapped,
}
"""Pictures that no gate may take for normal."""


@dataclass(frozen=True)
class Alertness:
    """How many disturbed pictures a gate notices, and the best of those before."""

    disturbed: int
    noticed: int
    noticed_before: int
    level: float
    running_level: float


def alertness(candidate: Bundle, before: Sequence[Bundle], held_out: Episodes) -> Alertness | None:
    """All gates before the same disturbed pictures, one of each kind per episode; None if the running bundle, which is
    the first of those before, has none.

    Raises:
        BundleError: the running bundle has a gate and the candidate has none.
    """
    running = before[0]
    if running.manifest.gate is None:
        return None
    if candidate.manifest.gate is None:
        raise BundleError("it has no out-of-distribution gate, the running bundle has one")
    gated = [bundle for bundle in (candidate, *before) if bundle.manifest.gate is not None]
    gates = [OodGate(bundle.manifest, bundle.gate_bytes or b"") for bundle in gated]
    noticed = [0] * len(gates)
    for _, steps in held_out:
        row = (len(steps["reward"]) - 1) // 2
        image, state = steps["image"][row].astype(np.uint8), steps["state"][row].astype(np.float32)
        for disturb in DISTURBANCES.values():
            for place, gate in enumerate(gates):
                gate.reset()
                noticed[place] += max(gate.observe(Observation(disturb(image), state), 0.0)) > 1.0
    count = len(held_out) * len(DISTURBANCES)
    return Alertness(count, noticed[0], max(noticed[1:]), candidate.manifest.gate.level, running.manifest.gate.level)
