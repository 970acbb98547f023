"""A camera that moved since it was calibrated does not drive a robot, or drives it slowly if that was asked for."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from calib.check import remember_scene
from calib.lens import PINHOLE
from calib.storage import CameraRecord, save
from calib.uncertainty import Camera as Calibrated
from fosp_edge.bundle.folder import write_bundle
from fosp_edge.bundle.manifest import GRAPH_FILE, WEIGHTS_FILE, CameraContract
from fosp_edge.cameras.base import CameraError, Frame
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.cli.camera_check import compare_with_scene, examine
from fosp_edge.cli.run import run
from fosp_edge.experience.store import ExperienceStore
from tests.calib.test_check import changed, scene
from tests.faults.bundles import arm_manifest, scripted_graph

SIZE = (320, 240)
APP = typer.Typer()
APP.command()(run)


def picture(**change: float) -> np.ndarray:
    grey = scene(size=SIZE)
    return np.stack([changed(grey, **change) if change else grey] * 3, axis=-1)


def record(**sections: dict) -> CameraRecord:
    parameters = np.array([300.0, 300.0, 160.0, 120.0, 0, 0, 0, 0, 0])
    return CameraRecord("still", Calibrated(PINHOLE, parameters, np.eye(9) * 1e-6, SIZE), sections=sections)


class FakeCamera:
    """Shows a list of pictures, one per look, the last one for ever."""

    def __init__(self, *pictures: np.ndarray) -> None:
        self.name, self.serial = "fixed", "still"
        self.height_px, self.width_px = pictures[0].shape[:2]
        self._pictures, self._looks = pictures, 0

    def start(self) -> None: ...

    def close(self) -> None: ...

    def latest(self, max_age_s: float) -> Frame:
        self._looks += 1
        shown = self._pictures[min(self._looks, len(self._pictures)) - 1]
        return Frame(shown, self._looks, time.monotonic_ns())


REMEMBERED = remember_scene(picture())


@pytest.mark.parametrize(
    ("pictures", "verdict"),
    [
        ([picture()], "same"),
        ([picture(dx=6.0)], "moved"),
        ([picture(scale=1.03)], "refocused"),
        ([picture(dx=6.0), picture(dx=6.0), picture()], "same"),
        ([np.zeros_like(picture()), picture()], "same"),
        ([np.zeros_like(picture())], "unrecognised"),
    ],
)
def test_several_pictures_settle_it(pictures: list[np.ndarray], verdict: str) -> None:
    found, sentence = compare_with_scene(
        FakeCamera(*pictures), REMEMBERED, patience_s=0.3 if verdict == "unrecognised" else 10.0, pause_s=0.0
    )
    assert found == verdict, sentence


def test_a_frozen_camera_is_no_witness() -> None:
    camera = FakeCamera(picture(dx=6.0))
    camera.latest = lambda max_age_s: Frame(picture(dx=6.0), 7, 0)  # type: ignore[method-assign]
    with pytest.raises(CameraError, match="frozen"):
        compare_with_scene(camera, REMEMBERED, patience_s=0.2, pause_s=0.01)


def test_a_calibration_is_looked_up_and_noted_for_the_contract(tmp_path: Path) -> None:
    wanted = [CameraContract("fixed", 64, 64, calibration_sha256="a" * 64)]
    camera = PolicyCamera(FakeCamera(picture()))
    with pytest.raises(CameraError, match=r"trained with its calibration aaaaaaaaaaaa, and .* has none"):
        examine([camera], wanted, tmp_path)
    assert examine([camera], [CameraContract("fixed", 64, 64)], tmp_path) == []
    saved = save(tmp_path, record())
    (state,) = examine([camera], wanted, tmp_path)
    assert (state.verdict, state.trustworthy) == ("unchecked", True) and "--remember" in state.sentence
    assert camera.calibration_sha256 == saved.place_sha256
    small = PolicyCamera(FakeCamera(picture()[:100]))
    with pytest.raises(CameraError, match="calibrated at 320x240 pixels and gives 320x100"):
        examine([small], wanted, tmp_path)


def test_what_a_bundle_carries_changes_with_lens_and_place_and_with_nothing_else(tmp_path: Path) -> None:
    first = record()
    hand_eye = {"gripper_from_camera": np.eye(4).tolist(), "date": "yesterday"}
    assert record(reference=REMEMBERED).place_sha256 == replace(first, revision=7).place_sha256 == first.place_sha256
    assert record(hand_eye=hand_eye).place_sha256 != first.place_sha256
    assert record(hand_eye=hand_eye).place_sha256 == record(hand_eye={**hand_eye, "date": "today"}).place_sha256
    lens = replace(first.camera, parameters=first.camera.parameters + 0.1)
    assert replace(first, camera=lens).place_sha256 != first.place_sha256


@pytest.fixture
def device() -> Iterator[Any]:
    pytest.importorskip("mujoco")
    from fosp_edge.simulation.launcher import SimulatedRobot

    with SimulatedRobot("standard", 0) as device:
        yield device


def test_a_run_behind_a_camera_that_moved(device: Any, tmp_path: Path) -> None:
    saved = save(tmp_path / "calibrations", record(reference=REMEMBERED))
    manifest = arm_manifest(5.0)
    tied = replace(manifest.cameras[0], serial="still", calibration_sha256=saved.place_sha256)
    files = {GRAPH_FILE: scripted_graph((0.0, 1.0, 0.0)), WEIGHTS_FILE: b""}
    bundle = write_bundle(replace(manifest, cameras=(tied, manifest.cameras[1])), files, tmp_path)
    for name, shift in (("as-it-was", 0.0), ("moved", 6.0)):
        folder = tmp_path / name / "still"
        folder.mkdir(parents=True)
        for number in range(3):
            shown = picture(dx=shift) if shift else picture()
            cv2.imwrite(str(folder / f"{number}.png"), shown)

    def drive(name: str, *more: str) -> tuple[int, str, Path]:
        out = tmp_path / f"runs-{name}-{len(more)}"
        result = CliRunner().invoke(
            APP,
            [
                *("--bundle", str(bundle), "--robot", "serial", "--port", device.port, "--yes", "--headless"),
                *("--camera", f"fixed=recording:{tmp_path / name / 'still'}?loop=1&rate=20"),
                *("--camera", f"wrist=ring:{device.cameras['wrist'].ring}"),
                *("--camera-store", str(tmp_path / "calibrations"), "--episodes", "1", "--max-steps", "4"),
                *("--out", str(out), *more),
            ],
        )
        return result.exit_code, result.output.replace("\n", " "), out

    status, output, out = drive("as-it-was")
    assert status == 0 and "the camera is where it was" in output, output
    (folder,) = out.iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["cameras"][0]["verdict"] == "same" and summary["speed"] == 1.0
    with ExperienceStore(folder / "experience") as store:
        camera = store.header.cameras[0]
        assert (camera.serial, camera.calibration_sha256) == ("still", saved.place_sha256)
        assert camera.preprocessing.source_px == SIZE
        fast = np.abs(store.read(store.episodes()[0].id)["action"]).max()

    status, output, out = drive("moved")
    assert status == 2 and "the camera has moved" in output and "--camera-moved slow" in output, output
    assert not out.exists()

    status, output, out = drive("moved", "--camera-moved", "slow")
    assert status == 0 and "slow: at 25% of full speed" in output, output
    (folder,) = out.iterdir()
    assert json.loads((folder / "summary.json").read_text())["speed"] == 0.25
    with ExperienceStore(folder / "experience") as store:
        slow = np.abs(store.read(store.episodes()[0].id)["action"]).max()
    assert slow <= 0.25 + 1e-6 < fast, "what is recorded is what was executed"

    elsewhere = save(tmp_path / "calibrations", replace(record(), camera=Calibrated(PINHOLE, *_other(saved))))
    status, output, _ = drive("moved", "--camera-moved", "ignore")
    hashes = saved.place_sha256[:12], elsewhere.place_sha256[:12]
    assert status == 1, output
    assert "calibration {} wanted, {} found".format(*hashes) in output


def _other(saved: CameraRecord) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    return saved.camera.parameters + 1.0, saved.camera.covariance, saved.camera.size_px
