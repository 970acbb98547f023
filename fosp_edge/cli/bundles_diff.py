"""`fosp-edge bundles diff`: in what two bundles differ, from the contract down to the weights."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fosp_edge.bundle.contract import check_contract
from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.bundle.manifest import WEIGHTS_FILE
from fosp_edge.cli.extras import install_command, installed

_APART = ("files", "created_utc")
"""Reported on their own, or of no interest."""


def diff(
    left: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    right: Annotated[Path, typer.Argument(help="Folder of another.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show in what two bundles differ: whether one can stand in for the other, manifest, files, weights.

    Example: fosp-edge bundles diff bundles/4f1c... bundles/9a02...
    """
    one, other = (load_bundle(path, check_signature=False) for path in (left, right))
    contract = _contract(one, other)
    fields = _fields(one, other)
    files = _files(one, other)
    weights = _weights(one, other)
    if as_json:
        report = {"contract": contract, "manifest": fields, "files": files, "weights": weights}
        typer.echo(json.dumps(report, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    if one.id == other.id:
        console.print("the same bundle, byte for byte")
        return
    console.print(
        "[bold]contract[/]     "
        + (escape("; ".join(contract)) if contract else "the same: one can stand in for the other")
    )
    console.print("[bold]files[/]        " + escape(", ".join(f"{name}: {what}" for name, what in files.items())))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("manifest", "left", "right"):
        table.add_column(name, overflow="fold")
    for name, (before, after) in fields.items():
        table.add_row(escape(name), escape(_short(before)), escape(_short(after)))
    console.print(table)
    if weights is None:
        console.print(f"[bold]weights[/]      comparing them needs: {escape(install_command('export'))}")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("weights", "relative change", "largest change"):
        table.add_column(name, justify="left" if name == "weights" else "right")
    for name, item in weights.items():
        if isinstance(item, str):
            table.add_row(escape(name), item, "")
        else:
            table.add_row(escape(name), f"{item['relative']:.2%}", f"{item['largest']:.3g}")
    console.print(table)


def _contract(one: Bundle, other: Bundle) -> list[str]:
    second = other.manifest
    return check_contract(
        one.manifest,
        robot=second.robot,
        rate_hz=second.rate_hz,
        cameras=second.cameras,
        state=second.state,
        actions=second.actions,
    )


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: item for part, inner in value.items() for key, item in _flat(inner, f"{name}.{part}").items()}
    return {name.lstrip("."): value}


def _fields(one: Bundle, other: Bundle) -> dict[str, tuple[Any, Any]]:
    left, right = (_flat(json.loads(bundle.manifest.to_json())) for bundle in (one, other))
    return {
        name: (left.get(name), right.get(name))
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name) and name.split(".")[0] not in _APART
    }


def _files(one: Bundle, other: Bundle) -> dict[str, str]:
    left, right = one.manifest.files, other.manifest.files
    found = {}
    for name in sorted(left.keys() | right.keys()):
        if name not in left or name not in right:
            found[name] = "only in the " + ("left" if name in left else "right")
        else:
            found[name] = "the same" if left[name] == right[name] else "different"
    return found


def _weights(one: Bundle, other: Bundle) -> dict[str, Any] | None:
    """Change per part of the agent, relative to the left's norm; None without torch."""
    if not installed("export"):
        return None
    from export.storage import unpack

    left, right = (unpack((bundle.path / WEIGHTS_FILE).read_bytes()) for bundle in (one, other))
    parts: dict[str, Any] = {}
    for name in sorted(left.keys() | right.keys()):
        part = ".".join(name.split(".")[:2])
        if name not in left or name not in right or left[name].shape != right[name].shape:
            parts[name] = "only in one" if (name in left) != (name in right) else "of another shape"
            continue
        item = parts.setdefault(part, {"square": 0.0, "change": 0.0, "largest": 0.0})
        change = (right[name].double() - left[name].double()).abs()
        item["square"] += float((left[name].double() ** 2).sum())
        item["change"] += float((change**2).sum())
        item["largest"] = max(item["largest"], float(change.max()) if change.numel() else 0.0)
    return {
        name: item
        if isinstance(item, str)
        else {"relative": (item["change"] / max(item["square"], 1e-30)) ** 0.5, "largest": item["largest"]}
        for name, item in parts.items()
    }


def _short(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
