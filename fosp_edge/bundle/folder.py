"""A bundle on the disk: written as a whole or not at all, and refused if a single byte is not the one it was made with.

The folder's name is the SHA-256 of `manifest.json`, and `manifest.json` holds the SHA-256 of every other file: the
name vouches for all of it. This finds accidents and swapped files; who made a bundle is said by its signature
(`fosp_edge.bundle.signature`), the one file that the name does not cover.
"""

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fosp_edge.bundle.manifest import (
    GATE_FILE,
    GRAPH_FILE,
    IMAGINATION_FILE,
    SIGNATURE_FILE,
    WEIGHTS_FILE,
    BundleError,
    Manifest,
)
from fosp_edge.bundle.validation import SHA256, validate

MANIFEST_FILE = "manifest.json"
_REQUIRED = (GRAPH_FILE, WEIGHTS_FILE)
_KEPT = (GRAPH_FILE, GATE_FILE, IMAGINATION_FILE)
"""Files whose content stays in memory once verified."""
_LARGEST_MANIFEST_BYTES = 16 << 20
_LARGEST_SIGNATURE_BYTES = 1 << 16


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    path: Path
    manifest: Manifest
    graph_bytes: bytes
    """The step graph, as verified: it is not to be read from the disk a second time."""
    gate_bytes: bytes | None = None
    """Parameters of the out-of-distribution gate, as verified; None if the manifest has no gate."""
    imagination_bytes: bytes | None = None
    """The imagination graph, as verified; None if the bundle has none."""

    @property
    def id(self) -> str:
        """SHA-256 of the content, which is also the folder's name."""
        return self.path.name


def write_bundle(manifest: Manifest, files: Mapping[str, bytes], parent_folder: Path) -> Path:
    """Write a bundle below `parent_folder`, durably; returns its folder.

    The hashes of `files` are entered into the manifest here. A bundle of the same content that is there already is
    verified and returned.

    Args:
        manifest: what the bundle promises.
        files: content by file name; `step.onnx` and `weights.safetensors` must be among them.
        parent_folder: made if it is not there.

    Raises:
        BundleError: the manifest cannot be meant, a file is missing or badly named, or the disk refuses.
    """
    required = (*_REQUIRED, GATE_FILE) if manifest.gate is not None else _REQUIRED
    if missing := [name for name in required if name not in files]:
        raise BundleError(f"a bundle needs {' and '.join(required)}; missing: {', '.join(missing)}")
    manifest = replace(manifest, files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    validate(manifest)
    text = manifest.to_json().encode()
    folder = parent_folder / hashlib.sha256(text).hexdigest()
    if folder.exists():
        return load_bundle(folder, check_signature=False).path
    temporary = parent_folder / f".{folder.name[:12]}.{secrets.token_hex(4)}"
    try:
        temporary.mkdir(parents=True)
        for name, data in {**files, MANIFEST_FILE: text}.items():
            _write_durably(temporary / name, data)
        _sync_folder(temporary)
        temporary.rename(folder)
        _sync_folder(parent_folder)
    except OSError as error:
        raise BundleError(f"the bundle cannot be written below {parent_folder} ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_bundle(path: Path | str, *, check_signature: bool = True) -> Bundle:
    """Read and verify a bundle.

    Args:
        path: its folder.
        check_signature: whether the bundle must be signed if this machine trusts keys (`fosp_edge.bundle.signature`).
            Only for those who look at a bundle, or sign it, and do not run it.

    Raises:
        BundleError: anything is missing, added, changed, misnamed, a link, or cannot be meant; the sentence says what.
    """
    folder = Path(path).resolve()
    if not folder.is_dir():
        raise BundleError(f"there is no bundle at {path}; `fosp-edge bundles ls` shows those at hand")
    if not SHA256.fullmatch(folder.name):
        raise BundleError(f"{folder.name!r} is not the name of a bundle, which is the SHA-256 of its content")
    found = {entry.name for entry in folder.iterdir()}
    if MANIFEST_FILE not in found:
        raise BundleError(f"{folder} has no {MANIFEST_FILE}: it is not a bundle, or only a part of one")
    text = _read(folder / MANIFEST_FILE, _LARGEST_MANIFEST_BYTES)
    digest = hashlib.sha256(text).hexdigest()
    if digest != folder.name:
        raise BundleError(
            f"{folder}: the manifest was changed (its SHA-256 is {digest[:12]}..., the folder's name says "
            f"{folder.name[:12]}...); get the bundle again"
        )
    if check_signature:
        _check_signature(folder, text, SIGNATURE_FILE in found)
    try:
        manifest = Manifest.from_json(text.decode())
    except UnicodeDecodeError as error:
        raise BundleError(f"{folder}: {MANIFEST_FILE} is not text; get the bundle again") from error
    validate(manifest)
    expected = manifest.files.keys() | {MANIFEST_FILE}
    required = {*_REQUIRED, GATE_FILE} if manifest.gate is not None else set(_REQUIRED)
    if missing := sorted((expected | required) - found):
        raise BundleError(f"{folder} lacks {', '.join(missing)}; get the bundle again")
    if extra := sorted(found - expected - {SIGNATURE_FILE}):
        raise BundleError(f"{folder} holds what does not belong to it: {', '.join(extra)}; remove it or get it again")
    contents = {name: _verified(folder / name, manifest.files[name]) for name in sorted(manifest.files)}
    return Bundle(folder, manifest, contents[GRAPH_FILE], contents.get(GATE_FILE), contents.get(IMAGINATION_FILE))


def _check_signature(folder: Path, manifest: bytes, signed: bool) -> None:
    """Raises BundleError if this machine trusts keys and none of them signed the manifest."""
    # Imported here: reading keys takes a library that a robot without any need not wait for.
    from fosp_edge.bundle.signature import configured_keys, verify

    if keys := configured_keys():
        signature = _read(folder / SIGNATURE_FILE, _LARGEST_SIGNATURE_BYTES) if signed else None
        verify(manifest, signature, keys, folder)


def read_files(bundle: Bundle) -> dict[str, bytes]:
    """Every file of a bundle beside its manifest, verified again: for making another bundle from it.

    Raises:
        BundleError: a file was changed since the bundle was loaded.
    """
    return {name: _checked(bundle.path / name, digest) for name, digest in bundle.manifest.files.items()}


def _verified(path: Path, digest: str) -> bytes:
    data = _checked(path, digest)
    return data if path.name in _KEPT else b""


def _checked(path: Path, digest: str) -> bytes:
    data = _read(path, None)
    if hashlib.sha256(data).hexdigest() != digest:
        raise BundleError(f"{path} is not the file the bundle was made with (its hash differs); get the bundle again")
    return data


def _read(path: Path, largest_bytes: int | None) -> bytes:
    """Content of a regular file; neither links nor devices are followed or waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{path} is not a plain file; get the bundle again")
            if largest_bytes is not None and status.st_size > largest_bytes:
                raise BundleError(f"{path} has {status.st_size >> 20} MiB, which is not what a bundle holds there")
            return file.read()
    except OSError as error:
        reason = "it is a link, and links are not followed" if path.is_symlink() else str(error)
        raise BundleError(f"{path} cannot be read: {reason}; get the bundle again") from error


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
