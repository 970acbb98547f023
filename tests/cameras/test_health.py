from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.cameras.base import Frame, FrameStale
from fosp_edge.cameras.health import Sample, collect, judge

PERIOD_NS = 33_333_333


def samples(count=100, **changes):
    good = [
        Sample(n, n * PERIOD_NS, n * PERIOD_NS + 20_000_000, 120.0, 0.0, 50.0, same_as_before=False)
        for n in range(count)
    ]
    return [replace(sample, **changes) for sample in good]


def failed(found):
    return [finding.name for finding in found if not finding.passed]


def test_a_good_camera_passes():
    assert failed(judge(samples(), 30.0)) == []


@pytest.mark.parametrize(
    ("taken", "rate", "name"),
    [
        (samples(), 60.0, "rate"),
        ([s for s in samples() if s.sequence % 5], 30.0, "frames not seen here"),
        ([replace(s, seen_ns=s.sensor_ns + 300_000_000) for s in samples()], 30.0, "age when seen, 99 %"),
        (samples(brightness=3.0), 30.0, "brightness"),
        (samples(saturated=0.4), 30.0, "saturated pixels"),
        (samples(sharpness=0.2), 30.0, "sharpness"),
        (samples(same_as_before=True), 30.0, "pictures equal to the one before"),
        (
            [replace(s, sensor_ns=s.sensor_ns + (s.sequence % 2) * 25_000_000) for s in samples()],
            30.0,
            "interval, 95th percentile off",
        ),
    ],
)
def test_each_fault_is_found_and_only_that(taken, rate, name):
    assert failed(judge(taken, rate)) == [name]


def test_a_simulated_camera_at_rest_may_repeat_itself_and_any_rate_will_do():
    assert failed(judge(samples(same_as_before=True), None, has_noise=False)) == []


def test_two_frames_are_too_few_to_judge():
    with pytest.raises(ValueError, match="at least three frames"):
        judge(samples(2), 30.0)


class Scripted:
    """A camera whose newest frame comes from a list; None is a stale one."""

    name = serial = "scripted"
    width_px = height_px = 8

    def __init__(self, frames):
        self.frames = frames

    def start(self):
        pass

    def latest(self, max_age_s):
        frame = self.frames.pop(0) if len(self.frames) > 1 else self.frames[0]
        if frame is None:
            raise FrameStale("old")
        return frame

    def close(self):
        pass


def test_frames_are_collected_once_each_and_measured():
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    checks = np.kron(np.indices((8, 8)).sum(0)[..., None] % 2, np.ones((1, 1, 3))).astype(np.uint8) * 200
    frames = [Frame(black, 0, 10), Frame(black, 0, 10), None, Frame(black, 1, 20), Frame(white, 2, 30)]
    frames.append(Frame(checks, 3, 40))
    found = collect(Scripted(frames), 0.1)
    assert [sample.sequence for sample in found] == [0, 1, 2, 3]
    assert [sample.same_as_before for sample in found] == [False, True, False, False]
    assert [sample.saturated for sample in found] == [0.0, 0.0, 1.0, 0.0]
    assert [sample.brightness for sample in found] == [0.0, 0.0, 255.0, 100.0]
    assert found[2].sharpness == 0.0 and found[3].sharpness > 100.0
