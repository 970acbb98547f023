"""`fosp-edge bundles ls|show|verify`: the agents at hand, and what was proven of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fosp_edge.bundle.folder import MANIFEST_FILE, Bundle, load_bundle
from fosp_edge.bundle.manifest import BundleError, Channel
from fosp_edge.cli.bundles_sign import signature_line
from fosp_edge.cli.shipped import SHIPPED_FOLDER, shipped_bundle

BundlePath = Annotated[Path | None, typer.Argument(help="Folder of the bundle; the shipped one if left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DEPTH = 4
_PLACES = (Path("bundles"), Path("runs"))
"""Where `export` puts bundles, and where scripts keep theirs beside what they were made from."""


def ls(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="Where to look, a few folders deep; in `bundles` and `runs` if left out.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the bundles at hand and the shipped one, each verified. Those of a robot that learns: `bundles versions`."""
    if folder is not None and not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    places = (SHIPPED_FOLDER, *(_PLACES if folder is None else (folder,)))
    found = [(path, _load(path)) for place in places for path in _bundles_below(place)]
    if as_json:
        typer.echo(json.dumps([_row_json(path, loaded) for path, loaded in found], indent=2))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("id", "name", "robot", "Hz", "made", "verified", "where"):
        table.add_column(name, justify="right" if name == "Hz" else "left", overflow="fold")
    for path, loaded in found:
        if isinstance(loaded, BundleError):
            table.add_row(path.name[:12], "", "", "", "", "[red]refused[/]", escape(str(path.parent)))
            continue
        manifest = loaded.manifest
        table.add_row(
            loaded.id[:12],
            escape(manifest.name),
            escape(manifest.robot),
            f"{manifest.rate_hz:g}",
            escape(manifest.created_utc[:16]),
            "[green]yes[/]",
            "shipped" if path.parent == SHIPPED_FOLDER else escape(str(path.parent)),
        )
    console = Console()
    console.print(table)
    if not found:
        below = " or ".join(str(place) for place in places[1:])
        console.print(f"no bundles below {below}; `fosp-edge export` makes one", highlight=False, soft_wrap=True)
    for path, loaded in found:
        if isinstance(loaded, BundleError):
            console.print(f"[red]{path.name[:12]}[/]: {escape(str(loaded))}", highlight=False, soft_wrap=True)


def show(bundle: BundlePath = None, as_json: AsJson = False) -> None:
    """Show what a bundle was made for, what its filter was set to and why, and what was proven of it."""
    loaded = load_bundle(bundle or shipped_bundle(), check_signature=False)
    if as_json:
        typer.echo(loaded.manifest.to_json(), nl=False)
        return
    console = Console(highlight=False, soft_wrap=True)
    for name, text in manifest_lines(loaded).items():
        console.print(f"[bold]{name:<12}[/] {escape(text)}")


def verify(bundle: BundlePath = None) -> None:
    """Check every hash of a bundle, and its signature if this machine trusts keys; refused with what differs.

    Trusted are the public keys in FOSP_EDGE_TRUSTED_KEYS (a PEM file or a folder), else in /etc/fosp-edge/trusted-keys.

    Example: fosp-edge bundles verify bundles/4f1c...
    """
    loaded = load_bundle(bundle or shipped_bundle())
    count = len(loaded.manifest.files) + 1
    typer.secho(f"{loaded.manifest.name} {loaded.id}: {count} files, every hash verified", fg=typer.colors.GREEN)
    typer.echo(signature_line(loaded.path))


def _bundles_below(folder: Path) -> Iterator[Path]:
    for depth in range(1, _DEPTH + 1):
        for manifest in sorted(folder.glob("*/" * depth + MANIFEST_FILE)):
            if len(manifest.parent.name) == 64 and not manifest.parent.name.startswith("."):
                yield manifest.parent


def _load(path: Path) -> Bundle | BundleError:
    try:
        return load_bundle(path)
    except BundleError as error:
        return error


def _row_json(path: Path, loaded: Bundle | BundleError) -> dict[str, object]:
    if isinstance(loaded, BundleError):
        return {"id": path.name, "path": str(path), "verified": False, "refusal": str(loaded)}
    manifest = loaded.manifest
    return {
        "id": loaded.id,
        "path": str(path),
        "verified": True,
        "name": manifest.name,
        "robot": manifest.robot,
        "rate_hz": manifest.rate_hz,
        "created_utc": manifest.created_utc,
        "parent": manifest.parent,
    }


def manifest_lines(bundle: Bundle) -> dict[str, str]:
    """The manifest in sentences, by subject."""
    manifest = bundle.manifest
    limits, gate, parity, latent = manifest.filter, manifest.gate, manifest.parity, manifest.latent
    cameras = [
        f"{camera.name} {camera.width_px}x{camera.height_px}"
        + (f" (serial {camera.serial})" if camera.serial else "")
        + (f" (calibration {camera.calibration_sha256[:12]})" if camera.calibration_sha256 else "")
        + (f" (pictures: {camera.picture.sentence()})" if camera.preprocessing else "")
        for camera in manifest.cameras
    ]
    provenance = {name: value for name, value in manifest.provenance.items() if not isinstance(value, (dict, list))}
    return {
        "bundle": f"{manifest.name} {bundle.id}",
        "folder": str(bundle.path),
        "made": manifest.created_utc + (f", from {manifest.parent}" if manifest.parent else ""),
        "robot": f"{manifest.robot} at {manifest.rate_hz:g} Hz",
        "cameras": ", ".join(cameras),
        "state": _channels(manifest.state),
        "actions": _channels(manifest.actions),
        "latent": f"{latent.deterministic} numbers and {latent.groups} categoricals of {latent.classes} classes",
        "candidates": ", ".join(manifest.candidates),
        "filter": f"feasible up to a reachability of {limits.feasible_reachability:.4g}, stops above "
        f"{limits.stop_reachability:.4g}; level {limits.level:g} over {limits.sample_size} samples, {limits.date_utc}; "
        f"trajectories: {limits.trajectories}",
        "gate": "none"
        if gate is None
        else f"alarms in at most {gate.level:.0%} of normal episodes; {gate.sample_size} samples, {gate.date_utc}; "
        f"trajectories: {gate.trajectories}",
        "parity": f"{parity.steps} steps against the checkpoint: actions within {parity.action_error:.2g}, values "
        f"{parity.value_error:.2g}, reachability {parity.reachability_error:.2g} (tolerance {parity.tolerance:g}), "
        f"{parity.latent_flips} decided by rounding",
        "provenance": ", ".join(f"{name} {value}" for name, value in provenance.items()) or "-",
        "files": ", ".join(sorted(manifest.files)),
    }


def _channels(channels: tuple[Channel, ...]) -> str:
    return ", ".join(f"{channel.name} ({channel.low:g} to {channel.high:g} {channel.unit})" for channel in channels)
