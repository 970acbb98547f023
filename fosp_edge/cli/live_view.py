"""The terminal while the robot runs: a live picture for a person, or one line a second for a log."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fosp_edge.cli.run_log import RunLog, TickPoint
from fosp_edge.control.controller import Controller
from fosp_edge.control.loop import ControlLoop
from fosp_edge.control.machine import Transition
from fosp_edge.control.types import Reason, State

_STATE_STYLE = {
    State.STARTING: "cyan",
    State.READY: "cyan",
    State.RUNNING: "bold green",
    State.RECOVERING: "bold yellow",
    State.STOPPED: "bold red",
}
_REASON_WORDS = {
    Reason.POLICY: "policy acts",
    Reason.SAFER_CANDIDATE: "safer candidate",
    Reason.RECOVERY: "recovery",
    Reason.HOLD: "hold",
    Reason.UNFAMILIAR: "unfamiliar: hold",
    Reason.FILTER_OFF: "off",
}
_BAR_WIDTH = 40
_RATE_WINDOW_S = 2.0


def achieved_rate_hz(points: list[TickPoint]) -> float:
    """Ticks per second over the newest two seconds; 0 when there are not enough to say."""
    if len(points) < 2:
        return 0.0
    newest_s = points[-1].time_s
    episode = points[-1].episode  # the pause between two episodes says nothing about the rate
    recent = [p.time_s for p in points if p.episode == episode and p.time_s >= newest_s - _RATE_WINDOW_S]
    return (len(recent) - 1) / (newest_s - recent[0]) if newest_s > recent[0] else 0.0


def reachability_bar(value: float, feasible: float, stop: float, width: int = _BAR_WIDTH) -> Text:
    """A bar from 0 to 1, coloured by where `value` lies, with the two thresholds marked."""
    filled, style = round(max(0.0, min(1.0, value)) * width), "green"
    if value > feasible:
        style = "red" if value > stop else "yellow"
    marks = {min(width - 1, round(feasible * width)): "┃", min(width - 1, round(stop * width)): "║"}
    bar = Text()
    for cell in range(width):
        if cell in marks:
            bar.append(marks[cell], "white")
        else:
            bar.append("█" if cell < filled else "·", style if cell < filled else "dim")
    return bar


class View:
    """Reads the loop and the log and says what is in them. Reads only: it can be late, never in the way."""

    def __init__(
        self,
        loop: ControlLoop[Controller],
        log: RunLog,
        title: str,
        more: Callable[[], Sequence[tuple[str, str]]] = lambda: (),
    ) -> None:
        self._loop, self._log, self._title, self._more = loop, log, title, more
        self._begin_s = time.monotonic()

    @property
    def ticks(self) -> int:
        """Ticks so far."""
        return self._loop.pacer.ticks

    def panel(self) -> RenderableType:
        """The live picture."""
        loop, log = self._loop, self._log
        state = loop.machine.state
        points = list(log.points)[-200:]
        last = points[-1] if points else None
        head = Text.assemble(
            (f" {state.value} ", _STATE_STYLE[state] + " reverse"),
            f"  {time.monotonic() - self._begin_s:6.1f} s   {self._title}",
        )
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        phases = loop.telemetry.phases
        latency, inference = phases["latency"], phases["inference"]
        table.add_row(
            "rate",
            f"{achieved_rate_hz(points):5.1f} Hz of {loop.controller.manifest.rate_hz:.0f}   missed deadlines "
            f"{loop.pacer.missed}",
        )
        table.add_row(
            "latency",
            f"p50 {latency.percentile(0.5) * 1e3:.1f}  p99 {latency.percentile(0.99) * 1e3:.1f}  max "
            f"{latency.max_s * 1e3:.1f} ms   (inference p50 {inference.percentile(0.5) * 1e3:.1f} ms)",
        )
        if last is not None:
            self._rows_of_tick(table, last)
        table.add_row(
            "episode",
            f"{log.episode.number}   reward {log.episode.reward:+.2f}   cost {log.episode.cost:.0f}   interventions "
            f"{log.episode.interventions}",
        )
        table.add_row("run", f"{log.successes} of {log.episodes_done} reached   cost in all {log.total_cost:.0f}")
        if loop.recorder is not None:
            recorder = loop.recorder
            table.add_row(
                "experience", f"{recorder.written} rows   waiting {recorder.backlog}   dropped {recorder.dropped}"
            )
        for name, text in self._more():
            table.add_row(name, Text(text))
        events = Text(
            "\n".join(f"  {item.source.value} → {item.target.value}: {item.detail}" for item in self._events())
        )
        events.stylize("dim")
        return Panel(Group(head, Text(), table, Text(), events), title="fosp-edge run", subtitle="Ctrl-C stops")

    def _rows_of_tick(self, table: Table, last: TickPoint) -> None:
        thresholds = self._loop.controller.manifest.filter
        feasible, stop = thresholds.feasible_reachability, thresholds.stop_reachability
        table.add_row("frame age", f"{last.frame_age_s * 1e3:.0f} ms")
        table.add_row("filter", self._filter_words(last))
        bar = reachability_bar(last.policy_reachability, feasible, stop)
        bar.append(f"  {last.policy_reachability:.3f}  feasible up to {feasible:.3f}", "dim")
        table.add_row("reachability", bar)

    def _filter_words(self, last: TickPoint) -> Text:
        words = _REASON_WORDS.get(last.reason, last.reason.value)
        if last.reason is Reason.FILTER_OFF:
            words = "off" + (", would have stepped in" if last.would_intervene else "")
        return Text(words, "yellow" if last.would_intervene else "green")

    def _events(self) -> list[Transition]:
        return list(self._loop.machine.history)[-4:]

    def line(self) -> str:
        """One line for a log."""
        loop, log = self._loop, self._log
        latency = loop.telemetry.phases["latency"]
        points = list(log.points)[-200:]
        reach = f"{points[-1].policy_reachability:.3f}" if points else "-"
        dropped = loop.recorder.dropped if loop.recorder is not None else 0
        return (
            f"{time.monotonic() - self._begin_s:7.1f} s  {loop.machine.state.value:<10} "
            f"{achieved_rate_hz(points):4.1f} Hz  latency p50 {latency.percentile(0.5) * 1e3:.1f} "
            f"p99 {latency.percentile(0.99) * 1e3:.1f} ms  reachability {reach}  episode {log.episode.number} "
            f"reward {log.episode.reward:+.2f} cost {log.episode.cost:.0f} interventions {log.episode.interventions}  "
            f"reached {log.successes}/{log.episodes_done}  missed {loop.pacer.missed} dropped {dropped}"
            + "".join(f"\n          {name}: {text}" for name, text in self._more())
        )


class Reporter(AbstractContextManager["Reporter"]):
    """Shows a view in a thread of its own until the run is over; whatever fails in it stays in it.

    Args:
        view: what to show.
        console: where.
        headless: lines in place of a picture that is drawn anew.
        line_every_s: how often one is printed.
        tell: is given every second's line.
    """

    def __init__(
        self,
        view: View,
        console: Console,
        *,
        headless: bool,
        line_every_s: float = 1.0,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._view, self._console, self._headless = view, console, headless
        self._lines_each, self._tell = max(1, round(line_every_s)), tell
        self._done = threading.Event()
        self._seen_ticks, self._lines = 0, 0
        self.failure: str | None = None
        """Why the view went dark, if it did; the run goes on without it."""
        self._thread = threading.Thread(target=self._show, name="view", daemon=True)

    def __enter__(self) -> "Reporter":
        """Begin to show."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(2.0)

    def _show(self) -> None:
        try:
            self._show_until_done()
        except Exception as error:
            self.failure = f"the view failed ({type(error).__name__}: {error})"

    def _show_until_done(self) -> None:
        if self._headless:
            self._repeat(1.0, self._print_line)
            return
        with Live(self._view.panel(), console=self._console, auto_refresh=False, transient=True) as live:
            self._repeat(0.25, lambda: live.update(self._view.panel(), refresh=True))

    def _print_line(self) -> None:
        if self._view.ticks == self._seen_ticks:  # nothing new while a person is being asked something
            return
        self._seen_ticks, line = self._view.ticks, self._view.line()
        self._tell(line)
        if self._lines % self._lines_each == 0:
            self._console.print(line, soft_wrap=True, highlight=False)
        self._lines += 1

    def _repeat(self, period_s: float, show: Callable[[], object]) -> None:
        while not self._done.wait(period_s):
            show()
