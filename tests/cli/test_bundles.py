import json
from dataclasses import replace

import numpy as np
from safetensors.numpy import save

from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE
from tests.bundle.manifests import make_bundle, make_manifest
from tests.cli.tree import run_verb
from tests.faults.bundles import arm_manifest, scripted_graph


def test_ls_lists_verified_and_refused_bundles(tmp_path):
    path = make_bundle(tmp_path / "runs" / "one")
    spoiled = make_bundle(tmp_path / "runs" / "deeper" / "two")
    (spoiled / "report.md").write_text("better than it was")
    rows = {row["path"]: row for row in json.loads(run_verb("bundles", "ls", str(tmp_path), "--json").stdout)}
    assert rows[str(path)]["verified"]
    assert rows[str(path)]["robot"] == "test-arm"
    assert not rows[str(spoiled)]["verified"]
    assert "report.md" in rows[str(spoiled)]["refusal"]
    printed = run_verb("bundles", "ls", str(tmp_path)).output
    assert "refused" in printed
    assert path.name[:12] in printed


def test_show_says_what_it_was_made_for(tmp_path):
    path = make_bundle(tmp_path)
    output = run_verb("bundles", "show", str(path)).output
    for word in (
        "test-arm at 20 Hz",
        "wrist 64x64 (serial 123)",
        "vx (-0.25 to 0.25 m/s)",
        "0.3",
        "level 0.05",
        "nano",
    ):
        assert word in output
    manifest = json.loads(run_verb("bundles", "show", str(path), "--json").stdout)
    assert manifest["rate_hz"] == make_manifest().rate_hz


def test_verify_accepts_what_is_whole_and_refuses_what_is_not(tmp_path):
    path = make_bundle(tmp_path)
    result = run_verb("bundles", "verify", str(path))
    assert result.exit_code == 0
    assert "4 files, every hash verified" in result.output
    (path / "weights.safetensors").write_bytes(b"other weights")
    result = run_verb("bundles", "verify", str(path))
    assert result.exit_code == 1
    assert "weights.safetensors" in result.output
    assert "Traceback" not in result.output


def test_ls_finds_what_export_wrote(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = make_bundle(tmp_path / "bundles")
    assert path.name[:12] in run_verb("bundles", "ls").output
    missing = run_verb("bundles", "ls", "nowhere")
    assert missing.exit_code == 1 and "there is no folder nowhere" in missing.output


def test_no_bundles_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("fosp_edge.cli.bundles.SHIPPED_FOLDER", tmp_path)
    assert "no bundles" in run_verb("bundles", "ls", str(tmp_path)).output


def scripted(folder, **script):
    files = {GRAPH_FILE: scripted_graph(**script), WEIGHTS_FILE: save({"policy.w": np.ones((2, 2), np.float32)})}
    return write_bundle(arm_manifest(), files, folder)


def test_inspect_says_what_it_costs_and_how_fast_it_is_here(tmp_path):
    path = scripted(tmp_path)
    result = run_verb("bundles", "inspect", str(path), "--ticks", "20")
    assert result.exit_code == 0, result.output
    for word in ("desktop-arm", "step.onnx", "not signed", "float32", "20 ticks back to back", "1 thread"):
        assert word in result.output
    report = json.loads(run_verb("bundles", "inspect", str(path), "--ticks", "20", "--json").stdout)
    assert report["latency"]["median_ms"] > 0.0 and report["graphs"]["step.onnx"]["nodes"] > 10
    assert report["manifest"]["rate_hz"] == 20.0


def test_inspect_of_a_graph_that_is_none_says_so(tmp_path):
    result = run_verb("bundles", "inspect", str(make_bundle(tmp_path)))
    assert "not measured" in result.output and "Traceback" not in result.output


def test_diff_names_what_differs_and_nothing_else(tmp_path):
    one, other = scripted(tmp_path), scripted(tmp_path, action=(0.2, 0.1, 0.05))
    assert "byte for byte" in run_verb("bundles", "diff", str(one), str(one)).output
    report = json.loads(run_verb("bundles", "diff", str(one), str(other), "--json").stdout)
    assert report["contract"] == [] and report["manifest"] == {}
    assert report["files"] == {"step.onnx": "different", "weights.safetensors": "the same"}
    assert report["weights"] == {"policy.w": {"relative": 0.0, "largest": 0.0}}
    far = write_bundle(
        replace(arm_manifest(), rate_hz=25.0, name="faster"),
        {GRAPH_FILE: scripted_graph(), WEIGHTS_FILE: save({"policy.w": np.full((2, 2), 1.1, np.float32)})},
        tmp_path,
    )
    output = run_verb("bundles", "diff", str(one), str(far)).output
    for word in ("made for 20 Hz, this runs at 25 Hz", "rate_hz", "faster", "10.00%"):
        assert word in output, word


def test_keys_are_made_and_bundles_signed_and_refused(tmp_path, monkeypatch):
    path, key = scripted(tmp_path / "bundles"), tmp_path / "release.pem"
    assert "keep it off the robots" in run_verb("bundles", "new-key", str(key)).output
    monkeypatch.setenv("FOSP_EDGE_TRUSTED_KEYS", str(tmp_path / "release.pub.pem"))
    refused = run_verb("bundles", "verify", str(path))
    assert refused.exit_code == 1 and "is not signed" in refused.output
    inspected = run_verb("bundles", "inspect", str(path), "--ticks", "5")
    assert (
        inspected.exit_code == 0 and "not measured" in inspected.output and "ticks back to back" not in inspected.output
    )
    run = run_verb("run", "--bundle", str(path), "--headless", "--seconds", "1", "--out", str(tmp_path / "runs"))
    assert run.exit_code != 0 and "is not signed" in run.output and "Traceback" not in run.output
    assert "is signed" in run_verb("bundles", "sign", str(path), "--key", str(key)).output
    verified = run_verb("bundles", "verify", str(path))
    assert verified.exit_code == 0 and "valid, by release.pub.pem" in verified.output
