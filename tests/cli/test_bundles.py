import json

from tests.bundle.manifests import make_bundle, make_manifest
from tests.cli.tree import run_verb


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


def test_no_bundles_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("fosp_edge.cli.bundles.SHIPPED_FOLDER", tmp_path)
    assert "no bundles" in run_verb("bundles", "ls", str(tmp_path)).output
