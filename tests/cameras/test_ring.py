"""The ring under everything that can go wrong with it: torn writes, crashes, strangers, garbage."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fosp_edge.cameras import ring as ring_module
from fosp_edge.cameras.base import CameraError, CameraLost, FrameStale
from fosp_edge.cameras.ring import (
    FOLDER,
    PREFIX,
    RingFormat,
    RingReader,
    RingWriter,
    depth_format,
    remove_abandoned_rings,
)
from fosp_edge.cameras.ring_camera import RingCamera

SMALL = RingFormat(height_px=4, width_px=6, serial="S-1")


def picture(value: int, ring_format: RingFormat = SMALL) -> np.ndarray:
    return np.full(ring_format.shape, value, dtype=ring_format.dtype)


@pytest.fixture
def writer():
    writer = RingWriter(SMALL)
    yield writer
    writer.close()


def test_a_reader_gets_the_newest_frame_with_its_stamp_and_owns_it(writer):
    reader = RingReader(writer.name)
    assert reader.latest() is None
    assert reader.format == SMALL
    for value in range(1, 8):
        writer.publish(picture(value), sensor_ns=value * 10)
    frame = reader.latest()
    assert (frame.sequence, frame.sensor_ns) == (6, 70)
    np.testing.assert_array_equal(frame.pixels, picture(7))
    frame.pixels[:] = 0
    np.testing.assert_array_equal(reader.latest().pixels, picture(7))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_drops_are_the_gaps_in_the_sensors_count(steps):
    writer = RingWriter(SMALL)
    try:
        reader = RingReader(writer.name)
        number = 100
        writer.publish(picture(0), 0, number)
        for step in steps:
            number += step
            writer.publish(picture(step), 0, number)
        assert reader.dropped == sum(steps) - len(steps)
        assert reader.latest().sequence == number
    finally:
        writer.close()


def test_sixteen_bit_depth_survives():
    colour = RingWriter(RingFormat(3, 5, serial="12"))
    writer = RingWriter(depth_format(colour.format, 0.00025), depth_of=colour)
    depth = np.arange(15, dtype=np.uint16).reshape(3, 5, 1) * 4000
    writer.publish(depth, 1)
    reader = RingReader(writer.name)
    frame = reader.latest()
    assert frame.pixels.dtype == np.uint16 and reader.format == writer.format and reader.format.unit_m == 0.00025
    np.testing.assert_array_equal(frame.pixels, depth)
    writer.close()
    colour.close()


def test_a_camera_finds_the_distances_beside_its_pictures_and_says_where_there_are_none(writer):
    now_ns = time.monotonic_ns()
    depth = RingWriter(depth_format(SMALL, 0.001), depth_of=writer)
    camera = RingCamera("front", writer.name)
    with pytest.raises(FrameStale, match="no depth picture yet"):
        camera.latest_depth(5.0)
    depth.publish(np.full((SMALL.height_px, SMALL.width_px, 1), 700, np.uint16), now_ns, 4)
    found = camera.latest_depth(5.0)
    assert (found.sequence, found.sensor_ns, found.unit_m, found.depth.shape) == (4, now_ns, 0.001, SMALL.shape[:2])
    assert np.all(found.depth == 700)
    with pytest.raises(FrameStale, match="the newest depth picture is"):
        camera.latest_depth(1e-9)
    depth.close()
    with pytest.raises(CameraError, match="camera front measures no distances"):
        RingCamera("front", writer.name).latest_depth(5.0)
    camera.close()
    writer.close()
    with pytest.raises(CameraLost, match="the process that feeds it is gone"):
        camera.latest_depth(5.0)


@pytest.mark.parametrize("unit_m", [-0.001, float("nan"), float("inf")])
def test_what_is_no_unit_of_distance_is_refused(unit_m):
    with pytest.raises(ValueError, match="metres per unit of depth"):
        depth_format(SMALL, unit_m)


@given(
    st.integers(0, 3),
    st.integers(0, SMALL.slot_bytes - 1),
    st.binary(min_size=1, max_size=40),
)
@settings(max_examples=200)
def test_whatever_a_half_done_write_leaves_in_the_slots_no_torn_frame_is_returned(slot, start, junk):
    """Overwrites any part of any slot, lock included, as a writer stopped at any moment might have left it."""
    writer = RingWriter(SMALL)
    try:
        for value in range(1, 7):
            writer.publish(picture(value), sensor_ns=value)
        offset = ring_module._HEADER_BYTES + slot * SMALL.slot_bytes + start
        end = min(offset + len(junk), ring_module._HEADER_BYTES + (slot + 1) * SMALL.slot_bytes)
        writer._memory[offset:end] = junk[: end - offset]
        frame = RingReader(writer.name).latest()
        assert frame is not None  # three whole slots are left
        assert np.all(frame.pixels == frame.sensor_ns) and frame.sequence == frame.sensor_ns - 1
        assert frame.sequence >= 2  # and it is one that a slot still held, nothing older
    finally:
        writer.close()


def test_when_every_slot_is_damaged_there_is_no_frame_and_the_tears_are_counted(writer):
    for value in range(6):
        writer.publish(picture(value), sensor_ns=value)
    reader = RingReader(writer.name)
    writer._memory[ring_module._HEADER_BYTES :] = b"\xff" * (SMALL.total_bytes - ring_module._HEADER_BYTES)
    assert reader.latest() is None
    assert reader.torn == 4


def test_a_reader_racing_a_fast_writer_sees_only_whole_frames():
    form = RingFormat(48, 64, slots=2)
    writer = RingWriter(form)
    reader = RingReader(writer.name)
    done = threading.Event()

    def write() -> None:
        value = 0
        while not done.is_set():
            writer.publish(picture(value % 251, form), sensor_ns=value % 251)
            value += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = 0
        deadline = time.monotonic() + 20.0
        while seen < 2000 and time.monotonic() < deadline:
            frame = reader.latest()
            if frame is not None:
                assert np.all(frame.pixels == frame.sensor_ns)
                seen += 1
        assert seen == 2000
    finally:
        done.set()
        thread.join()
        writer.close()


def test_the_segment_is_private_and_its_name_cannot_be_guessed(writer):
    status = (FOLDER / writer.name).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    other = RingWriter(SMALL)
    assert len(writer.name) == len(PREFIX) + 32 and other.name != writer.name
    other.close()


@pytest.mark.parametrize("name", ["../etc/passwd", PREFIX + "x", "", PREFIX + "0" * 32 + "/x"])
def test_a_name_that_is_no_ring_name_is_refused(name):
    with pytest.raises(CameraError):
        RingReader(name)


def test_a_ring_that_is_not_there_is_a_lost_camera():
    with pytest.raises(CameraLost, match="is the camera process running"):
        RingReader(PREFIX + "0" * 32)


@given(st.binary(max_size=1024))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_of_garbage_is_refused_with_a_sentence(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("shm")
    name = PREFIX + "0" * 32
    (folder / name).write_bytes(content)
    with pytest.raises(CameraError):
        RingReader(name, folder)


def test_a_ring_of_another_version_is_refused(writer):
    writer._header[ring_module._W_VERSION] = 1
    with pytest.raises(CameraError, match="version 2, found version 1"):
        RingReader(writer.name)


def test_no_room_in_shared_memory_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CameraError, match="No space left on device; free some"):
        RingWriter(SMALL, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_another_shape_or_type_or_order_are_refused(writer):
    with pytest.raises(ValueError, match="expected"):
        writer.publish(np.zeros((6, 4, 3), np.uint8), 0)
    with pytest.raises(ValueError, match="expected"):
        writer.publish(np.zeros(SMALL.shape, np.uint16), 0)
    writer.publish(picture(0), 0, 5)
    with pytest.raises(ValueError, match="must rise"):
        writer.publish(picture(0), 0, 5)


def test_closing_a_reader_leaves_the_ring(writer):
    RingReader(writer.name).close()
    assert (FOLDER / writer.name).exists()


CHILD = """
import sys, time
import numpy as np
from fosp_edge.cameras.ring import RingFormat, RingReader, RingWriter
if sys.argv[1] == "write":
    writer = RingWriter(RingFormat(4, 6))
    print(writer.name, flush=True)
    while True:
        writer.publish(np.zeros((4, 6, 3), np.uint8), time.monotonic_ns())
        time.sleep(0.005)
RingReader(sys.argv[2]).latest()
"""


def start_child(*arguments):
    return subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)


def test_a_reading_process_that_exits_leaves_the_ring_to_its_writer(writer):
    writer.publish(picture(1), 1)
    assert start_child("read", writer.name).wait(30) == 0
    assert (FOLDER / writer.name).exists()
    assert RingReader(writer.name).latest() is not None


def test_frozen_writer_is_stale_then_killed_writer_is_lost_then_the_segment_is_cleaned_up():
    child = start_child("write")
    try:
        name = child.stdout.readline().strip()
        camera = RingCamera("wrist", name)
        camera.start()
        assert camera.latest(30.0).image.shape == (4, 6, 3)
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(0.05)
        with pytest.raises(FrameStale, match="camera wrist: the newest frame is"):
            camera.latest(0.001)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
        with pytest.raises(CameraLost, match="the process that feeds it is gone"):
            camera.latest(30.0)
        with pytest.raises(CameraLost):
            camera.start()
        assert (FOLDER / name).exists()
        remove_abandoned_rings()
        assert not (FOLDER / name).exists()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_the_next_writer_cleans_up_but_spares_the_living(writer, tmp_path):
    dead = FOLDER / (PREFIX + "f" * 32)
    dead.write_bytes(b"left over")
    RingWriter(SMALL).close()
    assert not dead.exists()
    assert (FOLDER / writer.name).exists()


def test_a_camera_whose_writer_closes_is_lost(writer):
    camera = RingCamera("fixed", writer.name)
    writer.publish(picture(3), time.monotonic_ns())
    assert camera.latest(60.0).sequence == 0
    writer.close()
    with pytest.raises(CameraLost):
        camera.latest(60.0)
    with pytest.raises(CameraLost):
        RingCamera("fixed", writer.name)


def test_a_camera_without_frames_says_so_and_a_stamp_from_the_future_is_not_trusted(writer):
    camera = RingCamera("fixed", writer.name, start_timeout_s=0.02)
    with pytest.raises(CameraError, match="no frame within"):
        camera.start()
    with pytest.raises(FrameStale, match="no frame yet"):
        camera.latest(1.0)
    writer.publish(picture(3), time.monotonic_ns() + 10**10)
    with pytest.raises(FrameStale):
        camera.latest(1.0)


def test_counters(writer):
    camera = RingCamera("fixed", writer.name)
    for number in (0, 1, 5):
        writer.publish(picture(number), time.monotonic_ns(), number)
    camera.latest(60.0)
    camera.latest(60.0)
    assert camera.counters.received == 1 and camera.counters.sensor_dropped == 3 and camera.counters.torn == 0
