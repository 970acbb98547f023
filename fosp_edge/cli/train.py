"""`fosp-edge train`: offline training from recorded experience, with no environment."""

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
    illustrator,
    parsed_options,
    reading,
    starting_point,
    train_in_folder,
)
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import is_held_out
from fosp_edge.experience.store import ExperienceStore


def train(
    dataset: Annotated[list[Path], typer.Option(help="Folder of recorded experience; may be given several times.")],
    preset: Annotated[str, typer.Option(help="Size: `nano` for two CPU cores, `small` as in the FOSP paper.")] = "nano",
    method: Annotated[
        str, typer.Option(help="`fosp`; to compare with: `safedreamer`, `dreamerv3`, `bc`, ... (docs/learning.md).")
    ] = "fosp",
    camera: Annotated[
        list[str] | None, typer.Option(help="Camera that the policy sees; may be given several times. Default: all.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run folder; by default runs/train/PRESET-METHOD-sSEED.")] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Updates in all, instead of the preset's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides weights, batches and noise.")] = 0,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="CPU threads; 0 leaves the choice to torch.")] = 0,
    device: Annotated[str, typer.Option(help="`cpu`, `cuda`, or `auto` for what is there.")] = "auto",
    world_model: Annotated[
        Path | None,
        typer.Option(
            help="Take the world model of this run, checkpoint or bundle as it is; learn only critics and policy."
        ),
    ] = None,
    critics: Annotated[
        bool,
        typer.Option(
            "--critics", help="With --world-model: take its critics as they are too and learn only the policy."
        ),
    ] = False,
    memory_gib: Annotated[
        float, typer.Option(min=0.1, help="Most memory that the experience may take, GiB; more is refused.")
    ] = 8.0,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a field of the configuration, e.g. --set inverse_temperature=2."),
    ] = None,
) -> None:
    """Train an agent offline; interrupted at any moment, the same command goes on from its last checkpoint.

    Writes into the run folder: checkpoint.safetensors, metrics.jsonl and TensorBoard events.

    Example: fosp-edge train --dataset data/safereach --preset nano
    Watch:   tensorboard --logdir runs/train
    Several: torchrun --nproc-per-node 4 -m -- fosp_edge.cli train --dataset data/safereach --preset small
    """
    require("learning")
    import torch

    from fosp_edge.agent.config import make_config
    from fosp_edge.experience.sampler import SequenceSampler
    from fosp_edge.learning import parallel
    from fosp_edge.learning.latents import LatentSampler
    from fosp_edge.learning.learner import make_learner

    if threads:
        torch.set_num_threads(threads)
    torch_device = parallel.join(chosen_device(device))
    console = Console(quiet=parallel.rank() > 0)
    with ExitStack() as opened:
        opened.callback(parallel.leave)
        stores = [opened.enter_context(ExperienceStore(path)) for path in dataset]
        recordings = [store.header for store in stores]
        if recordings[0] is None:
            raise ValueError(f"{dataset[0]} holds no episodes; `fosp-edge data collect {dataset[0]}` makes some")
        infos = [info for store in stores for info in store.episodes()]
        if not any(map(is_held_out, infos)):
            raise ValueError(
                f"none of the {len(infos)} episodes is held out for validation (about one in ten is, decided by its "
                f"seed); collect more: fosp-edge data collect {dataset[0]} --episodes {len(infos) + 30}"
            )
        source, known = None, [item.name for item in recordings[0].cameras]
        if world_model is not None:
            source, known, _, _ = starting_point(world_model)
            source.to(torch_device)
        cameras = camera or known
        sources = [CameraSelection(store, cameras) for store in stores]
        recording = sources[0].header
        changes: dict[str, Any] = {
            "image_channels": 3 * len(recording.cameras),
            "state_size": len(recording.state),
            "action_size": len(recording.action),
            "seed": seed,
        }
        changes |= parsed_options(options or [])
        if source is not None:
            if source.config.image_channels != 3 * len(cameras):
                raise ValueError(
                    f"the world model of {world_model} sees {', '.join(known)}; {', '.join(cameras)} were asked for; "
                    "leave --camera out to take the cameras it knows"
                )
            # The world model stands already: behaviour learns from the first update, the model never.
            changes |= {"behaviour_from": 0, "model_until": 0} | _shape(source.config)
            changes |= {"critics_until": 0} if critics else {}
        config = make_config(preset, method, **(changes | ({"updates": updates} if updates else {})))
        folder = run or Path("runs/train") / f"{preset}-{method}-s{seed}"
        learner = make_learner(config, torch_device)
        sampler: LatentSampler | SequenceSampler
        validation = None
        with reading(console) as progress:
            shared: dict[str, Any] = {"choose": lambda info: not is_held_out(info), "progress": progress}
            draws = parallel.own_seed(seed)
            if source is not None:
                learner.agent.world_model.load_state_dict(source.world_model.state_dict())
                if critics:
                    learner.agent.critics.load_state_dict(source.critics.state_dict())
                    learner.agent.slow_critics.load_state_dict(source.slow_critics.state_dict())
                sampler = LatentSampler(sources, source, config.batch_size, config.batch_length, draws, **shared)
            else:
                sampler = SequenceSampler(
                    sources, config.batch_size, config.batch_length, draws,
                    memory_limit_bytes=int(memory_gib * 2**30), **shared,
                )  # fmt: skip
                mean, deviation = sampler.statistics("state")
                learner.agent.world_model.encoder.set_statistics(torch.from_numpy(mean), torch.from_numpy(deviation))
                validation = SequenceSampler(sources, 8, config.batch_length, seed + 1, choose=is_held_out)
        parallel.share_weights(learner.agent)
        together = f", {parallel.count()} processes" if parallel.count() > 1 else ""
        about = (
            f"{preset} {method}, {sum(p.numel() for p in learner.agent.parameters()) / 1e6:.1f} M parameters on "
            f"{torch_device}{together}, {sampler.episodes} episodes ({sampler.rows} rows, "
            f"{sampler.memory_bytes / 2**30:.1f} GiB)"
        )
        notes = provenance(
            dataset=[describe_data(store) for store in stores], preset=preset, method=method, cameras=cameras
        )
        train_in_folder(
            console, learner, sampler, folder, notes, about,
            validation=validation,
            illustrate=lambda writer: illustrator(learner, validation, writer, recording) if validation else None,
        )  # fmt: skip


def _shape(config: Any) -> dict[str, Any]:
    """The fields that a world model's weights depend on."""
    names = ("image_channels", "state_size", "action_size", "conv_depth", "deterministic", "groups", "classes")
    return {name: getattr(config, name) for name in (*names, "hidden", "head_layers", "bins", "unimix")}
