"""A robot that trusts keys loads nothing they did not sign, and says why."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from fosp_edge.bundle.folder import load_bundle, write_bundle
from fosp_edge.bundle.manifest import SIGNATURE_FILE, BundleError
from fosp_edge.bundle.signature import (
    KEYS_VARIABLE,
    configured_keys,
    new_key,
    read_private_key,
    read_public_key,
    sign,
    verify,
)
from tests.bundle.manifests import FILES, make_bundle, make_manifest


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "release.pem"
    new_key(path)
    return path


@pytest.fixture
def signed(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A signed bundle, on a machine that trusts its signer."""
    path = make_bundle(tmp_path / "bundles")
    sign(path, read_private_key(key))
    monkeypatch.setenv(KEYS_VARIABLE, str(key.with_suffix(".pub.pem")))
    return path


def test_a_signed_bundle_is_loaded_under_its_own_name(signed: Path) -> None:
    assert load_bundle(signed).path == signed
    assert {entry.name for entry in signed.iterdir()} >= {SIGNATURE_FILE, "manifest.json"}
    assert [entry.name for entry in signed.parent.iterdir()] == [signed.name]  # nothing temporary is left


def test_an_unsigned_bundle_is_refused_where_keys_are_trusted_and_loaded_where_none_are(signed, monkeypatch) -> None:
    (signed / SIGNATURE_FILE).unlink()
    with pytest.raises(BundleError, match=r"is not signed.*release\.pub\.pem.*bundles sign"):
        load_bundle(signed)
    assert load_bundle(signed, check_signature=False).path == signed
    monkeypatch.delenv(KEYS_VARIABLE)
    assert load_bundle(signed).path == signed


def test_a_stranger_s_signature_is_refused_and_one_trusted_key_of_several_will_do(
    signed, tmp_path, monkeypatch
) -> None:
    new_key(tmp_path / "stranger.pem")
    sign(signed, read_private_key(tmp_path / "stranger.pem"))
    with pytest.raises(BundleError, match="which this machine does not trust"):
        load_bundle(signed)
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("release", "stranger"):
        (tmp_path / f"{name}.pub.pem").rename(keys / f"{name}.pem")
    monkeypatch.setenv(KEYS_VARIABLE, str(keys))
    assert load_bundle(signed).path == signed


def test_a_signature_does_not_fit_another_bundle(signed: Path, tmp_path: Path) -> None:
    other = write_bundle(make_manifest(), FILES | {"report.md": b"worse"}, tmp_path / "bundles")
    (other / SIGNATURE_FILE).write_bytes((signed / SIGNATURE_FILE).read_bytes())
    with pytest.raises(BundleError, match=r"not a signature of this manifest.*where it came from"):
        load_bundle(other)


@settings(max_examples=60)
@given(data=st.data())
def test_no_changed_signature_is_accepted(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("signature")
    public = new_key(folder / "k.pem")
    (folder / "manifest.json").write_bytes(b"a manifest")
    sign(folder, read_private_key(folder / "k.pem"))
    good = json.loads((folder / SIGNATURE_FILE).read_bytes())
    assert verify(b"a manifest", json.dumps(good).encode(), [public], folder) == public
    value = bytearray(base64.b64decode(good["signature"]))
    value[data.draw(st.integers(0, 63))] ^= 1 << data.draw(st.integers(0, 7))
    bad = good | {"signature": base64.b64encode(value).decode()}
    with pytest.raises(BundleError, match="not a signature of this manifest"):
        verify(b"a manifest", json.dumps(bad).encode(), [public], folder)
    with pytest.raises(BundleError):
        verify(b"another manifest", json.dumps(good).encode(), [public], folder)


@settings(max_examples=100)
@given(junk=st.one_of(st.binary(max_size=100), st.just(b"[" * 5000), st.just(b'{"algorithm": "none"}')))
def test_junk_for_a_signature_is_refused_in_a_sentence(junk) -> None:
    with pytest.raises(BundleError, match="not a signature that this version reads"):
        verify(b"a manifest", junk, [], Path("bundle"))


def test_keys_that_should_be_there_and_are_not_refuse_everything(signed, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, str(tmp_path / "gone.pem"))
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(signed)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv(KEYS_VARIABLE, str(tmp_path / "empty"))
    with pytest.raises(BundleError, match="holds no"):
        load_bundle(signed)
    assert configured_keys({}, tmp_path / "nowhere") == ()
    with pytest.raises(BundleError, match="holds no"):
        configured_keys({}, tmp_path / "empty")


def test_what_is_not_a_key_is_said(tmp_path: Path, key: Path) -> None:
    with pytest.raises(BundleError, match="not a public key"):
        read_public_key(key)
    with pytest.raises(BundleError, match="not a private key"):
        read_private_key(key.with_suffix(".pub.pem"))
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "other.pem").write_bytes(other)
    with pytest.raises(BundleError, match="expected an ed25519 key"):
        read_private_key(tmp_path / "other.pem")
    with pytest.raises(BundleError, match="not overwritten"):
        new_key(key)
    assert key.stat().st_mode & 0o777 == 0o600


def test_openssl_reads_our_keys_and_we_read_its(tmp_path: Path, key: Path) -> None:
    theirs = tmp_path / "theirs.pem"
    try:
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(theirs)], check=True, timeout=20)
        subprocess.run(["openssl", "pkey", "-in", str(key), "-noout"], check=True, timeout=20)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    read_private_key(theirs)


def test_a_manifest_cannot_list_the_signature_as_its_own_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.sig"):
        write_bundle(make_manifest(), FILES | {SIGNATURE_FILE: b""}, tmp_path)
