import numpy as np
import pytest

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError, Frame
from fosp_edge.cameras.recorded import open_recording
from fosp_edge.cameras.recorder import FolderRecorder
from fosp_edge.cameras.source import SourceEndedError

pytest.importorskip("cv2")


def frame(number, sequence):
    image = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Frame(image, sequence, sequence * 3_000_000 + 12345)


def test_what_is_recorded_plays_back_bit_for_bit_with_its_numbers_and_times(tmp_path):
    recorder = FolderRecorder(tmp_path / "run")
    frames = [frame(number, sequence) for number, sequence in enumerate([7, 8, 11, 12])]
    assert [recorder.append(f) for f in [*frames, frames[-1]]] == [True] * 4 + [False]
    recorder.close()
    assert recorder.frames == 4 and recorder.bytes_written > 0
    source = open_recording(CameraAddress("recording", str(tmp_path / "run")))
    played = []
    with pytest.raises(SourceEndedError):
        while True:
            played.append(source.read(1.0))
    assert [p.sequence for p in played] == [7, 8, 11, 12]
    assert np.diff([p.sensor_ns for p in played]).tolist() == [3e6, 9e6, 3e6]
    for original, picture in zip(frames, played, strict=True):
        np.testing.assert_array_equal(original.image, picture.colour)


def test_a_recording_cut_short_still_plays(tmp_path):
    recorder = FolderRecorder(tmp_path / "run")
    for number in range(3):
        recorder.append(frame(number, number))
    source = open_recording(CameraAddress("recording", str(tmp_path / "run"), rate=500))
    assert [source.read(1.0).sequence for _ in range(3)] == [0, 1, 2]


def test_a_full_disk_is_a_sentence_and_leaves_no_half_picture(tmp_path, monkeypatch):
    recorder = FolderRecorder(tmp_path / "run")
    recorder.append(frame(0, 0))

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.rename", full)
    with pytest.raises(CameraError, match="No space left on device"):
        recorder.append(frame(1, 1))
    monkeypatch.undo()
    recorder.close()
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["000000.png", "frames.csv"]


def test_an_occupied_folder_and_one_that_cannot_be_made_are_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(CameraError, match="is not empty"):
        FolderRecorder(tmp_path / "full")
    (tmp_path / "file").touch()
    with pytest.raises(CameraError, match="cannot record into"):
        FolderRecorder(tmp_path / "file" / "run")
