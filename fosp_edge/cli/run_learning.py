"""What `run --learn` adds: the learner process, the swapper, and the pulse by which the one spares the other."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fosp_edge.bundle.folder import Bundle
from fosp_edge.cli.application import LazyCommand
from fosp_edge.cli.extras import require
from fosp_edge.cli.home import Home, read_json, write_json
from fosp_edge.cli.learnt_from import through_its_cameras
from fosp_edge.cli.verbs import VERBS
from fosp_edge.control.controller import Controller, Insight
from fosp_edge.control.loop import ControlLoop, Observer
from fosp_edge.control.pulse import Pulse
from fosp_edge.control.swap import Swapper
from fosp_edge.control.types import TickRecord
from fosp_edge.experience.store import ExperienceStore

_RESTARTS = 5
_SINGLE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class LearnOptions:
    """What `run` passes on to the learner."""

    home: Home
    datasets: tuple[Path, ...]
    first: Path | None
    arguments: tuple[str, ...] = ()


def learn_options(
    folder: Path, first: Path | None, datasets: list[Path] | None, options: list[str] | None, *, record: bool
) -> LearnOptions:
    """What the command line asks for.

    Raises:
        ValueError: something is missing for learning.
        MissingExtra: so is the software for it.
    """
    require("export")
    if not datasets:
        raise ValueError(
            "--learn keeps offline data in every batch, so that nothing is unlearned: name them with --dataset "
            "(`fosp-edge data collect data/safereach` makes some)"
        )
    if not record:
        raise ValueError("--learn learns from what is recorded: leave out --no-record")
    arguments = []
    for option in options or []:
        name, equals, value = option.partition("=")
        if not equals or not name.replace("-", "").replace("_", "").isalpha():
            raise ValueError(f"--learn-option {option!r}: expected NAME=VALUE, see `fosp-edge learn --help`")
        arguments += [f"--{name.replace('_', '-')}={value}"]
    _refuse_what_learn_would(arguments)
    home = Home(folder)
    home.make()
    return LearnOptions(home, tuple(datasets), first, tuple(arguments))


def _refuse_what_learn_would(arguments: list[str]) -> None:
    """The learner is a process of its own: what it objects to would stand in its log while the robot drives."""
    try:
        LazyCommand("learn", VERBS["learn"]).make_context("learn", [*arguments, "--dataset", os.devnull])
    except Exception as error:
        told = getattr(error, "format_message", None)  # of a mistyped option, by whichever click typer has brought
        raise ValueError(f"--learn-option: {told() if told else error}") from error


def check_datasets(datasets: Sequence[Path], bundle: Bundle) -> None:
    """What the learner needs of its offline data, before anything moves.

    Raises:
        StoreError: there is none in a folder, or it is not of the bundle's robot and cameras.
    """
    with ExitStack() as opened:  # all at once, as the learner has them: one that is named twice it could not open
        for store in [opened.enter_context(ExperienceStore(path)) for path in datasets]:
            through_its_cameras(store, bundle.manifest)


def both(one: Observer, other: Observer) -> Observer:
    """Two observers as one."""

    def observe(record: TickRecord, insight: Insight | None) -> None:
        one(record, insight)
        other(record, insight)

    return observe


class Learner:
    """The learner process, started again when it dies; its last words are kept."""

    def __init__(self, options: LearnOptions) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.over = ""
        """Why it is not started any more, if it is not."""

    def look(self) -> None:
        """Start it if it should run and does not."""
        if self.over:
            return
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            if code == 0 or self.starts > _RESTARTS:
                self.over = f"the learner ended with status {code}; its log is {self.log}"
                return
        self.starts += 1
        options = self._options
        command = [sys.executable, "-m", "fosp_edge.cli", "learn", "--home", str(options.home.folder), "--with-parent"]
        for path in options.datasets:
            command += ["--dataset", str(path)]
        if options.first is not None:
            command += ["--bundle", str(options.first)]
        environment = {name: value for name, value in os.environ.items() if name not in _SINGLE}
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is the run's to handle, and it stops the learner last.
            self._process = subprocess.Popen(
                [*command, *options.arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env=environment,
            )  # fmt: skip

    @property
    def log(self) -> Path:
        """What it said."""
        return self._options.home.folder / "learner.log"

    def line(self) -> str:
        """What the live view shows."""
        if self.over:
            return self.over
        told = read_json(self._options.home.status)
        if not told:
            return "starting"
        parts = [str(told.get("state", "")), f"mode {told.get('mode', '?')}", f"update {told.get('update', 0)}"]
        if "updates_per_s" in told:
            parts.append(f"{told['updates_per_s']}/s, pause {told.get('pause_s', 0.0)} s")
        parts.append(f"own episodes {told.get('own_episodes', 0)}")
        if "gate" in told:
            parts.append(f"gate: {str(told['gate'])[:90]}")
        return ", ".join(parts)

    def close(self) -> None:
        """Ask it to save and end; kill it if it does not."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Beside:
    """What runs beside the control loop."""

    swapper: Swapper
    learner: Learner

    def lines(self) -> Sequence[tuple[str, str]]:
        """Rows for the live view."""
        return (("bundle", self.swapper.line()), ("learner", self.learner.line()))


def make_swapper(
    options: LearnOptions, bundle: Bundle, controller: Controller, *, judged: bool, speed: float = 1.0
) -> Swapper:
    """A swapper over the home's bundles, for a loop that begins with this one; whoever follows is as slow."""
    settings = controller.settings, controller.gate_settings, controller.filter_enabled

    def build(other: Bundle) -> Controller:
        following = Controller(
            other, filter_enabled=settings[2], settings=settings[0], gate_settings=settings[1],
            execution=controller.runtime.execution, full_range_s=controller.full_range_s,
        )  # fmt: skip
        following.limits.slow(speed)
        return following

    return Swapper(
        options.home.versions(options.first), bundle.id, controller, build, log=options.home.events, judged=judged
    )


@contextmanager
def beside(options: LearnOptions, loop: ControlLoop[Controller], swapper: Swapper) -> Iterator[Beside]:
    """Learner and swapper at work for as long as the block lasts."""
    learner, done = Learner(options), threading.Event()
    pulse = Pulse(loop.telemetry, 1.0 / loop.controller.manifest.rate_hz)

    def watch() -> None:
        while not done.wait(1.0):
            with suppress(OSError):
                write_json(options.home.pulse, pulse.look())
                learner.look()

    thread = threading.Thread(target=watch, name="learning", daemon=True)
    swapper.start()
    learner.look()
    thread.start()
    try:
        yield Beside(swapper, learner)
    finally:
        done.set()
        thread.join(3.0)
        swapper.close()
        learner.close()
        options.home.pulse.unlink(missing_ok=True)
