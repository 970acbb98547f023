"""From an observation to an action that may be sent: inference, filter and limits, without wires and without a clock.

The run loop on the robot and the evaluation in lockstep use this same class, so what is measured is what moves.
"""

import hashlib
import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fosp_edge.bundle.manifest import BundleError
from fosp_edge.control.arming import check_armed
from fosp_edge.control.gate import OodGate, explain
from fosp_edge.control.gate_response import DEFAULT_GATE_SETTINGS, GateSettings, GateState, respond
from fosp_edge.control.inference import DEFAULT_EXECUTION, Execution, PolicyBundle, PolicyRuntime, made_up
from fosp_edge.control.limits import Limits
from fosp_edge.control.look_ahead import LookAheadRuntime, open_runtime
from fosp_edge.control.memory import Memory
from fosp_edge.control.safety_filter import (
    DEFAULT_SETTINGS,
    FilterSettings,
    FilterState,
    filter_action,
)
from fosp_edge.control.types import Decision, FilterRecord, Float32Array, Observation, Reason, StepScores

_WARM_UP_TICKS = 5


@dataclass(frozen=True)
class Insight:
    """What one decision leaves behind beside the decision itself."""

    judged: FilterRecord
    """What was let through, and by which thresholds."""
    advice: Decision
    """What the filter would have done; differs from the decision only when it is switched off."""
    range_limited: bool
    rate_limited: bool
    inference_s: float
    filter_s: float

    @property
    def chosen(self) -> int:
        """Row of the candidates that was let through."""
        return self.judged.chosen

    def sentence(self, reason: Reason) -> str:
        """Why the run stops for this reason, with what was measured."""
        if reason is Reason.UNFAMILIAR_STOP:
            return f"{reason.value}; {explain(self.judged.gate)}"
        return str(reason.value)


class Controller:
    """A bundle that decides. One instance per robot; `reset` before every episode."""

    def __init__(
        self,
        bundle: PolicyBundle,
        *,
        filter_enabled: bool = True,
        gate_enabled: bool = True,
        settings: FilterSettings = DEFAULT_SETTINGS,
        gate_settings: GateSettings = DEFAULT_GATE_SETTINGS,
        execution: Execution = DEFAULT_EXECUTION,
        full_range_s: float = 0.1,
        runtime: PolicyRuntime | None = None,
    ) -> None:
        """Open the bundle's graph, and arm its filter if that is enabled.

        With `gate_enabled` False the out-of-distribution gate measures and does not act; so it is with the filter off.
        `runtime` scores the candidates in place of the bundle's graph, for comparisons.

        Raises:
            BundleError: the graph is not that of the manifest, or the filter does not arm.
        """
        self.manifest = bundle.manifest
        self.bundle_id = str(getattr(bundle, "id", ""))
        """Empty for a bundle that was never on a disk."""
        if filter_enabled:
            check_armed(self.manifest, hashlib.sha256(bundle.graph_bytes).hexdigest())
        self.filter_enabled = filter_enabled
        self.settings, self.gate_settings = settings, gate_settings
        self.full_range_s = full_range_s
        self.gate_enabled = gate_enabled
        self._gate: OodGate | None = None
        if self.manifest.gate is not None:
            self._gate = OodGate(self.manifest, bundle.gate_bytes or b"")
        self.runtime = runtime or open_runtime(bundle, execution)
        if self.manifest.filter.look_ahead_sha256 is not None and not isinstance(self.runtime, LookAheadRuntime):
            raise BundleError(
                f"the filter of {self.manifest.name!r} was calibrated looking ahead and would now not look ahead; open "
                "its graphs with look_ahead.open_runtime"
            )
        actions = self.manifest.actions
        self.limits = Limits(
            tuple(channel.low for channel in actions),
            tuple(channel.high for channel in actions),
            1.0 / self.manifest.rate_hz,
            full_range_s,
        )
        self._hold_index = self.manifest.candidates.index("hold")
        self._thresholds = self.manifest.filter
        self._filter_state, self._gate_state = FilterState(), GateState()
        self._executed = np.zeros(len(actions), dtype=np.float32)
        self._physical = self.limits.rest
        self._insight: Insight | None = None

    def warm_up(self) -> None:
        """Decide a few times about noise, and forget it. What lies beneath makes its buffers when it is first called:
        the first tick of a run took ten times as long as the others, with locked memory beside a learner 85 ms.

        Raises:
            NotFinite, ActionRefused: as `decide`.
        """
        observation = made_up(self.manifest)
        self.reset(0)
        for _ in range(_WARM_UP_TICKS):
            self.decide(observation)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """A new episode from rest; `seed` decides all noise of it."""
        self.runtime.reset(seed)
        self.limits.reset()
        self._filter_state, self._gate_state = FilterState(), GateState()
        if self._gate is not None:
            self._gate.reset()
        self._executed = np.zeros(len(self.manifest.actions), dtype=np.float32)
        self._physical = self.limits.rest
        self._insight = None

    @property
    def has_gate(self) -> bool:
        """Whether the bundle has an out-of-distribution gate, which remembers more than `memory` holds."""
        return self._gate is not None

    def memory(self) -> Memory:
        """What `restore` needs to go on from here, in this controller or in another of the same latent shape."""
        return Memory(
            self.runtime.latent,
            self._filter_state,
            self._gate_state,
            self._executed,
            self._physical,
            self._thresholds.feasible_reachability,
        )

    def restore(self, memory: Memory) -> None:
        """Go on from what another controller, or this one, remembered.

        The out-of-distribution gate counts from the same tick but has not seen the pictures before it.
        """
        self.runtime.restore(memory.latent)
        self.limits.restore(memory.physical)
        self._filter_state, self._gate_state = memory.filter, memory.gate
        if self._gate is not None:
            self._gate.resume(memory.latent.tick)
        self._executed, self._physical = memory.executed.copy(), memory.physical.copy()
        self.tighten_to(memory.feasible_reachability)
        self._insight = None

    def correct_executed(self, executed: Float32Array) -> None:
        """Something else was executed than was decided last, normalised, shape [A]: the next tick is told so."""
        self._executed = executed.copy()

    def decide(self, observation: Observation) -> tuple[Decision, StepScores]:
        """One tick. The decision's `action` is what is to be executed, after filter and limits, normalised, shape [A].

        Raises:
            NotFinite: from the graph. ActionRefused: the chosen action is not finite. Either way, stop the motors.
        """
        begin_ns = time.perf_counter_ns()
        scores = self.runtime.step(observation, self._executed)
        inferred_ns = time.perf_counter_ns()
        readings = () if self._gate is None else self._gate.observe(observation, scores.surprise)
        alarm = self.gate_enabled and any(value > 1.0 for value in readings)
        self._gate_state = respond(alarm, self._gate_state, self.gate_settings)
        verdict = filter_action(
            scores,
            self._thresholds,
            self._filter_state,
            self._hold_index,
            enabled=self.filter_enabled,
            settings=self.settings,
            stage=self._gate_state.stage,
        )
        limited = self.limits.apply(verdict.decision.action)
        self._filter_state, self._executed, self._physical = verdict.state, limited.normalised, limited.physical
        self._insight = Insight(
            judged=FilterRecord(
                verdict.decision.index,
                verdict.thresholds.feasible_reachability,
                verdict.thresholds.stop_reachability,
                readings,
            ),
            advice=verdict.advice,
            range_limited=limited.range_limited,
            rate_limited=limited.rate_limited,
            inference_s=(inferred_ns - begin_ns) * 1e-9,
            filter_s=(time.perf_counter_ns() - inferred_ns) * 1e-9,
        )
        return replace(verdict.decision, action=limited.normalised), scores

    def tighten(self, ratio: float) -> None:
        """Leave this share of the feasible threshold, as on probation; 1 is the bundle's own."""
        self.tighten_to(ratio * self.manifest.filter.feasible_reachability)

    def tighten_to(self, feasible_reachability: float) -> None:
        """This feasible threshold in place of the bundle's own."""
        self._thresholds = replace(self.manifest.filter, feasible_reachability=feasible_reachability)

    def rehearse(self) -> None:
        """Bring the graph into the caches for the coming `decide`; changes nothing else."""
        self.runtime.rehearse()

    def told(self, executed: Float32Array) -> None:
        """What was really executed since the last decision, where another controller drives and this one only decides
        beside it; normalised, shape [A]."""
        self._executed = executed

    def follow(self, observation: Observation, previous_action: Float32Array) -> None:
        """See a tick that another controller decides, so that the recurrent state is that of the robot.

        Raises:
            NotFinite: from the graph.
        """
        scores = self.runtime.step(observation, previous_action)
        if self._gate is not None:
            self._gate.observe(observation, scores.surprise)

    def take_over(self, other: "Controller") -> None:
        """Go on where another controller of the same robot stands: its motion, its interventions, its noise.

        The recurrent state stays this one's own: let it `follow` what the other saw before.
        """
        self._filter_state, self._gate_state = other._filter_state, other._gate_state
        self._executed, self._physical = other._executed.copy(), other._physical.copy()
        self.limits.follow(other.limits)
        clock = other.runtime.latent
        self.runtime.restore(replace(self.runtime.latent, seed=clock.seed, tick=clock.tick))

    @property
    def physical_action(self) -> npt.NDArray[np.float64]:
        """The last decision's action in the robot's units, inside its limits, shape [A]: what goes over the wire."""
        physical: npt.NDArray[np.float64] = self._physical.copy()
        return physical

    @property
    def insight(self) -> Insight:
        """Particulars of the last decision.

        Raises:
            RuntimeError: nothing was decided since the reset.
        """
        if self._insight is None:
            raise RuntimeError("nothing was decided since the reset")
        return self._insight
