"""`fosp-edge learn`: fine-tune beside a running robot, and propose what passes the gate."""

import os
import signal
import threading
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fosp_edge.cli.data_upkeep import size_of
from fosp_edge.cli.extras import require
from fosp_edge.cli.home import DEFAULT_HOME, Home
from fosp_edge.cli.training import check_device_name, chosen_device


class Mode(str, Enum):
    """What learns on the robot: the names of `fosp_edge.learning.pace.MODES`, and the choice by a clock."""

    AUTO = "auto"
    LIGHT = "light"
    HEADS = "heads"
    FULL = "full"


def _is_size(context: typer.Context, parameter: typer.CallbackParam, text: str) -> str:
    size_of(parameter.opts[0], text)
    return text


def _is_device(context: typer.Context, parameter: typer.CallbackParam, text: str) -> str:
    del context, parameter
    check_device_name(text)
    return text


def learn(
    dataset: Annotated[
        list[Path],
        typer.Option(
            help="Offline data that the first bundle learnt from, above all those that its policy was taught by; may "
            "be given several times."
        ),
    ],
    home: Annotated[Path, typer.Option(help="Folder of the robot: experience, bundles, learner.")] = DEFAULT_HOME,
    bundle: Annotated[Path | None, typer.Option(help="Bundle to begin with; the shipped one if left out.")] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            metavar="MODE",
            help="What learns: `light` (policy, critics), `heads` (reward, cost and end too), `full`; `auto` takes "
            "`heads` where an update of everything is quick, otherwise `light`.",
        ),
    ] = Mode.AUTO,
    memory: Annotated[
        str, typer.Option(help="Bound on the learner's memory, such as 1500M or 2G.", callback=_is_size)
    ] = "2G",
    updates_per_candidate: Annotated[int, typer.Option(min=1, help="Updates between two candidates.")] = 400,
    episodes_per_candidate: Annotated[int, typer.Option(min=1, help="New own episodes between two candidates.")] = 10,
    offline_rows: Annotated[int, typer.Option(min=64, help="Rows of offline data that are held at most.")] = 20_000,
    compared: Annotated[
        int, typer.Option(min=8, help="Held-out episodes of each origin that the gate compares on; fewer are quicker.")
    ] = 40,
    updates: Annotated[int | None, typer.Option(min=1, help="End after so many updates.")] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="Use at most so many cores.")] = None,
    device: Annotated[
        str,
        typer.Option(
            help="`cpu`, `cuda`, or `auto` for what is there. The gate always uses the CPU.", callback=_is_device
        ),
    ] = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Decides batches and noise.")] = 0,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="End when the process that started it ends.")] = (
        False
    ),
) -> None:
    """Learn from what the robot lives, as `fosp-edge run --learn` does, in a process of its own.

    Half of every batch is offline data, half the robot's own. Every so often a candidate bundle is exported and put
    through the gate; what passes is proposed to the run, which takes over at a safe moment and watches it. Killed at
    any moment, the same command goes on from its last checkpoint.

    Example: fosp-edge learn --home robot --dataset data/safereach --dataset data/careful
    """
    require("export")
    from fosp_edge.learning.pace import yield_to_control

    words, threads = yield_to_control(cores)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import torch

    from fosp_edge.cli.learning_process import LearnerProcess, LearnSettings

    torch_device = chosen_device(device)
    torch.set_num_threads(threads)
    console = Console()
    place = Home(home)
    place.make()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()

    def stopped() -> bool:
        return stop.is_set() or (with_parent and os.getppid() != parent)

    def say(sentence: str) -> None:
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)

    say(f"learning in {home}: {words}, {threads} thread{'s' if threads > 1 else ''}, on {torch_device}")
    settings = LearnSettings(
        mode=mode.value,
        memory_bytes=size_of("--memory", memory),
        updates_per_candidate=updates_per_candidate,
        episodes_per_candidate=episodes_per_candidate,
        offline_rows=offline_rows,
        compared_episodes=compared,
        updates=updates,
        device=str(torch_device),
        seed=seed,
    )
    LearnerProcess(place, bundle, dataset, settings, stopped=stopped, say=say).run()
