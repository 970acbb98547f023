"""Some of a recording's cameras, and which episodes are held back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.bundle.picture import Lens, Preprocessing
from fosp_edge.experience.episode import Camera, EpisodeHeader, EpisodeInfo, EpisodeSummary, StoreError
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.split import HELD_OUT_SHARE, is_held_out
from tests.experience.episodes import RECORDING, make_header, make_steps


class Source:
    """One episode in memory; none with `empty`."""

    def __init__(self, *, empty: bool = False) -> None:
        self.header = None if empty else RECORDING
        self.steps = make_steps(5)

    def episodes(self) -> list[EpisodeInfo]:
        return [EpisodeInfo("e1", make_header(), EpisodeSummary(rows=5))]

    def read(self, episode_id: str) -> dict[str, np.ndarray]:
        assert episode_id == "e1"
        return self.steps


@pytest.mark.parametrize(
    ("names", "channels"),
    [(["wrist"], [3, 4, 5]), (["fixed"], [0, 1, 2]), (["wrist", "fixed"], [3, 4, 5, 0, 1, 2])],
)
def test_the_named_cameras_in_the_named_order(names: list[str], channels: list[int]) -> None:
    source = Source()
    selection = CameraSelection(source, names)
    read = selection.read("e1")
    assert np.array_equal(read["image"], source.steps["image"][..., channels]) and read["image"].flags.c_contiguous
    assert all(read[name] is source.steps[name] for name in read if name != "image")
    assert [camera.name for camera in selection.header.cameras] == names
    (info,) = selection.episodes()
    assert info.header.recording == selection.header and info.summary.rows == 5
    assert source.steps["image"].shape[-1] == 6


def test_unknown_cameras_and_empty_sources_are_refused() -> None:
    with pytest.raises(StoreError, match="no camera 'left'; it has: fixed, wrist"):
        CameraSelection(Source(), ["wrist", "left"])
    with pytest.raises(StoreError, match="no episodes to choose cameras from"):
        CameraSelection(Source(empty=True), ["wrist"])


def info_of(**changes: object) -> EpisodeInfo:
    return EpisodeInfo("any", make_header(**changes), EpisodeSummary())


def test_about_a_tenth_is_held_out_whatever_the_id_and_the_cameras() -> None:
    held = [is_held_out(info_of(seed=seed)) for seed in range(4000)]
    assert np.mean(held) == pytest.approx(HELD_OUT_SHARE, abs=4 * (0.1 * 0.9 / 4000) ** 0.5)
    for seed in range(30):
        info = info_of(seed=seed, created_utc="2026-01-01T00:00:00Z")
        assert is_held_out(info) == held[seed] == is_held_out(replace(info, id="another"))
        narrow = replace(info.header, recording=replace(RECORDING, cameras=RECORDING.cameras[:1]))
        assert is_held_out(replace(info, header=narrow)) == held[seed]


def test_two_runs_of_one_bundle_over_the_same_seed_are_told_apart() -> None:
    moments = [f"2026-01-01T00:00:{second:02d}Z" for second in range(60)]
    held = {is_held_out(info_of(bundle="b" * 64, created_utc=moment)) for moment in moments}
    assert held == {True, False}


def test_recordings_through_other_eyes_do_not_fit_together() -> None:
    seen = Preprocessing(crop=(80, 0, 480, 480), source_px=(640, 480))
    fixed, wrist = RECORDING.cameras
    plain = Preprocessing(fixed.width_px, fixed.height_px)
    same = replace(RECORDING, cameras=(replace(fixed, serial="123", preprocessing=plain), wrist))
    assert RECORDING.differences(same) == [], "another specimen of the same camera, the same done to its pictures"
    cropped = replace(RECORDING, cameras=(replace(fixed, preprocessing=seen), wrist))
    assert RECORDING.differences(cropped) == ["camera fixed: crop none here, (80, 0, 480, 480) there"]


def test_headers_keep_what_is_known_of_a_camera_and_older_ones_load() -> None:
    lens = Lens(640, 480, 600.0, 600.0, 320.0, 240.0, "brown-conrady", (0.1, 0.0, 0.0, 0.0))
    camera = Camera("fixed", 8, 8, Preprocessing(8, 8, lens=lens, source_px=(640, 480)), "123", "a" * 64)
    header = make_header(recording=replace(RECORDING, cameras=(camera,)))
    assert EpisodeHeader.from_json(header.to_json()) == header
    raw = json.loads(header.to_json())
    for name in ("preprocessing", "serial", "calibration_sha256"):
        del raw["recording"]["cameras"][0][name]
    assert EpisodeHeader.from_json(json.dumps(raw)).recording.cameras == (Camera("fixed", 8, 8),)
    raw["recording"]["cameras"][0]["preprocessing"] = {"crop": 5}
    with pytest.raises(StoreError, match="unreadable"):
        EpisodeHeader.from_json(json.dumps(raw))


def test_a_selection_leaves_every_episode_its_own_cameras() -> None:
    source = Source()
    theirs = replace(RECORDING, cameras=tuple(replace(each, serial=each.name + "-7") for each in RECORDING.cameras))
    source.episodes = lambda: [EpisodeInfo("e1", make_header(recording=theirs), EpisodeSummary(rows=5))]  # type: ignore[method-assign]
    (info,) = CameraSelection(source, ["wrist"]).episodes()
    assert [camera.serial for camera in info.header.recording.cameras] == ["wrist-7"]
