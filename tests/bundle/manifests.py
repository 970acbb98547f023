"""A manifest that is right in every field, for tests to spoil."""

from pathlib import Path

from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import (
    CameraContract,
    Channel,
    FilterThresholds,
    LatentContract,
    Manifest,
    Parity,
)
from fosp_edge.bundle.picture import Lens, Preprocessing

PICTURE = Preprocessing(
    crop=(80, 0, 480, 480),
    source_px=(640, 480),
    lens=Lens(640, 480, 600.0, 601.0, 320.0, 240.0, "fisheye", (0.1, 0.0, 0.0, 0.0)),
)
FILES = {"step.onnx": b"a graph", "weights.safetensors": b"some weights", "report.md": b"# how it went\n"}


def make_manifest() -> Manifest:
    return Manifest(
        name="tiny",
        robot="test-arm",
        rate_hz=20.0,
        cameras=(CameraContract("fixed", 64, 64, preprocessing=PICTURE), CameraContract("wrist", 64, 64, serial="123")),
        state=(Channel("joint-1", "rad", -3.0, 3.0), Channel("joint-2", "rad", -3.0, 3.0)),
        actions=(Channel("vx", "m/s", -0.25, 0.25), Channel("vy", "m/s", -0.25, 0.25)),
        latent=LatentContract(deterministic=8, groups=4, classes=4),
        candidates=("policy", "sample-1", "hold", "retreat"),
        sampled_candidates=1,
        filter=FilterThresholds(0.3, 0.7, 0.05, 100, "2026-01-01", "0" * 64),
        parity=Parity(100, 1e-4, 1e-6, 1e-6, 1e-6, 0),
        created_utc="2026-01-01T00:00:00+00:00",
        provenance={"preset": "nano", "seed": 0},
    )


def make_bundle(parent: Path) -> Path:
    return write_bundle(make_manifest(), FILES, parent)
