"""What a person gets to see of a run: log, live view, summary, plot, files."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cli.files import write_atomically
from fosp_edge.cli.live_view import Reporter, View, achieved_rate_hz, reachability_bar
from fosp_edge.cli.run_log import FRAMES_KEPT, RunLog
from fosp_edge.cli.run_plot import plot_run
from fosp_edge.cli.run_summary import summary_json, summary_table, timing_line
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.controller import Controller
from fosp_edge.control.loop import ControlLoop
from fosp_edge.control.machine import Machine
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.session import AutomaticOperator, Plan, RunSummary, Session
from fosp_edge.control.types import Reason
from tests.control.fakes import FakeCamera, FakeClock, FakeReferee, FakeRobot, TinyBundle


def run_with_fakes(episodes: int = 2, *, filter_enabled: bool = True) -> tuple[ControlLoop, RunLog, RunSummary]:
    """A run in which the policy is infeasible at every third look, on a clock that costs no time."""
    clock = FakeClock()
    robot, log = FakeRobot(clock), RunLog()
    looks = iter(range(10**6))

    def look() -> None:
        robot.state[0] = 0.6 if next(looks) % 12 < 3 else 0.1

    robot.on_read = look
    loop = ControlLoop(
        robot,
        [FakeCamera(clock, "fixed"), FakeCamera(clock, "wrist")],
        Controller(TinyBundle(), filter_enabled=filter_enabled),
        Machine(clock),
        referee=FakeReferee(length=30),
        observer=log,
        pacer=Pacer(0.05, clock, clock.sleep),
        clock=clock,
        sleep=clock.sleep,
    )
    return loop, log, Session(loop, AutomaticOperator(), clock).run(Plan("standard", episodes=episodes))


def test_the_log_adds_up_to_what_the_session_counted() -> None:
    _, log, summary = run_with_fakes()
    assert log.episodes_done == 2 and log.successes == 2
    assert len(log.points) == sum(episode.steps for episode in summary.episodes) == 60
    assert sum(point.intervened for point in log.points) == sum(e.interventions for e in summary.episodes) > 0
    assert log.total_cost == sum(episode.cost for episode in summary.episodes) == 2.0
    for point in log.points:
        assert point.chosen_reachability <= point.policy_reachability or not point.intervened
    assert log.showcase is not None and log.showcase.success and len(log.showcase.frames) == 31 <= FRAMES_KEPT


def test_with_the_filter_off_the_log_says_what_it_would_have_done() -> None:
    _, log, _ = run_with_fakes(filter_enabled=False)
    assert not any(point.intervened for point in log.points)
    assert any(point.would_intervene for point in log.points)
    assert {point.reason for point in log.points} == {Reason.FILTER_OFF}


def test_rate_is_that_of_the_present_episode() -> None:
    _, log, _ = run_with_fakes()
    assert achieved_rate_hz(list(log.points)) == pytest.approx(20.0)
    assert achieved_rate_hz([]) == 0.0


@pytest.mark.parametrize(
    ("value", "style"), [(0.0, "green"), (0.3, "green"), (0.5, "yellow"), (0.9, "red"), (7.0, "red")]
)
def test_the_bar_is_coloured_by_where_the_value_lies_and_keeps_its_width(value: float, style: str) -> None:
    bar = reachability_bar(value, 0.3, 0.7, width=20)
    assert len(bar.plain) == 20
    assert bar.plain.count("█") <= 20 and (value == 0.0 or style in {str(span.style) for span in bar.spans})


@pytest.mark.parametrize("headless", [True, False])
def test_the_view_shows_state_rate_and_counts(headless: bool) -> None:
    loop, log, _ = run_with_fakes()
    view = View(loop, log, "tiny on fakes")
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=not headless)
    console.print(view.line() if headless else view.panel())
    text = out.getvalue()
    assert "stopped" in text and "20.0 Hz" in text
    assert ("reached 2/2" if headless else "2 of 2 reached") in text


def test_of_the_lines_of_a_service_few_are_printed_and_all_are_told() -> None:
    loop, log, _ = run_with_fakes()
    view, told, out = View(loop, log, "tiny on fakes"), list[str](), io.StringIO()
    console = Console(file=out, width=200)
    reporter = Reporter(view, console, headless=True, line_every_s=3.0, tell=told.append)
    for ticks in range(1, 6):
        loop.pacer.ticks = ticks
        reporter._print_line()
        reporter._print_line()  # nothing new
    assert len(told) == 5 and "reached 2/2" in told[0]
    assert out.getvalue().count("reached 2/2") == 2


def test_a_view_that_fails_goes_dark_and_says_so_afterwards() -> None:
    class Broken(View):
        def line(self) -> str:
            raise RuntimeError("no such column")

    loop, log, _ = run_with_fakes()
    reporter = Reporter(Broken(loop, log, ""), Console(file=io.StringIO()), headless=True)
    with reporter:
        reporter._thread.join(10.0)
    assert reporter.failure is not None and "no such column" in reporter.failure


def test_the_summary_is_complete_json_and_the_table_agrees_with_it() -> None:
    _, _, summary = run_with_fakes()
    document = json.loads(summary_json(summary, {"scenario": "standard"}))
    assert document["end"] == {
        "state": "stopped",
        "reason": "RUN_COMPLETE",
        "sentence": "all 2 episodes are done",
        "stop_acknowledged": True,
    }
    assert [episode["steps"] for episode in document["episodes"]] == [30, 30]
    assert document["phases"]["latency"]["count"] == 60
    out = io.StringIO()
    Console(file=out, width=120).print(summary_table(summary, judged=True))
    assert "2 reached" in out.getvalue() and "2 in violation" in out.getvalue()
    assert timing_line(summary).startswith("62 ticks in")


def test_the_plot_is_a_picture_of_the_most_telling_episode() -> None:
    matplotlib_image = pytest.importorskip("matplotlib.image")
    loop, log, summary = run_with_fakes()
    png = plot_run(log, summary.telemetry, loop.controller.manifest, "a run")
    pixels = matplotlib_image.imread(io.BytesIO(png))
    assert pixels.shape[0] > 600 and pixels.shape[1] > 1000
    # The shade of an intervention is in it.
    shade = np.array([0.98, 0.91, 0.76])
    assert np.any(np.all(np.abs(pixels[..., :3] - shade) < 0.02, axis=-1))
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_run(RunLog(), summary.telemetry, loop.controller.manifest, "nothing")


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="gone"):
        write_atomically(tmp_path / "gone" / "x", b"")


def test_exactly_one_shipped_bundle_is_expected(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="found 0"):
        shipped_bundle(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
        if name == "a":
            assert shipped_bundle(tmp_path) == tmp_path / "a"
    with pytest.raises(BundleError, match="found 2"):
        shipped_bundle(tmp_path)
