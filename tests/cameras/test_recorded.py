import numpy as np
import pytest

from fosp_edge.cameras.address import CameraAddress
from fosp_edge.cameras.base import CameraError
from fosp_edge.cameras.recorded import open_recording
from fosp_edge.cameras.source import SourceEndedError, open_source
from tests.cameras.recordings import HEIGHT, WIDTH, colour_picture, write_folder

cv2 = pytest.importorskip("cv2")


def play(source, limit=100):
    pictures = []
    try:
        while len(pictures) < limit:
            pictures.append(source.read(1.0))
    except SourceEndedError:
        pass
    source.close()
    return pictures


def test_a_folder_plays_its_pictures_with_their_numbers_at_their_pace(tmp_path):
    source = open_source(CameraAddress("recording", str(write_folder(tmp_path / "run", gap_after=2))))
    assert (source.width_px, source.height_px, source.serial) == (WIDTH, HEIGHT, "run")
    pictures = play(source)
    assert [picture.sequence for picture in pictures] == [0, 1, 2, 6, 7]
    for number, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture.colour, colour_picture(number))
    assert np.diff([picture.sensor_ns for picture in pictures]).tolist() == [20e6, 20e6, 80e6, 20e6]


def test_a_folder_without_table_plays_in_the_order_of_names_at_the_rate_asked_for(tmp_path):
    folder = write_folder(tmp_path / "run", table=False)
    pictures = play(open_recording(CameraAddress("recording", str(folder), rate=200)))
    assert [picture.sequence for picture in pictures] == [0, 1, 2, 3, 4]
    assert np.diff([picture.sensor_ns for picture in pictures]).tolist() == [5e6] * 4


def test_a_loop_goes_on_with_rising_numbers_and_times(tmp_path):
    folder = write_folder(tmp_path / "run", frames=3, period_ns=1_000_000)
    pictures = play(open_recording(CameraAddress("recording", str(folder), loop=1)), limit=7)
    assert [picture.sequence for picture in pictures] == list(range(7))
    assert np.all(np.diff([picture.sensor_ns for picture in pictures]) > 0)


def test_a_video_plays_at_its_own_rate(tmp_path):
    file = str(tmp_path / "run.avi")
    writer = cv2.VideoWriter(file, cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (WIDTH, HEIGHT))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MJPG video")
    for number in range(6):
        writer.write(np.ascontiguousarray(colour_picture(number * 4)[:, :, ::-1]))
    writer.release()
    pictures = play(open_source(CameraAddress("recording", file)))
    assert [picture.sequence for picture in pictures] == list(range(6))
    assert np.diff([picture.sensor_ns for picture in pictures]).tolist() == [20e6] * 5
    red = [picture.colour[30, 5, 0] for picture in pictures]
    assert red[-1] > 120 and pictures[-1].colour[30, 5, 2] < 60 and sorted(red) == red
    assert [p.sequence for p in play(open_source(CameraAddress("recording", file, loop=1)), 9)] == list(range(9))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "holds no pictures"),
        ({"frames.csv": "file,sequence\na.png,1\n"}, "is damaged"),
        ({"frames.csv": "file,sequence,sensor_ns\na.png,x,1\n"}, "is damaged"),
        ({"frames.csv": "file,sequence,sensor_ns\na.png,2,1\nb.png,1,2\n"}, "sequence numbers that rise"),
        ({"frames.csv": "file,sequence,sensor_ns\n"}, "at least one row"),
        ({"frames.csv": "file,sequence,sensor_ns\na.png,1,1\n"}, "missing or not a picture"),
        ({"a.png": "no picture"}, "missing or not a picture"),
    ],
)
def test_a_damaged_folder_is_a_sentence(tmp_path, content, sentence):
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CameraError, match=sentence):
        open_recording(CameraAddress("recording", str(tmp_path)))


def test_pictures_of_two_sizes_are_refused(tmp_path):
    folder = write_folder(tmp_path / "run", frames=3, table=False)
    cv2.imwrite(str(folder / "000001.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(CameraError, match="expected 64x48 pixels like the first"):
        play(open_recording(CameraAddress("recording", str(folder))))


def test_what_is_no_video_is_a_sentence(tmp_path):
    with pytest.raises(CameraError, match="there is no recording"):
        open_recording(CameraAddress("recording", str(tmp_path / "none.avi")))
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(CameraError, match="is not a video"):
        open_recording(CameraAddress("recording", str(tmp_path / "text.avi")))
