"""One tick as a row of fixed size: what was seen, remembered, scored, decided and done, with nothing rounded."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.manifest import Manifest
from fosp_edge.control.gate import DETECTORS
from fosp_edge.control.gate_response import GateState
from fosp_edge.control.inference import Latent
from fosp_edge.control.memory import Memory
from fosp_edge.control.recorder import REASONS
from fosp_edge.control.safety_filter import FilterState
from fosp_edge.control.types import FilterRecord, Observation, State, StepScores, TickRecord

STATES: tuple[State, ...] = tuple(State)
_FLAGS = ("violation", "is_first", "is_terminal", "success", "decided", "remembered")


@dataclass(frozen=True)
class Names:
    """What the numbers of a recording mean; kept with it, because later versions may know more reasons or states."""

    reasons: tuple[str, ...] = tuple(reason.name for reason in REASONS)
    states: tuple[str, ...] = tuple(state.name for state in STATES)


def row_type(manifest: Manifest) -> np.dtype[np.void]:
    """The row of a bundle with this manifest."""
    height, width = manifest.cameras[0].height_px, manifest.cameras[0].width_px
    actions, count, latent = len(manifest.actions), len(manifest.candidates), manifest.latent
    scores = [(name, "<f4", (count,)) for name in ("reward_value", "cost_value", "reachability")]
    return np.dtype(
        [
            ("tick", "<i8"),
            ("time_ns", "<i8"),
            ("episode", "<i4"),
            ("bundle", "<i4"),
            ("image", "|u1", (height, width, 3 * len(manifest.cameras))),
            ("state", "<f4", (len(manifest.state),)),
            ("action", "<f4", (actions,)),
            ("nominal", "<f4", (actions,)),
            ("reward", "<f8"),
            ("cost", "<f8"),
            *[(name, "|b1") for name in _FLAGS],
            ("reason", "|u1"),
            ("machine", "|u1"),
            ("latency_s", "<f8"),
            ("frame_age_s", "<f8"),
            ("candidates", "<f4", (count, actions)),
            *scores,
            ("state_reachability", "<f4"),
            ("surprise", "<f4"),
            ("chosen", "<i4"),
            ("feasible_reachability", "<f8"),
            ("stop_reachability", "<f8"),
            ("gate_readings", "<i4"),
            ("gate", "<f8", (len(DETECTORS),)),
            ("seed", "<i8"),
            ("step", "<i8"),
            ("deterministic", "<f4", (latent.deterministic,)),
            ("stochastic", "<i4", (latent.groups,)),
            ("filter_memory", "<f8", (len(fields(FilterState)),)),
            ("gate_memory", "<f8", (len(fields(GateState)),)),
            ("executed", "<f4", (actions,)),
            ("physical", "<f8", (actions,)),
            ("threshold", "<f8"),
        ]
    )


Rows = npt.NDArray[Any]


def fill(row: Rows, record: TickRecord, episode: int, bundle: int) -> None:
    """Write a record into a row, an array of `row_type` and shape [1]. Allocates nothing that stays."""
    item = row[0]
    item["tick"], item["time_ns"], item["episode"], item["bundle"] = record.tick, record.time_ns, episode, bundle
    item["image"][...], item["state"][...] = record.observation.image, record.observation.state
    item["action"][...], item["nominal"][...] = record.action, record.nominal
    item["reward"], item["cost"], item["violation"] = record.reward, record.cost, record.violation
    item["is_first"], item["is_terminal"], item["success"] = record.is_first, record.is_terminal, record.success
    item["reason"], item["machine"] = REASONS.index(record.reason), STATES.index(record.state)
    item["latency_s"], item["frame_age_s"] = record.latency_s, record.frame_age_s
    scores, judged, memory = record.scores, record.filter, record.memory
    item["decided"], item["remembered"] = scores is not None and judged is not None, memory is not None
    if scores is not None and judged is not None:
        item["candidates"][...], item["reachability"][...] = scores.candidates, scores.reachability
        item["reward_value"][...], item["cost_value"][...] = scores.reward_value, scores.cost_value
        item["state_reachability"], item["surprise"] = scores.state_reachability, scores.surprise
        item["chosen"], item["gate_readings"] = judged.chosen, len(judged.gate)
        item["feasible_reachability"], item["stop_reachability"] = (
            judged.feasible_reachability,
            judged.stop_reachability,
        )
        item["gate"][: len(judged.gate)] = judged.gate
    if memory is not None:
        item["seed"], item["step"] = memory.latent.seed, memory.latent.tick
        item["deterministic"][...], item["stochastic"][...] = memory.latent.deterministic, memory.latent.stochastic
        for place, kept in (("filter_memory", memory.filter), ("gate_memory", memory.gate)):
            for index, name in enumerate(_names(kept)):
                item[place][index] = getattr(kept, name)
        item["executed"][...], item["physical"][...] = memory.executed, memory.physical
        item["threshold"] = memory.feasible_reachability


def record_of(item: Any, names: Names = Names()) -> TickRecord:
    """A record back from one element of an array of rows. Raises KeyError, ValueError: it is of another version."""
    scores = judged = memory = None
    if item["decided"]:
        scores = StepScores(
            candidates=item["candidates"].copy(),
            reward_value=item["reward_value"].copy(),
            cost_value=item["cost_value"].copy(),
            reachability=item["reachability"].copy(),
            state_reachability=float(item["state_reachability"]),
            surprise=float(item["surprise"]),
        )
        readings = tuple(item["gate"][: int(item["gate_readings"])].tolist())
        judged = FilterRecord(
            int(item["chosen"]), float(item["feasible_reachability"]), float(item["stop_reachability"]), readings
        )
    if item["remembered"]:
        memory = _memory_of(item)
    reason = {reason.name: reason for reason in REASONS}[names.reasons[int(item["reason"])]]
    return TickRecord(
        tick=int(item["tick"]),
        time_ns=int(item["time_ns"]),
        observation=Observation(item["image"].copy(), item["state"].copy()),
        action=item["action"].copy(),
        nominal=item["nominal"].copy(),
        reward=float(item["reward"]),
        cost=float(item["cost"]),
        violation=bool(item["violation"]),
        is_first=bool(item["is_first"]),
        is_terminal=bool(item["is_terminal"]),
        success=bool(item["success"]),
        reason=reason,
        state=State[names.states[int(item["machine"])]],
        scores=scores,
        latency_s=float(item["latency_s"]),
        frame_age_s=float(item["frame_age_s"]),
        filter=judged,
        memory=memory,
    )


def _memory_of(item: Any) -> Memory:
    latent = Latent(
        deterministic=item["deterministic"].copy(),
        stochastic=item["stochastic"].astype(np.int64),
        seed=int(item["seed"]),
        tick=int(item["step"]),
    )
    gate = _typed(GateState(), item["gate_memory"])
    return Memory(
        latent,
        FilterState(**_typed(FilterState(), item["filter_memory"])),
        GateState(**gate),
        item["executed"].copy(),
        item["physical"].copy(),
        float(item["threshold"]),
    )


def _names(kept: Any) -> list[str]:
    return [item.name for item in fields(kept)]


def _typed(example: Any, values: Sequence[float]) -> dict[str, Any]:
    """Numbers back in the types that the fields of a dataclass have."""
    return {name: type(getattr(example, name))(value) for name, value in zip(_names(example), values, strict=True)}
