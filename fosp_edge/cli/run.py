"""`fosp-edge run`: a bundle drives a robot; by default the shipped one drives the simulated arm."""

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from firmware_bridge import Torque
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.bundle.manifest import BundleError
from fosp_edge.cameras.base import CameraError
from fosp_edge.cli.bundles_prepare import parse_options
from fosp_edge.cli.bundles_tune import execution_for
from fosp_edge.cli.camera_check import DEFAULT_CAMERA_STORE, CameraState, OnMoved
from fosp_edge.cli.data_upkeep import size_of
from fosp_edge.cli.files import write_atomically
from fosp_edge.cli.home import DEFAULT_HOME
from fosp_edge.cli.judges import Bench, judged
from fosp_edge.cli.keyboard import Keyboard
from fosp_edge.cli.learnt_from import unlike_training
from fosp_edge.cli.live_view import Reporter, View
from fosp_edge.cli.motors_access import DEFAULT_CALIBRATION, CalibrationFile, HalfDuplex, Release
from fosp_edge.cli.rig import SIMULATED, MotorOptions, count_what_holds_back, open_rig
from fosp_edge.cli.rig_options import (
    SLOW,
    CameraMoved,
    CameraSources,
    CameraStore,
    EmergencyFile,
    MotorIds,
    MotorPort,
    ReleaseStop,
    RobotName,
)
from fosp_edge.cli.run_learning import LearnOptions, beside, both, check_datasets, learn_options, make_swapper
from fosp_edge.cli.run_log import RunLog
from fosp_edge.cli.run_plot import PlotUnavailableError, plot_run
from fosp_edge.cli.run_recording import RecordingOptions
from fosp_edge.cli.run_summary import summary_json, summary_table, timing_line
from fosp_edge.cli.safeguards import (
    cameras_checked,
    emergency_button,
    exit_status,
    loop_settings,
    refuse,
    released_or_refuse,
    say_end,
    settle,
    signals,
)
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.arming import caveats
from fosp_edge.control.controller import Controller
from fosp_edge.control.device import CPU, Device
from fosp_edge.control.inference import DEFAULT_EXECUTION, Execution
from fosp_edge.control.latch import StopLatch
from fosp_edge.control.look_ahead import open_runtime
from fosp_edge.control.loop import ControlLoop
from fosp_edge.control.machine import Machine
from fosp_edge.control.realtime import Realtime
from fosp_edge.control.safety_filter import FilterSettings
from fosp_edge.control.session import AskingOperator, AutomaticOperator, Plan, RunSummary, Session
from fosp_edge.control.systemd import Notifier, Progress
from fosp_edge.robots.arm import DESKTOP_ARM
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.catalogue import SIMULATED_TASKS

DEFAULT_EPISODES = 10
_YEAR_S = 365 * 86_400.0
_LINE_IN_JOURNAL_S = 60.0
"""A service's log is read weeks later; every second's figures are in `systemctl status`."""


def run(
    seconds: Annotated[float | None, typer.Option(min=0.1, max=_YEAR_S, help="End after so many seconds.")] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help=f"End after so many episodes; {DEFAULT_EPISODES} if no end is given.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle; the shipped one if left out.")] = None,
    robot: RobotName = SIMULATED,
    port: MotorPort = None,
    ids: MotorIds = None,
    calibration_file: CalibrationFile = DEFAULT_CALIBRATION,
    rs485: HalfDuplex = False,
    release: Release = False,
    camera: CameraSources = None,
    camera_store: CameraStore = DEFAULT_CAMERA_STORE,
    camera_moved: CameraMoved = OnMoved.REFUSE,
    slow_to: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Part of the full speed that `--camera-moved slow` leaves.")
    ] = SLOW,
    scenario: Annotated[str, typer.Option(help="Scenario family of the simulated robot.")] = "standard",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode; the next ones count up.")] = 0,
    provider: Annotated[
        str, typer.Option(help="What computes the step graph: cpu, cuda, tensorrt, as this onnxruntime offers.")
    ] = CPU,
    provider_option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the provider, as given to `bundles prepare`.")
    ] = None,
    headless: Annotated[bool, typer.Option(help="One line a second in place of the live view.")] = False,
    record: Annotated[bool, typer.Option(help="Write the experience to disk.")] = True,
    flight: Annotated[bool, typer.Option(help="Keep the last minutes on disk for `fosp-edge replay`.")] = True,
    flight_minutes: Annotated[
        float, typer.Option(min=0.5, max=1440.0, help="How many minutes are kept at least.")
    ] = 10.0,
    view: Annotated[bool, typer.Option("--view", help="Live view in a browser, on this computer only.")] = False,
    view_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the live view; 0 for any.")] = 8017,
    no_filter: Annotated[bool, typer.Option("--no-filter", help="Let the policy act unfiltered (simulation).")] = False,
    recovery_speed: Annotated[
        float,
        typer.Option(help="Part of its speed at which the filter takes the least unsafe action where nothing is safe."),
    ] = FilterSettings.recovery_speed,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Longest episode of a robot without a referee, in steps.")
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(help="File that names who tells reward and cost (docs/keep-learning.md); for a real robot."),
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="FIFO priority, a core, locked memory; says what could not be had.")
    ] = False,
    estop_file: EmergencyFile = None,
    release_stop: ReleaseStop = False,
    yes: Annotated[bool, typer.Option("--yes", help="Start the motors of a real robot without asking.")] = False,
    out: Annotated[Path, typer.Option(help="Where the folder of this run is made.")] = Path("runs"),
    learn: Annotated[
        bool, typer.Option("--learn", help="Keep learning beside it; what passes the gate takes over, on probation.")
    ] = False,
    home: Annotated[Path, typer.Option(help="With --learn: folder of the robot, kept over runs.")] = DEFAULT_HOME,
    dataset: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --learn: offline data that the first bundle learnt from, above all those that its policy was "
            "taught by; may be given several times."
        ),
    ] = None,
    quota: Annotated[str, typer.Option(help="With --learn: what the robot's own episodes may take.")] = "4G",
    learn_option: Annotated[
        list[str] | None,
        typer.Option(help="With --learn: NAME=VALUE for `fosp-edge learn`, such as mode=light or memory=1G."),
    ] = None,
) -> None:
    """Drive a robot with a bundle: verified, filtered, recorded.

    With no arguments the shipped agent drives the simulated arm, which is a process of its own behind a serial line
    and two cameras. Motors are armed only after every check has passed. Ctrl-C stops them at once.
    """
    console = Console()
    if robot != SIMULATED and no_filter and not yes:
        refuse(console, "--no-filter on a real robot needs --yes: nothing will hold the policy back")
    if episodes is None and seconds is None:
        episodes = DEFAULT_EPISODES
    if robot != SIMULATED and max_steps is None:
        max_steps = 100
    returns_s = 0.0 if robot == SIMULATED else 60.0
    plan = Plan(scenario, first_seed=seed, episodes=episodes, seconds=seconds, camera_return_s=returns_s)
    folder = out / datetime.now(timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")
    latch = None if robot == SIMULATED or port is None else StopLatch(port)
    if latch is not None:
        released_or_refuse(console, latch, release_stop, ask=not yes)
    try:
        learning = learn_options(home, bundle, dataset, learn_option, record=record) if learn else None
        if learning is None:
            loaded = load_bundle(bundle if bundle is not None else shipped_bundle())
        else:
            loaded, complaints = learning.home.versions(bundle).start()
            check_datasets(learning.datasets, loaded)
            for complaint in [*complaints, *unlike_training(loaded, learning.datasets)]:
                console.print(complaint, style="yellow", soft_wrap=True, highlight=False, markup=False)
        device = Device(provider, parse_options(provider_option))
        settings = FilterSettings(recovery_speed=recovery_speed)
        controller = _controller(loaded, device, not no_filter, settings)
        motors = MotorOptions(port, ids, calibration_file, rs485, Torque.OFF if release else Torque.HOLD)
        with (
            open_rig(
                robot, loaded.manifest.cameras, loaded.manifest.rate_hz,
                motors=motors, camera_sources=camera or [], scenario=scenario, seed=seed,
                simulated=loaded.manifest.robot if loaded.manifest.robot in SIMULATED_TASKS else DESKTOP_ARM.name,
            ) as opened,
            judged(
                opened, judge, loaded.manifest.cameras, max_steps=max_steps,
                keyboard_free=not _asks(robot, yes) and sys.stdin is not None and sys.stdin.isatty(),
            ) as bench,
        ):  # fmt: skip
            rig = bench.rig
            seen = cameras_checked(console, rig, loaded.manifest.cameras, camera_store, camera_moved)
            # Nothing moves yet, and whatever else the run needs is at work already: as busy as it will be.
            if (execution := execution_for(console, loaded, device)) != controller.runtime.execution:
                controller = _controller(loaded, device, not no_filter, settings, execution)
            speed = 1.0 if all(state.trustworthy for state in seen) else slow_to
            controller.limits.slow(speed)
            for caveat in [] if no_filter else caveats(loaded.manifest):
                console.print(f"note: {caveat}", style="yellow", soft_wrap=True, highlight=False, markup=False)
            code = _drive(
                console, loaded, controller, bench, plan, folder, headless=headless, ask=_asks(robot, yes),
                recording=RecordingOptions(
                    record, flight, 60.0 * flight_minutes, view_port if view else None,
                    store=None if learning is None else learning.home.experience,
                    quota_bytes=None if learning is None else size_of("--quota", quota),
                ),
                max_steps=max_steps if rig.referee is None else None, seen=seen, speed=speed, realtime=realtime,
                latch=latch, estop_file=estop_file,
                learning=learning,
            )  # fmt: skip
    except (BundleError, RobotError, CameraError, ValueError, OSError) as error:
        refuse(console, str(error))
    except KeyboardInterrupt:
        console.print("stopped before anything moved", style="yellow")
        code = 128 + signal.SIGINT
    raise typer.Exit(code)


def _controller(
    bundle: Bundle,
    device: Device,
    filter_enabled: bool,
    settings: FilterSettings,
    execution: Execution = DEFAULT_EXECUTION,
) -> Controller:
    runtime = open_runtime(bundle, execution, device=device)
    return Controller(bundle, filter_enabled=filter_enabled, settings=settings, runtime=runtime)


def _asks(robot: str, yes: bool) -> bool:
    return robot != SIMULATED and not yes


def _drive(
    console: Console,
    bundle: Bundle,
    controller: Controller,
    bench: Bench,
    plan: Plan,
    folder: Path,
    *,
    headless: bool,
    recording: RecordingOptions,
    ask: bool,
    max_steps: int | None,
    seen: list[CameraState],
    speed: float,
    realtime: bool,
    latch: StopLatch | None,
    estop_file: Path | None,
    learning: LearnOptions | None,
) -> int:
    """Run the plan on an open rig and leave the run's folder behind; returns the exit status."""
    folder.mkdir(parents=True, exist_ok=False)
    rig, log, swapper = bench.rig, RunLog(), None
    if learning is not None:
        swapper = make_swapper(learning, bundle, controller, judged=rig.referee is not None, speed=speed)
    recorder = recording.open(
        folder, bundle, controller, rig.cameras, None if swapper is None else swapper.versions.path_of
    )
    loop = ControlLoop(
        rig.robot,
        rig.cameras,
        controller,
        Machine(),
        referee=rig.referee,
        recorder=recorder,
        observer=log if swapper is None else both(log, swapper.record),
        relay=swapper,
        settings=loop_settings(rig, bundle.manifest.rate_hz, max_steps=max_steps, rehearse=realtime),
    )
    bench.controller = lambda: loop.controller
    count_what_holds_back(rig.robot, loop.telemetry)
    title = f"{bundle.manifest.name} {bundle.path.name[:12]}   {rig.description}   {plan.scenario}"
    console.print(f"bundle {bundle.manifest.name} ({bundle.path.name[:12]}), {rig.description}", highlight=False)
    if speed < 1.0:
        console.print(f"slow: at {speed:.0%} of full speed, because of a camera", style="bold yellow", highlight=False)
    measures, notifier = Realtime(controller.runtime.execution.cores), Notifier()
    button = emergency_button(console, bench, loop, estop_file)
    keyboard, caught = Keyboard(console, button, bench.press), list[int]()
    session = Session(loop, AskingOperator(keyboard.confirm) if ask else AutomaticOperator())
    if latch is not None:
        session.before_arming = latch.armed
    if realtime:
        session.on_ready = lambda: _take(console, measures)
    if keyboard.watch():
        console.print("space bar, Escape or q: emergency stop", style="dim")
    notifier.ready(title)
    notifier.watch(Progress(lambda: loop.pacer.ticks, lambda: loop.machine.may_move))
    more: Callable[[], Sequence[tuple[str, str]]] = tuple
    with ExitStack() as stack:
        stack.enter_context(signals(session, caught, button))
        if learning is not None and swapper is not None:
            more = stack.enter_context(beside(learning, loop, swapper)).lines
        reporter = stack.enter_context(
            Reporter(
                View(loop, log, title, more),
                console,
                headless=headless or ask or not console.is_terminal,
                line_every_s=_LINE_IN_JOURNAL_S if notifier.there else 1.0,
                tell=notifier.status,
            )
        )
        summary = session.run(plan)
    measures.release()
    notifier.stopping(summary.detail)
    notifier.close()
    button.close()
    if latch is not None:
        settle(latch, summary)
    for event in () if swapper is None else swapper.events:
        console.print(event.sentence, style="dim", soft_wrap=True, highlight=False, markup=False)
    if reporter.failure is not None:
        console.print(reporter.failure, style="yellow", soft_wrap=True, markup=False)
    about = {
        "bundle": {"name": bundle.manifest.name, "sha256": bundle.path.name},
        "robot": rig.description,
        "scenario": plan.scenario,
        "first_seed": plan.first_seed,
        "filter": {
            "enabled": controller.filter_enabled,
            "recovery_speed": controller.settings.recovery_speed,
            **vars(bundle.manifest.filter),
        },
        "cameras": [vars(state) for state in seen],
        "speed": speed,
        "emergency_stop": None if button.confirmation is None else vars(button.confirmation),
        "realtime": {item.name: item.had for item in measures.measures},
        "started_utc": folder.name,
    }
    if swapper is not None:
        about["bundles"] = {
            "at_the_end": swapper.bundle_id,
            "swaps": swapper.swaps,
            "events": [{"time_ns": event.time_ns, "sentence": event.sentence} for event in swapper.events],
        }
    _report(console, summary, log, bundle, folder, about, judged=rig.referee is not None)
    return exit_status(summary, caught)


def _take(console: Console, measures: Realtime) -> None:
    """Take the measures of `--realtime`, and say what became of each."""
    for measure in measures.acquire():
        style = "dim" if measure.had else "yellow"
        console.print(measure.sentence(), style=style, soft_wrap=True, highlight=False, markup=False)


def _report(
    console: Console,
    summary: RunSummary,
    log: RunLog,
    bundle: Bundle,
    folder: Path,
    about: dict[str, Any],
    *,
    judged: bool,
) -> None:
    """Say how it went, and leave summary and plot beside the recording."""
    if summary.episodes:
        console.print(summary_table(summary, judged=judged))
        console.print(timing_line(summary), highlight=False, soft_wrap=True)
    if summary.recorded or summary.dropped:
        console.print(f"{summary.recorded} rows of experience written, {summary.dropped} dropped", highlight=False)
    _save(console, summary, log, bundle, folder, about)
    say_end(console, summary)


def _save(
    console: Console, summary: RunSummary, log: RunLog, bundle: Bundle, folder: Path, about: dict[str, Any]
) -> None:
    """Summary and plot into the run's folder. What cannot be saved is said; the run ended as it ended."""
    saved = []
    try:
        write_atomically(folder / "summary.json", summary_json(summary, about).encode())
        saved.append("summary.json")
        title = f"fosp-edge run: {bundle.manifest.name}, {about['robot'].partition(' on ')[0]}, {about['scenario']}"
        write_atomically(folder / "run.png", plot_run(log, summary.telemetry, bundle.manifest, title))
        saved.append("run.png")
    except PlotUnavailableError as error:
        console.print(str(error), style="dim", soft_wrap=True, markup=False)
    except ValueError:
        pass  # not one tick was completed: how the run ended says why
    except OSError as error:
        console.print(f"summary or plot could not be saved ({error})", style="yellow", soft_wrap=True, markup=False)
    console.print(f"saved in {folder}: {', '.join(saved) or 'nothing'}", highlight=False, soft_wrap=True)
