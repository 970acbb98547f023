"""`fosp-edge bundles sign|new-key`: who answers for a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from fosp_edge.bundle.folder import MANIFEST_FILE, load_bundle
from fosp_edge.bundle.manifest import SIGNATURE_FILE, BundleError
from fosp_edge.cli.shipped import shipped_bundle


def sign(
    key: Annotated[Path, typer.Option(help="Private key, PEM, ed25519; `fosp-edge bundles new-key` makes one.")],
    bundle: Annotated[Path | None, typer.Argument(help="Folder of the bundle; the shipped one if left out.")] = None,
) -> None:
    """Sign a bundle, after checking every hash of it. A signature that is there is replaced.

    The signature covers the manifest, and with it every file. It stands in manifest.sig and leaves the name as it is.

    Example: fosp-edge bundles sign bundles/4f1c... --key ~/.fosp-edge/release.pem
    """
    from fosp_edge.bundle.signature import read_private_key  # fmt: skip
    from fosp_edge.bundle.signature import sign as sign_folder

    loaded = load_bundle(bundle or shipped_bundle(), check_signature=False)
    sign_folder(loaded.path, read_private_key(key))
    typer.secho(f"{loaded.manifest.name} {loaded.id} is signed", fg=typer.colors.GREEN)
    typer.echo(signature_line(loaded.path))


def new_key(
    path: Annotated[Path, typer.Argument(help="Where the private key goes; the public one goes beside it.")],
) -> None:
    """Make a key pair for signing bundles: PATH, for your eyes only, and PATH with .pub.pem for the robots.

    Example: fosp-edge bundles new-key ~/.fosp-edge/release.pem
    """
    from fosp_edge.bundle.signature import new_key as make

    public = make(path)
    typer.echo(f"private key: {path} (keep it off the robots)")
    typer.echo(f"public key:  {path.with_suffix('.pub.pem')} ({public.fingerprint})")
    typer.echo(
        "on each robot: copy the public key into /etc/fosp-edge/trusted-keys/, or name it in FOSP_EDGE_TRUSTED_KEYS"
    )


def signature_line(folder: Path) -> str:
    """What is to be said of a bundle's signature, in a sentence."""
    from fosp_edge.bundle.signature import configured_keys, verify

    place = folder / SIGNATURE_FILE
    try:
        keys = configured_keys()
        if not keys:
            signed = "signed, but" if place.exists() else "not signed;"
            return f"signature: {signed} this machine has no trusted keys to check it with"
        signature = place.read_bytes() if place.exists() else None
        key = verify((folder / MANIFEST_FILE).read_bytes(), signature, keys, folder)
    except BundleError as error:
        return f"signature: refused. {error}"
    return f"signature: valid, by {key.name} ({key.fingerprint})"
