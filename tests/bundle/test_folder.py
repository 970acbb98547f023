import hashlib
import json
import math
import os
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fosp_edge.bundle.folder import load_bundle, write_bundle
from fosp_edge.bundle.manifest import RECORDED, BundleError, GateThreshold, Manifest
from fosp_edge.bundle.picture import Preprocessing
from tests.bundle.manifests import FILES, make_bundle, make_manifest


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundles"))


def test_what_is_written_is_read_back(tmp_path):
    path = make_bundle(tmp_path)
    bundle = load_bundle(path)
    assert bundle.graph_bytes == FILES["step.onnx"]
    assert replace(bundle.manifest, files={}) == make_manifest()
    assert bundle.id == hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()
    assert bundle.manifest.files["report.md"] == hashlib.sha256(FILES["report.md"]).hexdigest()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_cameras_from_before_preprocessing_was_kept_have_the_plain_one():
    raw = json.loads(make_manifest().to_json())
    del raw["cameras"][1]["preprocessing"]
    manifest = Manifest.from_json(json.dumps(raw))
    assert manifest.cameras[1].preprocessing is None
    assert manifest.cameras[1].picture == Preprocessing(64, 64)
    assert manifest.cameras[0] == make_manifest().cameras[0], "crop and lens survive"


def test_the_same_content_is_the_same_bundle_and_any_change_is_another(tmp_path):
    path = make_bundle(tmp_path)
    assert make_bundle(tmp_path) == path
    assert write_bundle(make_manifest(), FILES | {"report.md": b"worse"}, tmp_path) != path
    assert write_bundle(replace(make_manifest(), rate_hz=25.0), FILES, tmp_path) != path


@settings(max_examples=200)
@given(data=st.data())
def test_any_flipped_bit_of_any_file_is_refused(shared, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("tampered") / shared.name
    shutil.copytree(shared, folder)
    file = folder / data.draw(st.sampled_from(sorted(entry.name for entry in shared.iterdir())))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    with pytest.raises(BundleError, match="again"):
        load_bundle(folder)
    shutil.rmtree(folder.parent)


@settings(max_examples=50)
@given(data=st.data())
def test_any_truncated_or_longer_file_is_refused(shared, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("cut") / shared.name
    shutil.copytree(shared, folder)
    file = folder / data.draw(st.sampled_from(sorted(entry.name for entry in shared.iterdir())))
    content = file.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    file.write_bytes(data.draw(st.sampled_from([content + b"\n", content[:length]])))
    with pytest.raises(BundleError, match="again"):
        load_bundle(folder)
    shutil.rmtree(folder.parent)


@pytest.mark.parametrize("name", ["step.onnx", "weights.safetensors", "report.md", "manifest.json"])
def test_a_missing_file_is_named(tmp_path, name):
    path = make_bundle(tmp_path)
    (path / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_bundle(path)


def test_what_does_not_belong_is_refused(tmp_path):
    path = make_bundle(tmp_path)
    (path / "extra.bin").write_bytes(b"")
    with pytest.raises(BundleError, match=r"extra\.bin"):
        load_bundle(path)
    (path / "extra.bin").unlink()
    (path / ".hidden").mkdir()
    with pytest.raises(BundleError, match="hidden"):
        load_bundle(path)


def test_links_and_pipes_are_not_followed(tmp_path):
    path = make_bundle(tmp_path / "bundles")
    content = tmp_path / "elsewhere"
    content.write_bytes(FILES["step.onnx"])
    (path / "step.onnx").unlink()
    (path / "step.onnx").symlink_to(content)
    with pytest.raises(BundleError, match="link"):
        load_bundle(path)
    (path / "step.onnx").unlink()
    os.mkfifo(path / "step.onnx")
    with pytest.raises(BundleError, match="plain file"):
        load_bundle(path)


def test_a_link_to_the_whole_bundle_is_fine(tmp_path):
    path = make_bundle(tmp_path / "bundles")
    (tmp_path / "current").symlink_to(path)
    assert load_bundle(tmp_path / "current").id == path.name


def test_another_name_is_refused(tmp_path):
    path = make_bundle(tmp_path)
    other = path.rename(tmp_path / ("0" * 64))
    with pytest.raises(BundleError, match="changed"):
        load_bundle(other)
    named = other.rename(tmp_path / "best")
    with pytest.raises(BundleError, match="SHA-256"):
        load_bundle(named)
    with pytest.raises(BundleError, match="no bundle"):
        load_bundle(tmp_path / "nothing")


def forge(parent, change):
    """A bundle whose hashes are all right and whose manifest is not."""
    source = make_bundle(parent)
    raw = json.loads((source / "manifest.json").read_text())
    change(raw)
    text = json.dumps(raw).encode()
    folder = parent / hashlib.sha256(text).hexdigest()
    source.rename(folder)
    (folder / "manifest.json").write_bytes(text)
    return folder


def put(*path):
    def change(raw):
        *parents, last, value = path
        for key in parents:
            raw = raw[key]
        raw[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (put("filter", "feasible_reachability", math.nan), "feasible_reachability"),
        (put("filter", "feasible_reachability", 1.2), "feasible_reachability"),
        (put("filter", "stop_reachability", -0.1), "stop_reachability"),
        (put("filter", "stop_reachability", 0.2), "calibrate"),
        (put("filter", "stop_reachability", "0.9"), "stop_reachability"),
        (put("filter", "level", True), "level"),
        (put("filter", "level", math.inf), "level"),
        (put("rate_hz", 0), "rate_hz"),
        (put("rate_hz", math.nan), "rate_hz"),
        (put("cameras", []), "camera"),
        (put("cameras", 0, "width_px", 6.5), "width"),
        (put("cameras", 0, "calibration_sha256", "abc"), "calibration"),
        (put("cameras", 0, "preprocessing", {"crop": None}), "preprocessing"),
        (put("cameras", 0, "preprocessing", 3), "camera fixed"),
        (put("cameras", 0, "preprocessing", "width_px", 32), "its preprocessing makes 32x64"),
        (put("cameras", 0, "preprocessing", "crop", [1, 2]), "4 whole numbers"),
        (put("actions", 0, "low", 0.5), "upside down"),
        (put("actions", 0, "high", None), "actions.vx.high"),
        (put("actions", 1, "name", "vx"), "twice"),
        (put("latent", "groups", 0), "groups"),
        (put("candidates", ["hold", "policy"]), "policy"),
        (put("candidates", ["policy", "retreat"]), "hold"),
        (put("sampled_candidates", 9), "9"),
        (put("parity", "action_error", 0.1), "tolerance"),
        (put("parity", "value_error", math.nan), "value_error"),
        (put("parent", "../../etc"), "parent"),
        (put("files", "../step.onnx", "0" * 64), "step.onnx"),
        (put("files", "/etc/passwd", "0" * 64), "passwd"),
        (put("files", ".hidden", "0" * 64), "hidden"),
        (put("files", "manifest.json", "0" * 64), "manifest.json"),
        (put("files", "more.bin", "0" * 63), "more.bin"),
        (put("files", "more.bin", "0" * 64), "lacks more.bin"),
        (put("files", []), "files"),
        (put("name", 7), "name"),
        (put("schema_version", 2), "schema"),
        (put("surprise", 1), "surprise"),
        (lambda raw: raw.pop("rate_hz"), "rate_hz"),
        (lambda raw: raw["files"].pop("step.onnx"), "step.onnx"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused_though_its_hash_is_right(tmp_path, change, word):
    with pytest.raises(BundleError, match=word):
        load_bundle(forge(tmp_path, change))


@settings(max_examples=100)
@given(junk=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
def test_any_bytes_for_a_manifest_are_refused_in_a_sentence(tmp_path_factory, junk):
    folder = tmp_path_factory.mktemp("junk") / hashlib.sha256(junk).hexdigest()
    folder.mkdir()
    (folder / "manifest.json").write_bytes(junk)
    with pytest.raises(BundleError):
        load_bundle(folder)


@pytest.mark.parametrize("junk", [b"[" * 100_000, b"1" * 10_000, b"\xff", b"null", b"{}"], ids=range(5))
def test_json_made_to_exhaust_the_reader_is_refused_in_a_sentence(tmp_path, junk):
    folder = tmp_path / hashlib.sha256(junk).hexdigest()
    folder.mkdir()
    (folder / "manifest.json").write_bytes(junk)
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    for files, word in [
        ({"step.onnx": b""}, "weights"),
        (FILES | {"../up": b""}, "up"),
        (FILES | {"manifest.json": b""}, "manifest"),
    ]:
        with pytest.raises(BundleError, match=word):
            write_bundle(make_manifest(), files, tmp_path)
    broken: Manifest = replace(make_manifest(), filter=replace(make_manifest().filter, level=math.nan))
    with pytest.raises(BundleError, match="level"):
        write_bundle(broken, FILES, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(make_manifest(), FILES, tmp_path / "file" / "below")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def make_gate() -> GateThreshold:
    return GateThreshold(
        1.1, 0.05, 80, "2026-01-01", "0" * 64, hashlib.sha256(FILES["step.onnx"]).hexdigest(), RECORDED
    )


def test_a_gate_travels_with_its_file_and_not_without_it(tmp_path):
    manifest = replace(make_manifest(), gate=make_gate())
    with pytest.raises(BundleError, match=r"missing: gate\.safetensors"):
        write_bundle(manifest, FILES, tmp_path)
    with pytest.raises(BundleError, match="no gate that uses it"):
        write_bundle(make_manifest(), FILES | {"gate.safetensors": b"numbers"}, tmp_path)
    bundle = load_bundle(write_bundle(manifest, FILES | {"gate.safetensors": b"numbers"}, tmp_path))
    assert bundle.gate_bytes == b"numbers" and bundle.manifest.gate == make_gate()


def test_a_manifest_from_before_a_field_with_a_default_is_read_and_gets_the_default():
    raw = json.loads(make_manifest().to_json())
    del raw["gate"], raw["filter"]["graph_sha256"], raw["filter"]["trajectories"]
    assert Manifest.from_json(json.dumps(raw)) == make_manifest()
    del raw["filter"]["level"]
    with pytest.raises(BundleError, match="FilterThresholds lacks level"):
        Manifest.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold": math.nan}, "gate.threshold"),
        ({"level": 1.5}, "gate.level"),
        ({"sample_size": -1}, "gate.sample_size"),
        ({"graph_sha256": "abc"}, "gate.graph_sha256"),
        ({"trajectories": "dreamt"}, "gate.trajectories"),
    ],
)
def test_a_gate_that_cannot_be_meant_is_refused(changes, words, tmp_path):
    manifest = replace(make_manifest(), gate=replace(make_gate(), **changes))
    with pytest.raises(BundleError, match=words):
        write_bundle(manifest, FILES | {"gate.safetensors": b"numbers"}, tmp_path)
