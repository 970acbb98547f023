"""What every verb that moves a robot sees to: a latched stop, cameras that have moved, Ctrl-C, refusals."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from fosp_edge.bundle.manifest import CameraContract
from fosp_edge.cameras.base import CameraError
from fosp_edge.cli.camera_check import CameraState, OnMoved, examine
from fosp_edge.cli.judges import Bench
from fosp_edge.cli.keyboard import confirm
from fosp_edge.cli.rig import Rig
from fosp_edge.control.emergency import EmergencyStop
from fosp_edge.control.latch import StopLatch
from fosp_edge.control.loop import ControlLoop, LoopSettings
from fosp_edge.control.session import RunSummary, Session
from fosp_edge.control.telemetry import default_thresholds
from fosp_edge.control.types import Reason
from fosp_edge.robots.mobile_base import HOLDING

_SIGNAL_WORDS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the terminal was closed"}


def refuse(console: Console, sentence: str) -> NoReturn:
    """Say why nothing is done, and end with status 2."""
    console.print(f"[bold red]refused[/]: {escape(sentence)}", soft_wrap=True, highlight=False)
    raise typer.Exit(2)


def released_or_refuse(console: Console, latch: StopLatch, release_stop: bool, *, ask: bool) -> None:
    """A stop that the last run left behind is released by a person, or nothing is opened."""
    sentence = latch.sentence
    if sentence is None:
        return
    console.print(f"latched: {sentence}", style="bold yellow", soft_wrap=True, highlight=False, markup=False)
    if release_stop or (ask and confirm(console, "Look at the robot. Release the stop?")):
        latch.release()
        return
    refuse(console, "the stop was not released; look at the robot, then run with --release-stop")


def cameras_checked(
    console: Console, rig: Rig, wanted: Sequence[CameraContract], store: Path, on_moved: OnMoved
) -> list[CameraState]:
    """Every camera beside its calibration, said aloud. Raises CameraError where one has moved and that is to refuse."""
    states = examine(rig.cameras, wanted, store, look=on_moved is not OnMoved.IGNORE)
    for state in states:
        style = "dim" if state.trustworthy else "bold yellow"
        console.print(f"camera {state.name} ({state.serial}): {state.sentence}", style=style, soft_wrap=True,
                      highlight=False, markup=False)  # fmt: skip
    doubtful = [f"camera {state.name} ({state.serial}): {state.sentence}" for state in states if not state.trustworthy]
    if doubtful and on_moved is OnMoved.REFUSE:
        raise CameraError(f"{'; '.join(doubtful)}. To drive slowly all the same: --camera-moved slow")
    return states


@contextmanager
def signals(session: Session, caught: list[int], button: EmergencyStop) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal stop the motors at the next tick, or at once where no tick is running.

    SIGUSR1 is the emergency stop.
    """
    first_s = [0.0]

    def handle(number: int, frame: FrameType | None) -> None:
        session.loop.request_stop(f"stopped by {_SIGNAL_WORDS[signal.Signals(number)]}")
        now_s = time.monotonic()
        impatient = bool(caught) and now_s - first_s[0] > 1.0
        if not caught:
            first_s[0] = now_s
        caught.append(number)
        if not session.closing and (impatient or not session.machine.may_move):
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in _SIGNAL_WORDS}
    before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda number, frame: button.press("SIGUSR1"))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def loop_settings(rig: Rig, rate_hz: float, *, max_steps: int | None, rehearse: bool = False) -> LoopSettings:
    """When the loop gives up, by the patience of the rig."""
    return LoopSettings(
        rehearse=rehearse,
        max_frame_age_s=rig.patience_s,
        # Ticks that are each a little late miss deadlines one by one: that is given longer than one standstill.
        max_missed_in_a_row=round(4.0 * rig.patience_s * rate_hz),
        max_steps=max_steps,
        thresholds=default_thresholds(1.0 / rate_hz, rig.patience_s),
    )


def emergency_button(console: Console, bench: Bench, loop: ControlLoop[Any], file: Path | None) -> EmergencyStop:
    """The button that stops the robot, tells the loop and the judges, and watches the file if there is one.

    Raises:
        OSError: the file cannot be read.
    """
    button = EmergencyStop(
        bench.rig.robot,
        lambda detail: loop.request_stop(detail, Reason.EMERGENCY_STOP),
        lambda sentence: console.print(sentence, style="bold red", soft_wrap=True, highlight=False, markup=False),
    )
    bench.stopped = lambda: button.pressed
    if file is not None:
        button.watch_file(file)
    return button


def settle(latch: StopLatch, summary: RunSummary) -> None:
    """Leave the stop latched unless the run ended as it should; a run that never armed leaves nothing to release."""
    if latch.sentence is not None:
        latch.ended(None if summary.planned and summary.stop_acknowledged else summary.detail)


def say_end(console: Console, summary: RunSummary) -> None:
    """What held a base back, why it ended, and whether the motors confirmed it."""
    for limit in HOLDING:  # it would look as if the policy did not want to drive
        if count := summary.telemetry.counters.get(limit):
            console.print(f"{limit} in {count} of {summary.ticks} ticks", style="yellow", highlight=False)
    style = "green" if summary.planned else "bold red"
    stopped = "the motor controller confirmed the stop" if summary.stop_acknowledged else "the stop was not confirmed"
    console.print(f"[{style}]{summary.state.value}[/] ({summary.reason.name}): ", end="", highlight=False)
    console.print(f"{summary.detail}; {stopped}", soft_wrap=True, highlight=False, markup=False)


def exit_status(summary: RunSummary, caught: Sequence[int]) -> int:
    """128 and the first signal that was caught; otherwise 0 if the run ended as it should, else 1."""
    if caught:
        return 128 + caught[0]
    return 0 if summary.planned else 1
