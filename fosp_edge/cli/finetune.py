"""`fosp-edge finetune`: going on from an agent with the robot's own experience, offline data kept in every batch."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fosp_edge.cli.extras import require
from fosp_edge.cli.provenance import provenance
from fosp_edge.cli.training import (
    chosen_device,
    describe_data,
    parsed_options,
    reading,
    starting_point,
    train_in_folder,
)
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import is_held_out
from fosp_edge.experience.store import ExperienceStore


def finetune(
    start: Annotated[Path, typer.Argument(help="Run folder, checkpoint file or bundle to go on from.")],
    dataset: Annotated[list[Path], typer.Option(help="Offline data that it learnt from; may be given several times.")],
    own: Annotated[Path, typer.Option(help="Experience of the robot itself; may grow while this runs.")],
    run: Annotated[Path | None, typer.Option(help="Run folder; by default runs/finetune/NAME-sSEED.")] = None,
    updates: Annotated[int, typer.Option(min=1, help="Updates in all.")] = 1000,
    scope: Annotated[
        str,
        typer.Option(help="Of the world model learn: `full`, `recurrent`, `heads`, or `behaviour` (nothing)."),
    ] = "heads",
    seed: Annotated[int, typer.Option(min=0, help="Decides batches and noise.")] = 0,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads; 0 leaves the choice to torch.")] = 0,
    device: Annotated[str, typer.Option(help="`cpu`, `cuda`, or `auto` for what is there.")] = "auto",
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a field of the configuration, e.g. --set expansion=false."),
    ] = None,
) -> None:
    """Fine-tune an agent on the robot's own experience without unlearning what it could.

    The offline policy is frozen and stays; a new one, initialised from it, learns beside it. Every batch is half
    offline data. Interrupted at any moment, the same command goes on from its last checkpoint.

    Example: fosp-edge finetune runs/train/nano-fosp-s0 --dataset data/safereach --own runs/run/experience
    """
    require("learning")
    import torch

    from fosp_edge.learning.finetuning import begin_fine_tuning, fine_tuning_config, fine_tuning_sampler

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("fine-tuning runs in one process; start it without torchrun")
    console = Console()
    if threads:
        torch.set_num_threads(threads)
    torch_device = chosen_device(device)
    agent, cameras, scalars, name = starting_point(start)
    changes: dict[str, Any] = {"updates": updates, "scope": scope, "seed": seed} | parsed_options(options or [])
    config = fine_tuning_config(agent.config, **changes)
    folder = run or Path("runs/finetune") / f"{name}-s{seed}"
    with ExitStack() as opened:
        stores = [opened.enter_context(ExperienceStore(path)) for path in dataset]
        lived = opened.enter_context(ExperienceStore(own))
        offline = [CameraSelection(store, cameras) for store in stores]
        source = CameraSelection(lived, cameras)
        if different := offline[0].header.differences(source.header):
            raise ValueError(f"{own} and {dataset[0]} were recorded differently: {'; '.join(different)}")
        learner = begin_fine_tuning(agent.to(torch_device), config, scalars)
        with reading(console) as progress:
            sampler = fine_tuning_sampler(
                learner, offline, source,
                choose=lambda info: not is_held_out(info),
                progress=progress,
            )  # fmt: skip
            sampler.own.refresh()
        notes = provenance(
            start=name, dataset=[describe_data(store) for store in stores], own=describe_data(lived), cameras=cameras
        )
        about = (
            f"going on from {name}, {'with' if config.expansion else 'without'} policy expansion, scope "
            f"{config.scope}; {sampler.own.episodes} own episodes ({sampler.own.rows} rows)"
        )
        train_in_folder(console, learner, sampler, folder, notes, about)
