"""Compute a recorded run again: with its own bundle bit for bit, or with another one to see what it would have done."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fosp_edge.bundle.manifest import Manifest
from fosp_edge.control.controller import Controller
from fosp_edge.control.flight.log import BEGIN, BUNDLE, EVENT, TICK, FlightError, FlightReader
from fosp_edge.control.flight.row import Names, record_of, row_type
from fosp_edge.control.inference import NotFinite
from fosp_edge.control.limits import ActionRefused
from fosp_edge.control.types import Reason, TickRecord


@dataclass(frozen=True)
class Tick:
    """One recorded tick, with where it belongs."""

    record: TickRecord
    episode: int
    bundle: int
    """Number of the bundle that decided, as in `Flight.bundles`."""


@dataclass
class Flight:
    """A recording. `ticks` may be read through again and again, and never holds more than one tick."""

    folder: Path
    meta: dict[str, Any]
    manifest: Manifest
    bundles: dict[int, dict[str, str]] = field(default_factory=dict)
    """`id` and `path` by number."""
    scenarios: dict[int, str] = field(default_factory=dict)
    """By episode."""
    events: list[tuple[int, str]] = field(default_factory=list)
    """Monotonic time and sentence."""
    torn: int = 0

    def ticks(self) -> Iterator[Tick]:
        """Every tick that is whole, oldest first."""
        names = Names(tuple(self.meta["names"]["reasons"]), tuple(self.meta["names"]["states"]))
        form = _row_type(self.meta)
        for kind, content in FlightReader(self.folder):
            if kind == TICK:
                item = np.frombuffer(content, form)[0]
                yield Tick(record_of(item, names), int(item["episode"]), int(item["bundle"]))


def _row_type(meta: dict[str, Any]) -> np.dtype[np.void]:
    return np.dtype([tuple(tuple(part) if isinstance(part, list) else part for part in item) for item in meta["row"]])


def open_flight(folder: Path) -> Flight:
    """The recording in a run's folder, or in its `flight` folder. Raises FlightError."""
    place = folder / "flight" if (folder / "flight").is_dir() else folder
    reader = FlightReader(place)
    try:
        manifest = Manifest.from_json(json.dumps(reader.meta["manifest"]))
        if row_type(manifest) != _row_type(reader.meta):
            raise FlightError(f"{place} was recorded by another version of fosp-edge; replay it with that one")
    except (KeyError, TypeError, ValueError) as error:
        raise (
            error if isinstance(error, FlightError) else FlightError(f"{place}: meta.json is damaged ({error})")
        ) from error
    flight = Flight(place, reader.meta, manifest)
    for kind, content in reader:
        if kind == BUNDLE:
            about = json.loads(content)
            flight.bundles[about["number"]] = about
        elif kind == BEGIN:
            about = json.loads(content)
            flight.scenarios[about["episode"]] = about["scenario"]
        elif kind == EVENT:
            about = json.loads(content)
            flight.events.append((about["time_ns"], about["sentence"]))
    flight.torn = reader.torn
    return flight


@dataclass(frozen=True)
class Difference:
    """Where a recomputation first differs from what was recorded."""

    episode: int
    tick: int
    step: int
    name: str
    recorded: str
    computed: str

    def sentence(self) -> str:
        """In words."""
        return (
            f"episode {self.episode}, step {self.step} (tick {self.tick}): {self.name} was {self.recorded}, "
            f"is {self.computed}"
        )


@dataclass
class Verification:
    """What a recomputation came to."""

    equal: int = 0
    """Ticks whose every value agreed, to the last bit, before the first difference."""
    skipped: int = 0
    """Ticks of episodes whose beginning is no longer in the recording, where the gate remembers earlier pictures."""
    without_decision: int = 0
    """Last rows of episodes, upon which nothing was decided."""
    episodes: int = 0
    difference: Difference | None = None


def verify(flight: Flight, controllers: dict[int, Controller], *, episode: int | None = None) -> Verification:
    """Compute every tick again and compare everything; stops at the first difference.

    Each tick begins from what the controller remembered at the time, as it was recorded; where two ticks follow one
    another, what the first one leaves behind is compared with what the second one began from.

    Args:
        flight: the recording.
        controllers: by number of the bundle, with the settings of the run.
        episode: only this one.
    """
    found, before = Verification(), _Before()
    for tick in flight.ticks():
        if episode is not None and tick.episode != episode:
            continue
        found.episodes += tick.episode != before.episode
        memory, record = tick.record.memory, tick.record
        if record.scores is None or memory is None:
            found.without_decision += 1
            before = _Before(tick.episode)
            continue
        controller = controllers[tick.bundle]
        follows = before.step == memory.latent.tick - 1 and before.episode == tick.episode
        follows = follows and before.bundle == tick.bundle
        if not follows:
            if memory.latent.tick == 0:
                controller.reset(memory.latent.seed)
            elif controller.has_gate:
                found.skipped += 1
                before = _Before(tick.episode)
                continue
            else:
                controller.restore(memory)
        controller.tighten_to(memory.feasible_reachability)  # from outside: probation begins and ends
        found.difference = _compare_memory(tick, controller) if follows else None
        found.difference = found.difference or _compare_decision(tick, controller)
        if found.difference is not None:
            return found
        found.equal += 1
        before = _Before(tick.episode, memory.latent.tick, tick.bundle)
    return found


@dataclass(frozen=True)
class _Before:
    """Which tick was computed last."""

    episode: int = -1
    step: int = -2
    bundle: int = -1


def _compare_memory(tick: Tick, controller: Controller) -> Difference | None:
    recorded, computed = tick.record.memory, controller.memory()
    assert recorded is not None
    pairs = {
        "latent.deterministic": (recorded.latent.deterministic, computed.latent.deterministic),
        "latent.stochastic": (recorded.latent.stochastic, computed.latent.stochastic),
        "latent.seed": (recorded.latent.seed, computed.latent.seed),
        "filter memory": (recorded.filter, computed.filter),
        "gate memory": (recorded.gate, computed.gate),
        "previous action": (recorded.executed, computed.executed),
        "previous physical action": (recorded.physical, computed.physical),
    }
    return _first_difference(tick, pairs)


def _compare_decision(tick: Tick, controller: Controller) -> Difference | None:
    record = tick.record
    try:
        decision, scores = controller.decide(record.observation)
    except (NotFinite, ActionRefused) as error:
        return _difference(tick, "outcome", record.reason.name, str(error))
    recorded, judged, computed = record.scores, record.filter, controller.insight.judged
    assert recorded is not None and judged is not None
    pairs: dict[str, tuple[Any, Any]] = {
        name: (getattr(recorded, name), getattr(scores, name))
        for name in ("candidates", "reward_value", "cost_value", "reachability", "state_reachability", "surprise")
    }
    pairs |= {
        "gate readings": (judged.gate, computed.gate),
        "feasible threshold": (judged.feasible_reachability, computed.feasible_reachability),
        "stop threshold": (judged.stop_reachability, computed.stop_reachability),
        "chosen candidate": (judged.chosen, computed.chosen),
        "reason": (record.reason.name, decision.reason.name),
        "nominal action": (record.nominal, decision.nominal),
        "executed action": (record.action, decision.action),
    }
    return _first_difference(tick, pairs)


def _first_difference(tick: Tick, pairs: dict[str, tuple[Any, Any]]) -> Difference | None:
    for name, (recorded, computed) in pairs.items():
        if isinstance(recorded, np.ndarray):
            where = np.flatnonzero(recorded.ravel() != computed.ravel())
            if where.size:
                at = int(where[0])
                index = np.unravel_index(at, recorded.shape)
                place = f"{name}[{', '.join(str(int(i)) for i in index)}]"
                return _difference(tick, place, repr(recorded.flat[at].item()), repr(computed.flat[at].item()))
        elif recorded != computed:
            return _difference(tick, name, str(recorded), str(computed))
    return None


def _difference(tick: Tick, name: str, recorded: str, computed: str) -> Difference:
    step = tick.record.memory.latent.tick if tick.record.memory is not None else 0
    return Difference(tick.episode, tick.record.tick, step, name, recorded, computed)


@dataclass
class Comparison:
    """What another bundle would have done with the same pictures, told each time what was really executed."""

    ticks: int = 0
    episodes: int = 0
    same_reason: int = 0
    interventions: int = 0
    other_interventions: int = 0
    mean_action_change: float = 0.0
    """Mean absolute difference of executed actions, normalised."""
    largest_action_change: float = 0.0
    mean_reachability: float = 0.0
    """Of the policy's own choice, as it was."""
    other_mean_reachability: float = 0.0
    refused: str | None = None
    """Why it ended early: the other bundle returned something that is no number."""
    points: list[dict[str, float | int | str]] = field(default_factory=list)
    """One per tick, for whoever wants to draw them."""


def compare(flight: Flight, other: Controller, *, episode: int | None = None) -> Comparison:
    """Show the recorded pictures to another bundle. Episodes whose beginning is gone start from nothing there."""
    found, current = Comparison(), -1
    here, there = row_type(flight.manifest), row_type(other.manifest)
    for name, what in (("image", "pictures"), ("state", "state vector"), ("action", "actions")):
        if here[name] != there[name]:
            raise FlightError(f"the other bundle's {what} have shape {there[name].shape}, recorded: {here[name].shape}")
    for tick in flight.ticks():
        record = tick.record
        if (episode is not None and tick.episode != episode) or record.scores is None or record.filter is None:
            continue
        assert record.memory is not None
        if tick.episode != current:
            current, found.episodes = tick.episode, found.episodes + 1
            other.reset(record.memory.latent.seed)
        elif record.memory.latent.tick > 0:
            other.correct_executed(record.memory.executed)
        try:
            decision, scores = other.decide(record.observation)
        except (NotFinite, ActionRefused) as error:
            found.refused = f"episode {tick.episode}, tick {record.tick}: {error}"
            break
        change = float(np.max(np.abs(decision.action - record.action)))
        found.ticks += 1
        found.same_reason += decision.reason is record.reason
        found.interventions += record.filter.chosen != 0
        found.other_interventions += decision.intervened
        found.mean_action_change += float(np.mean(np.abs(decision.action - record.action)))
        found.largest_action_change = max(found.largest_action_change, change)
        found.mean_reachability += float(record.scores.reachability[0])
        found.other_mean_reachability += float(scores.reachability[0])
        found.points.append(_point(tick, decision.reason, change, float(scores.reachability[0])))
    for name in ("mean_action_change", "mean_reachability", "other_mean_reachability"):
        setattr(found, name, getattr(found, name) / max(1, found.ticks))
    return found


def _point(tick: Tick, reason: Reason, change: float, reachability: float) -> dict[str, float | int | str]:
    record = tick.record
    assert record.scores is not None
    return {
        "episode": tick.episode,
        "tick": record.tick,
        "reason": record.reason.name,
        "other_reason": reason.name,
        "action_change": round(change, 6),
        "reachability": round(float(record.scores.reachability[0]), 6),
        "other_reachability": round(reachability, 6),
    }
