"""`fosp-edge bundles prepare`: compile a bundle's step graph for this machine, before it drives."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.device import CPU, Device, available_providers
from fosp_edge.control.engines import find_engine, prepare

OptionList = Annotated[
    list[str] | None, typer.Option("--option", help="NAME=VALUE for the provider, several times: trt_fp16_enable=1")
]


def prepare_bundle(
    bundle: Annotated[Path | None, typer.Argument(help="Folder of the bundle; the shipped one if left out.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="cpu, cuda, tensorrt or what else is there; without it, say what is.")
    ] = None,
    option: OptionList = None,
) -> None:
    """Compile the step graph for this machine, compare the engine with the CPU, and keep it for `run`.

    Engines are kept under the hash of weights, options and versions in FOSP_EDGE_ENGINES, by default
    ~/.cache/fosp-edge/engines. When any of these changes, prepare again: nothing is compiled while a robot drives.

    Example: fosp-edge bundles prepare bundles/4f1c... --provider tensorrt --option trt_fp16_enable=1
    """
    loaded = load_bundle(bundle or shipped_bundle())
    console = Console(highlight=False, soft_wrap=True)
    if provider is None:
        for name in sorted(available_providers()):
            device = Device(name, parse_options(option))
            engine = find_engine(loaded.graph_bytes, device)
            state = (
                "prepared" if engine else "not prepared" + (", and cannot drive before" if device.is_compiled else "")
            )
            console.print(f"{name:<12} {state}")
        return
    report_engine(console, loaded, Device(provider, parse_options(option)))


def report_engine(console: Console, loaded: Bundle, device: Device) -> None:
    """Prepare and say what came of it. Raises BundleError."""
    known = device.provider in available_providers() and find_engine(loaded.graph_bytes, device) is not None
    with console.status(f"compiling for {device.provider}, which may take minutes"):
        engine = prepare(loaded.graph_bytes, device)
    record = engine.record
    what = "is prepared already" if known else f"compiled in {record['compile_seconds']} s"
    console.print(
        f"{device.provider}: {what}; actions within {record['largest_action_difference']:.2g} of the CPU; "
        f"{len(engine.data) / 1e6:.1f} MB in {escape(str(engine.path))}"
    )
    if device.provider != CPU:
        console.print(f"Next: fosp-edge run --bundle {escape(str(loaded.path))} --provider {device.provider}")


def parse_options(items: list[str] | None) -> tuple[tuple[str, str], ...]:
    """NAME=VALUE words as sorted pairs. Raises ValueError."""
    pairs = []
    for item in items or []:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise ValueError(f"--option takes NAME=VALUE, found {item!r}; for example --option trt_fp16_enable=1")
        pairs.append((name, value))
    return tuple(sorted(pairs))
