"""`fosp-edge data record`: a person drives the robot by hand, and what was lived is kept."""

import re
import signal
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from firmware_bridge import Torque
from fosp_edge.bundle.contract import RobotContract
from fosp_edge.bundle.manifest import CameraContract
from fosp_edge.cameras.base import CameraError
from fosp_edge.cli.camera_check import DEFAULT_CAMERA_STORE, OnMoved
from fosp_edge.cli.extras import require
from fosp_edge.cli.judges import Bench, judged
from fosp_edge.cli.keyboard import Keyboard
from fosp_edge.cli.motors_access import DEFAULT_CALIBRATION, CalibrationFile, HalfDuplex, Release
from fosp_edge.cli.rig import SIMULATED, MotorOptions, Rig, count_what_holds_back, kind_of, open_rig
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
from fosp_edge.cli.simulated_ports import cameras_beside
from fosp_edge.control.by_hand import HandController
from fosp_edge.control.latch import StopLatch
from fosp_edge.control.loop import ControlLoop, EpisodeSummary
from fosp_edge.control.machine import Machine, Transition
from fosp_edge.control.recorder import REASONS, Recorder, Writer, recording_of
from fosp_edge.control.session import AskingOperator, AutomaticOperator, Operator, Plan, Session
from fosp_edge.control.types import Reason
from fosp_edge.experience.episode import EpisodeHeader, Recording
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.channels import action_channels
from fosp_edge.robots.hand import STICKS, GamepadHand, Hand, KeyboardHand
from fosp_edge.robots.joystick import DEFAULT_DEVICE
from fosp_edge.robots.judge_file import Judges
from fosp_edge.robots.presses import Gamepad
from fosp_edge.robots.presses import Keyboard as JudgeByKeyboard

SOURCE = "person"
PICTURE_PX = 64
"""Height and width of the pictures that agents here see."""
_HINTS = {
    "keyboard": ("hold i, k: forwards, back; j, l: left, right", "; u, o: up, down"),
    "gamepad": ("left stick: forwards, back, left, right", "; right stick: up, down"),
}
"""For two components of the action, and what a third adds."""


class Means(str, Enum):
    """What the person drives with."""

    KEYBOARD = "keyboard"
    GAMEPAD = "gamepad"


def record(
    out: Annotated[Path, typer.Argument(help="Folder of the data set; made, or gone on with, as needed.")],
    robot: RobotName = SIMULATED,
    port: MotorPort = None,
    ids: MotorIds = None,
    calibration_file: CalibrationFile = DEFAULT_CALIBRATION,
    rs485: HalfDuplex = False,
    release: Release = False,
    camera: CameraSources = None,
    camera_store: CameraStore = DEFAULT_CAMERA_STORE,
    camera_moved: CameraMoved = OnMoved.REFUSE,
    hand: Annotated[Means, typer.Option(help="What you drive with.")] = Means.KEYBOARD,
    gamepad: Annotated[Path, typer.Option(help="Device of the gamepad.")] = DEFAULT_DEVICE,
    axes: Annotated[
        str,
        typer.Option(help="Its axes for forwards, left, and for an arm up; those of an Xbox pad if left out."),
    ] = ",".join(map(str, STICKS)),
    speed: Annotated[float, typer.Option(min=0.01, max=1.0, help="Part of the full speed that you drive at.")] = 0.5,
    rate_hz: Annotated[float, typer.Option("--rate", min=1.0, max=100.0, help="Ticks per second.")] = 20.0,
    episodes: Annotated[int | None, typer.Option(min=1, help="End after so many; otherwise when you say so.")] = None,
    max_steps: Annotated[int, typer.Option(min=2, help="Longest episode, in ticks.")] = 400,
    judge: Annotated[
        Path | None,
        typer.Option(help="File that names who tells reward and cost (docs/keep-learning.md); you, if left out."),
    ] = None,
    scenario: Annotated[
        str, typer.Option(help="Scenario family of the simulated robot; a name of yours.")
    ] = "standard",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first table of the simulated robot.")] = 500_000,
    estop_file: EmergencyFile = None,
    release_stop: ReleaseStop = False,
    yes: Annotated[bool, typer.Option("--yes", help="Begin every episode without asking.")] = False,
) -> None:
    """Drive the robot by hand, and record what is lived, in the format that training reads.

    The first data of a robot for which there is no policy yet. Speed, box, joints and watchdog are limited as in
    `run`; there is no filter. Nothing held means standing still. While you drive you also judge: v marks a violation,
    s a success (which ends the episode), + something good; on a gamepad buttons 1, 0 and 2. A simulated arm judges
    itself. The same command goes on where it stopped.

    Example: fosp-edge data record data/mine --robot my-arm.json --port /dev/ttyACM0 --camera fixed=realsense:SERIAL
    --hand gamepad
    """
    console = Console()
    latch = None if robot == SIMULATED or port is None else StopLatch(port)
    if latch is not None:
        released_or_refuse(console, latch, release_stop, ask=not yes)
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if hand is Means.KEYBOARD and not terminal:
        refuse(console, "driving by keyboard needs a terminal; --hand gamepad needs none")
    try:
        wanted = _cameras(robot, port, camera or [])
        motors = MotorOptions(port, ids, calibration_file, rs485, Torque.OFF if release else Torque.HOLD)
        with (
            open_rig(
                robot, wanted, rate_hz, motors=motors, camera_sources=camera or [], scenario=scenario, seed=seed
            ) as opened,
            judged(
                opened, judge, wanted, max_steps=max_steps, keyboard_free=terminal,
                otherwise=lambda: _judges(hand, gamepad, terminal),
            ) as bench,
            ExperienceStore(out, "a") as store,
        ):  # fmt: skip
            seen = cameras_checked(console, bench.rig, wanted, camera_store, camera_moved)
            if not all(state.trustworthy for state in seen) and speed > SLOW:
                speed = SLOW
                console.print(f"slow: at {speed:.0%} of full speed, because of a camera", style="bold yellow")
            components = len(bench.rig.robot.action_space.names)
            hint = "".join(_HINTS[hand.value][: components - 1])
            driver = _driver(hand, gamepad, axes, components)
            try:
                _check_keys(driver, bench)
                contract = _contract(bench.rig, rate_hz, wanted)
                lived = _episodes_before(store, recording_of(contract, bench.rig.cameras), scenario)
                plan = Plan(scenario, seed + lived, episodes, camera_return_s=0.0 if robot == SIMULATED else 60.0)
                code = _drive(
                    console, bench, HandController(contract, driver.wish, speed=speed), driver, store, plan,
                    max_steps=max_steps, ask=not yes, latch=latch, estop_file=estop_file, hint=hint,
                )  # fmt: skip
            finally:
                driver.close()
    except (RobotError, CameraError, ValueError, OSError) as error:
        refuse(console, str(error))
    except KeyboardInterrupt:
        console.print("stopped before anything moved", style="yellow")
        code = 128 + signal.SIGINT
    raise typer.Exit(code)


def _cameras(robot: str, port: str | None, sources: list[str]) -> tuple[CameraContract, ...]:
    """What is looked through: the cameras that are named, or those beside a simulated robot."""
    if robot == SIMULATED:
        require("simulation")
        from fosp_edge.simulation.scene import CAMERAS

        names = list(CAMERAS)
    else:
        kind_of(robot)  # a name that is wrong is the first thing to hear of
        names = [source.partition("=")[0] for source in sources] or list(cameras_beside(port or ""))
    if not names:
        raise CameraError("a policy sees through cameras: name at least one with --camera NAME=ADDRESS")
    return tuple(CameraContract(name, PICTURE_PX, PICTURE_PX) for name in names)


def _driver(hand: Means, gamepad: Path, axes: str, components: int) -> Hand:
    """Whoever wishes for so many components of an action: an arm's three, a base's two."""
    if hand is Means.KEYBOARD:
        return KeyboardHand(components)
    sticks = [int(number) for number in axes.split(",")] if re.fullmatch(r"\d+(,\d+)*", axes) else []
    if len(sticks) < components:
        raise ValueError(f"--axes {axes!r}: expected {components} numbers of axes, as in {','.join(map(str, STICKS))}")
    return GamepadHand(gamepad, sticks[:components])


def _judges(hand: Means, gamepad: Path, terminal: bool) -> Judges:
    """The person who drives judges as well."""
    keyboard = JudgeByKeyboard() if terminal else None
    buttons = [Gamepad(gamepad)] if hand is Means.GAMEPAD else []
    return Judges((*buttons, *([] if keyboard is None else [keyboard])), keyboard, None)


def _check_keys(driver: Hand, bench: Bench) -> None:
    both = sorted(driver.keys & bench.keys)
    if both:
        raise ValueError(f"the judge's keys {', '.join(both)} are those that drive; give them others, or use a gamepad")


def _contract(rig: Rig, rate_hz: float, cameras: tuple[CameraContract, ...]) -> RobotContract:
    return RobotContract(rig.robot.name, rate_hz, cameras, rig.state, action_channels(rig.robot.action_space))


def _episodes_before(store: ExperienceStore, recording: Recording, scenario: str) -> int:
    """How many episodes by hand the store has of a scenario.

    Raises:
        StoreError: it holds episodes of another robot.
    """
    store.check_fits(recording)
    return sum(info.header.source == SOURCE and info.header.scenario == scenario for info in store.episodes())


class _Telling:
    """An operator, before whose answers is said how the last episode went."""

    def __init__(self, operator: Operator, tell: Callable[[], None]) -> None:
        self._operator, self._tell = operator, tell

    def confirm_start(self, seed: int, scenario: str) -> bool:
        self._tell()
        return self._operator.confirm_start(seed, scenario)

    def confirm_release(self, stop: Transition) -> bool:
        self._tell()
        return self._operator.confirm_release(stop)


def _drive(
    console: Console,
    bench: Bench,
    controller: HandController,
    driver: Hand,
    store: ExperienceStore,
    plan: Plan,
    *,
    max_steps: int,
    ask: bool,
    latch: StopLatch | None,
    estop_file: Path | None,
    hint: str,
) -> int:
    """Let the person drive until the plan or they are done; returns the exit status."""
    rig, contract = bench.rig, controller.manifest
    recording = recording_of(contract, rig.cameras)

    def open_episode(seed: int, scenario: str) -> Writer:
        reasons = tuple(reason.name for reason in REASONS)
        return store.writer(EpisodeHeader(recording, SOURCE, scenario, seed, None, reasons))

    loop = ControlLoop(
        rig.robot, rig.cameras, controller, Machine(), referee=rig.referee, recorder=Recorder(open_episode),
        settings=loop_settings(rig, contract.rate_hz, max_steps=max_steps),
    )  # fmt: skip
    bench.controller = lambda: loop.controller
    count_what_holds_back(rig.robot, loop.telemetry)
    button = emergency_button(console, bench, loop, estop_file)

    def press(key: str) -> None:
        driver.press(key)
        if bench.press is not None:
            bench.press(key)

    keyboard, caught, told = Keyboard(console, button, press), list[int](), list[EpisodeSummary]()

    def tell() -> None:
        for episode in session.summary.episodes[len(told) :]:
            console.print(f"episode {len(told) + 1}: {_outcome(episode)}", highlight=False)
            told.append(episode)

    session = Session(loop, _Telling(AskingOperator(keyboard.confirm) if ask else AutomaticOperator(), tell))
    if latch is not None:
        session.before_arming = latch.armed
    watched = keyboard.watch()
    console.print(f"{rig.description}; {hint}", highlight=False, soft_wrap=True)
    if watched:
        judging = "; v: violation, s: success, +: good" if bench.press is not None else ""
        console.print(f"space bar, Escape or q: emergency stop{judging}", style="dim", soft_wrap=True, highlight=False)
    with signals(session, caught, button):
        summary = session.run(plan)
    button.close()
    if latch is not None:
        settle(latch, summary)
    tell()
    rows = f"{summary.recorded} rows in {store.path}" + (f", {summary.dropped} dropped" if summary.dropped else "")
    listed = f"{len(told)} episodes, {rows}; fosp-edge data ls {store.path}"
    console.print(listed, soft_wrap=True, highlight=False, markup=False)
    say_end(console, summary)
    return exit_status(summary, caught)


def _outcome(episode: EpisodeSummary) -> str:
    end = "success" if episode.success else "time out" if episode.reason is Reason.EPISODE_END else episode.reason.value
    return f"{end}, {episode.steps} steps, reward {episode.reward:.1f}, cost {episode.cost:g}"
