"""Who answers for a bundle: an ed25519 signature (RFC 8032) of its manifest, which vouches for every other file.

Hashes find accidents and swapped files; anyone can make a bundle whose hashes are right. Where a robot has been given
public keys, it loads no bundle without a valid signature of one of them. Keys are PEM files as `openssl genpkey
-algorithm ed25519` and `openssl pkey -pubout` write them.
"""

import base64
import binascii
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fosp_edge.bundle.manifest import SIGNATURE_FILE, BundleError

KEYS_VARIABLE = "FOSP_EDGE_TRUSTED_KEYS"
"""A public key's PEM file, or a folder of them."""
KEYS_FOLDER = Path("/etc/fosp-edge/trusted-keys")
"""Where keys are looked for if the variable is not set."""
_DOMAIN = b"fosp-edge bundle manifest, signature 1\0"
"""In front of what is signed, so that a signature made for something else can never be one of these."""


@dataclass(frozen=True)
class PublicKey:
    """A key that is trusted, and where it was found."""

    name: str
    key: Ed25519PublicKey

    @property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the raw key: for people to compare."""
        return raw_bytes(self.key).hex()[:16]


def raw_bytes(key: Ed25519PublicKey) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def configured_keys(environment: Mapping[str, str] = os.environ, folder: Path = KEYS_FOLDER) -> tuple[PublicKey, ...]:
    """The public keys this machine trusts; none if none is configured.

    Raises:
        BundleError: keys are configured, but there are none, or one cannot be read. A robot that was told to check
            signatures does not stop doing so because a file is missing.
    """
    named = environment.get(KEYS_VARIABLE)
    place = Path(named) if named else folder
    if not named and not folder.exists():
        return ()
    paths = sorted(place.glob("*.pem")) if place.is_dir() else [place]
    if not paths:
        raise BundleError(f"{place} is where trusted keys should be, and holds no *.pem; put the public keys there")
    return tuple(read_public_key(path) for path in paths)


def read_public_key(path: Path) -> PublicKey:
    """A public key from its PEM file. Raises BundleError."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise BundleError(
            f"the public key {path} cannot be read ({error.strerror}); mend it or name another"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleError(f"{path} is not a public key in PEM; `openssl pkey -in KEY -pubout` writes one") from error
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(f"{path} is a {type(key).__name__}, expected an ed25519 key")
    return PublicKey(path.name, key)


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """A private key from its PEM file without passphrase. Raises BundleError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise BundleError(
            f"the private key {path} cannot be read ({error.strerror}); give another with --key"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleError(
            f"{path} is not a private key in PEM without passphrase; `fosp-edge bundles new-key` makes one"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{path} is a {type(key).__name__}, expected an ed25519 key")
    return key


def new_key(path: Path) -> PublicKey:
    """Make a key pair: the private key at `path`, for its owner's eyes, and the public one beside it, `.pub.pem`.

    Raises:
        BundleError: one of the files is there already, or cannot be written.
    """
    public_path = path.with_suffix(".pub.pem")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        for target, data, mode in ((path, private, 0o600), (public_path, public, 0o644)):
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fsync(file.fileno())
    except FileExistsError as error:
        raise BundleError(
            f"{error.filename} is there already; choose another name, keys are not overwritten"
        ) from error
    except OSError as error:
        raise BundleError(f"the key cannot be written to {path} ({error.strerror})") from error
    return PublicKey(public_path.name, key.public_key())


def sign(folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign a verified bundle's manifest; a signature that is there is replaced.

    Raises:
        BundleError: the folder cannot be written.
    """
    manifest = (folder / "manifest.json").read_bytes()
    text = json.dumps(
        {
            "algorithm": "ed25519",
            "public_key": base64.b64encode(raw_bytes(key.public_key())).decode(),
            "signature": base64.b64encode(key.sign(_DOMAIN + manifest)).decode(),
        },
        indent=1,
    )
    # Beside the bundle, not in it: a half-written file in it would make it another one.
    temporary = folder.parent / f".{folder.name[:12]}.{secrets.token_hex(4)}.sig"
    try:
        with temporary.open("xb") as file:
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / SIGNATURE_FILE)
    except OSError as error:
        raise BundleError(f"the signature cannot be written into {folder} ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def verify(manifest: bytes, signature: bytes | None, keys: Sequence[PublicKey], where: Path) -> PublicKey:
    """The trusted key that signed a manifest.

    Args:
        manifest: bytes of `manifest.json`.
        signature: bytes of `manifest.sig`; None if there is none.
        keys: those that are trusted.
        where: the bundle's folder, for messages.

    Raises:
        BundleError: unsigned, signed by nobody who is trusted, or the signature is not of this manifest.
    """
    trusted = ", ".join(f"{key.name} ({key.fingerprint})" for key in keys)
    if signature is None:
        raise BundleError(
            f"{where} is not signed, and this machine asks for a signature by {trusted}; sign it with "
            "`fosp-edge bundles sign`"
        )
    signer, value = _parse(signature, where)
    for key in keys:
        if raw_bytes(key.key) == signer:
            try:
                key.key.verify(value, _DOMAIN + manifest)
            except InvalidSignature as error:
                raise BundleError(
                    f"{where}: the signature says {key.name}, but it is not a signature of this manifest; do not use "
                    "this bundle, and find out where it came from"
                ) from error
            return key
    raise BundleError(
        f"{where} is signed by the key {signer.hex()[:16]}, which this machine does not trust; it trusts {trusted}"
    )


def _parse(signature: bytes, where: Path) -> tuple[bytes, bytes]:
    try:
        raw = json.loads(signature)
        if raw["algorithm"] != "ed25519":
            raise ValueError(raw["algorithm"])
        signer, value = (base64.b64decode(raw[name], validate=True) for name in ("public_key", "signature"))
        if (len(signer), len(value)) != (32, 64):
            raise ValueError("length")
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise BundleError(
            f"{where / SIGNATURE_FILE} is not a signature that this version reads; sign the bundle again"
        ) from error
    return signer, value
