"""What the verbs that learn have in common: options as fields, the device, progress, a stop that saves."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fosp_edge.experience.episode import Recording
from fosp_edge.experience.store import ExperienceStore

if TYPE_CHECKING:
    from fosp_edge.learning.trainer import Trainer


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


def chosen_device(name: str) -> Any:
    """The torch device of a name, or of `auto`. Raises ValueError if it is not there."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this torch sees no GPU; use --device cpu, or install a CUDA build of torch")
    return torch.device(name)


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
