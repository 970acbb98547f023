"""What the verbs that learn have in common: options as fields, the device, progress, a stop that saves."""

import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fosp_edge.experience.episode import Recording
from fosp_edge.experience.store import ExperienceStore

if TYPE_CHECKING:
    from fosp_edge.agent.agent import Agent
    from fosp_edge.learning.learner import Learner
    from fosp_edge.learning.samplers import Sampler
    from fosp_edge.learning.trainer import Trainer

Illustrators = Callable[[Any], Callable[[int], None] | None]
"""Given the TensorBoard writer, what draws pictures into it."""


def starting_point(path: Path) -> tuple["Agent", list[str], dict[str, Any] | None, str]:
    """An agent that is there already, of a run folder, a checkpoint file or a bundle.

    Returns:
        The agent on the CPU, its cameras, the learner's scalars if they are known, and a name.

    Raises:
        CheckpointError, BundleError: it cannot be used.
    """
    import torch

    from fosp_edge.learning.checkpoint import load_agent

    if not (path / "manifest.json").exists():
        agent, header = load_agent(path, torch.device("cpu"))
        folder = path.resolve() if path.is_dir() else path.resolve().parent
        return agent, list(header["notes"]["cameras"]), header["learner"], folder.name
    from export.restore import agent_of_bundle
    from fosp_edge.bundle.folder import load_bundle

    bundle = load_bundle(path)
    return agent_of_bundle(bundle), [item.name for item in bundle.manifest.cameras], None, bundle.manifest.name


@contextmanager
def reading(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for reading experience; yields what is told how many episodes are done, and how many there are."""
    columns = (TextColumn("reading experience"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def train_in_folder(
    console: Console,
    learner: "Learner",
    sampler: "Sampler",
    folder: Path,
    notes: Mapping[str, Any],
    about: str,
    *,
    validation: "Sampler | None" = None,
    illustrate: Illustrators = lambda _: None,
) -> None:
    """Go on from the run folder's checkpoint or begin, to the end of the configured updates.

    Args:
        console: where progress is shown.
        learner: what learns.
        sampler: where batches come from.
        folder: gets checkpoint.safetensors, metrics.jsonl and TensorBoard events.
        notes: provenance, kept in the checkpoint.
        about: one line that says what is trained from what.
        validation: batches of held-out episodes.
        illustrate: makes what draws pictures.

    Raises:
        typer.Exit: with 130, stopped before the end; a checkpoint was written.
    """
    from torch.utils.tensorboard import SummaryWriter

    from fosp_edge.learning import parallel
    from fosp_edge.learning.precision import fast_bfloat16, keep_freed_memory
    from fosp_edge.learning.trainer import Trainer

    keep_freed_memory()
    if learner.config.precision == "bfloat16" and not fast_bfloat16(learner.device):
        console.print("precision=bfloat16 is emulated on this device, and slower than float32 would be", style="yellow")
    folder.mkdir(parents=True, exist_ok=True)
    writer = SummaryWriter(str(folder)) if parallel.rank() == 0 else None
    try:
        trainer = Trainer(
            learner, sampler, folder,
            notes=notes, writer=writer, validation=validation, illustrate=illustrate(writer) if writer else None,
        )  # fmt: skip
        done = trainer.resume()
        console.print(f"{folder}: {about}" + (f", going on from update {done}" if done else ""))
        updates = learner.config.updates
        run_with_progress(console, trainer, updates)
    finally:
        if writer is not None:
            writer.close()
    state = "stopped at" if trainer.update < updates else "finished after"
    console.print(f"{state} update {trainer.update}; checkpoint in {folder}. Next: fosp-edge export {folder}")
    if trainer.update < updates:
        raise typer.Exit(130)


def run_with_progress(console: Console, trainer: "Trainer", updates: int) -> None:
    """Train to the end, or until Ctrl-C or SIGTERM, behind a progress bar with the time left."""
    from fosp_edge.learning.trainer import Progress as Step

    columns = (
        TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("updates"), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with stop_on_signals() as stop, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=updates, completed=trainer.update, note="")

        def show(step: Step) -> None:
            progress.update(task, completed=step.update, note=_note(step.metrics, step.updates_per_s))

        trainer.run(show, stop)


def illustrator(learner: Any, sampler: Any, writer: Any, recording: Recording) -> Any:
    """What draws pictures for TensorBoard; the scene is mapped over the first two components that are positions."""
    from fosp_edge.learning.pictures import Illustrator

    positions = [index for index, channel in enumerate(recording.state) if channel.unit == "m"]
    plane = (positions[0], positions[1]) if len(positions) > 1 else None
    return Illustrator(learner, sampler, writer, plane)


def describe_data(store: ExperienceStore) -> dict[str, Any]:
    """What a checkpoint says of the data it was learnt from."""
    infos = store.episodes()
    return {
        "name": store.path.name,
        "episodes": len(infos),
        "rows": sum(info.summary.rows for info in infos),
        "sha256": store.fingerprint(),
    }


def _note(metrics: dict[str, float], speed: float) -> str:
    shown = {"model/image": "image", "policy/imitation": "imitation", "critic/reachability_mean": "reachability"}
    parts = [f"{name} {metrics[key]:.3g}" for key, name in shown.items() if key in metrics]
    return ", ".join([f"{speed:.1f}/s", *parts])


def parsed_options(options: list[str]) -> dict[str, Any]:
    """`field=value` as changes of the configuration. Raises ValueError naming the field or the type expected."""
    from fosp_edge.agent.config import Config

    known = Config().to_dict()
    changes: dict[str, Any] = {}
    for option in options:
        name, _, text = option.partition("=")
        if name not in known:
            raise ValueError(f"--set {option}: no field {name!r}; there are: {', '.join(known)}")
        kind = int if known[name] is None else type(known[name])
        try:
            changes[name] = text.lower() in ("1", "true", "yes") if kind is bool else kind(text)
        except ValueError as error:
            raise ValueError(f"--set {option}: expected {kind.__name__}, found {text!r}") from error
    return changes


def check_device_name(name: str) -> None:
    """Whether a device can be meant, which takes no torch to say. Raises ValueError otherwise."""
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", name) is None:
        raise ValueError(f"--device {name!r}: expected auto, cpu, cuda or cuda:N")


def chosen_device(name: str) -> Any:
    """The torch device of a name, or of `auto`. Raises ValueError if it is not there."""
    import torch

    check_device_name(name)
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: this torch sees no GPU; use --device cpu, or install a CUDA build of torch")
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    torch.backends.cudnn.benchmark = device.type == "cuda"  # shapes do not change: try once which kernels are fastest
    return device


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, so that the update under way ends and is saved."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
