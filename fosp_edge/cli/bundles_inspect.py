"""`fosp-edge bundles inspect`: a bundle in full: manifest, signature, what each graph costs, how fast it is here."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fosp_edge.bundle.folder import Bundle, load_bundle, read_files
from fosp_edge.bundle.manifest import GRAPH_FILE, BundleError, Conversion
from fosp_edge.cli.bundles import manifest_lines
from fosp_edge.cli.bundles_sign import signature_line
from fosp_edge.cli.extras import install_command, installed
from fosp_edge.cli.shipped import shipped_bundle
from fosp_edge.control.inference import Execution, PolicyRuntime, made_up


def inspect(
    bundle: Annotated[Path | None, typer.Argument(help="Folder of the bundle; the shipped one if left out.")] = None,
    ticks: Annotated[int, typer.Option(min=0, help="Ticks to time the step graph with; 0 for none.")] = 300,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads of ONNX Runtime.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show everything about a bundle: manifest, signature, parameters and multiply-adds of its graphs, latency here.

    A bundle whose signature this machine does not accept is described, but its graph is not run.

    Example: fosp-edge bundles inspect bundles/4f1c... --threads 2
    """
    loaded = load_bundle(bundle or shipped_bundle(), check_signature=False)
    summaries = _summaries(loaded)
    latency: dict[str, Any] | str
    try:
        load_bundle(loaded.path)
        latency = _latency(loaded, ticks, threads) if ticks else "not measured"
    except BundleError as error:
        latency = f"not measured: {error}"
    sizes = {path.name: path.stat().st_size for path in sorted(loaded.path.iterdir())}
    signature = signature_line(loaded.path)
    if as_json:
        report = {
            "id": loaded.id,
            "manifest": json.loads(loaded.manifest.to_json()),
            "signature": signature,
            "bytes": sizes,
            "graphs": summaries,
            "latency": latency,
        }
        typer.echo(json.dumps(report, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    lines = manifest_lines(loaded)
    lines |= {name: _conversion(getattr(loaded.manifest, name)) for name in ("storage", "precision")}
    lines["files"] = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in sizes.items())
    lines["signature"] = signature.removeprefix("signature: ")
    for name, text in lines.items():
        console.print(f"[bold]{name:<12}[/] {escape(text)}")
    _print_graphs(console, summaries)
    if isinstance(latency, str):
        console.print(f"[bold]{'latency':<12}[/] {escape(latency)}")
    else:
        console.print(
            f"[bold]{'latency':<12}[/] {latency['median_ms']:.3f} ms median, {latency['p99_ms']:.3f} ms p99 over "
            f"{latency['ticks']} ticks back to back, {threads} thread, onnxruntime {onnxruntime.__version__}; paced as "
            "on a robot it is slower: `python -m benchmarks.control_tick`"
        )


def _summaries(loaded: Bundle) -> dict[str, Any]:
    """Figures of every graph by file name; empty without the extra that reads graphs."""
    if not installed("export"):
        return {}
    from export.summary import summarise

    graphs = {name: data for name, data in sorted(read_files(loaded).items()) if name.endswith(".onnx")}
    found: dict[str, Any] = {}
    for name, data in graphs.items():
        try:
            found[name] = asdict(summarise(data))
        except Exception as error:  # a graph of any origin, and two libraries that raise families of their own
            found[name] = {"error": (str(error).splitlines() or [type(error).__name__])[0][:200]}
    return found


def _print_graphs(console: Console, summaries: dict[str, Any]) -> None:
    if not summaries:
        console.print(f"[bold]{'graphs':<12}[/] reading them needs: {escape(install_command('export'))}")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("graph", "opset", "nodes", "parameters", "multiply-adds", "weights read", "stored"):
        table.add_column(name, justify="left" if name == "graph" else "right")
    for name, item in summaries.items():
        if "error" in item:
            table.add_row(name, "", "", "", "", "", escape(item["error"]))
            continue
        table.add_row(
            name, str(item["opset"]), str(item["nodes"]), f"{item['parameters']:,}",
            f"{item['multiply_adds'] / 1e6:.2f} M", f"{item['weight_bytes'] / 1e6:.2f} MB",
            f"{item['stored_bytes'] / 1e6:.2f} MB",
        )  # fmt: skip
    console.print(table)


def _latency(loaded: Bundle, ticks: int, threads: int) -> dict[str, Any]:
    runtime, manifest = PolicyRuntime(loaded, Execution(threads)), loaded.manifest
    runtime.reset(0)
    observation, action = made_up(manifest), np.zeros(len(manifest.actions), np.float32)
    seconds = []
    for tick in range(20 + ticks):
        begin = time.perf_counter()
        runtime.step(observation, action)
        if tick >= 20:
            seconds.append(time.perf_counter() - begin)
    median, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e3
    return {"ticks": ticks, "threads": threads, "median_ms": float(median), "p99_ms": float(p99), "graph": GRAPH_FILE}


def _conversion(conversion: Conversion | None) -> str:
    if conversion is None:
        return "float32"
    return (
        f"{conversion.kind}: over {conversion.ticks} recorded ticks {conversion.latent_agreement:.1%} of the latents "
        f"agree, actions move by {conversion.action_drift:.2g} on average, reachability by "
        f"{conversion.reachability_drift:.2g} (own sampling noise: {conversion.own_action_drift:.2g}, "
        f"{conversion.own_reachability_drift:.2g})"
    )
