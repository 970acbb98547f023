"""Is this camera fit to steer by? Frames are sampled for a few seconds, then judged against stated limits."""

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fosp_edge.cameras.base import Camera, Frame, FrameStale

_POLL_S = 0.002
_ENOUGH, _EXTRA_S = 3, 10.0


@dataclass(frozen=True)
class Sample:
    """What is remembered of one frame."""

    sequence: int
    sensor_ns: int
    seen_ns: int
    brightness: float
    """Mean over the picture, 0 to 255."""
    saturated: float
    """Share of pixels with a channel at 255."""
    sharpness: float
    """Variance of the picture's Laplacian."""
    same_as_before: bool


@dataclass(frozen=True)
class Finding:
    """One property: what was found, what was expected, and whether that is good enough."""

    name: str
    found: str
    expected: str
    passed: bool


def collect(camera: Camera, seconds: float, *, max_age_s: float = 2.0) -> list[Sample]:
    """Watch a started camera for a while, longer if there are too few frames to judge. Raises CameraLost."""
    samples: list[Sample] = []
    before: npt.NDArray[np.uint8] | None = None
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end or (len(samples) < _ENOUGH and now < end + _EXTRA_S):
        try:
            frame = camera.latest(max_age_s)
        except FrameStale:  # shows in the intervals
            time.sleep(_POLL_S)
            continue
        if not samples or frame.sequence != samples[-1].sequence:
            samples.append(_sample(frame, time.monotonic_ns(), before))
            before = frame.image
        time.sleep(_POLL_S)
    return samples


def _sample(frame: Frame, seen_ns: int, before: npt.NDArray[np.uint8] | None) -> Sample:
    image = frame.image[::2, ::2] if frame.image.shape[0] > 256 else frame.image
    grey = image.astype(np.float32).mean(axis=2)
    laplacian = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1] - 4 * grey[1:-1, 1:-1]
    return Sample(
        frame.sequence,
        frame.sensor_ns,
        seen_ns,
        float(grey.mean()),
        float((image.max(axis=2) == 255).mean()),
        float(laplacian.var()) if laplacian.size else 0.0,
        before is not None and np.array_equal(before, frame.image),
    )


def judge(
    samples: list[Sample], rate_hz: float | None, *, has_noise: bool = True, age_limit_s: float = 0.1
) -> list[Finding]:
    """Judge at least three samples.

    Args:
        samples: what `collect` returned.
        rate_hz: what the camera was asked for, None if unknown.
        has_noise: a real sensor never takes the same picture twice, a simulated one at rest does.
        age_limit_s: oldest frame to steer by.

    Raises:
        ValueError: fewer than three samples.
    """
    if len(samples) < _ENOUGH:
        raise ValueError(f"expected at least three frames to judge, found {len(samples)}")
    stamps = np.array([sample.sensor_ns for sample in samples]) * 1e-9
    numbers = np.array([sample.sequence for sample in samples])
    ages = np.array([sample.seen_ns - sample.sensor_ns for sample in samples]) * 1e-9
    # Per frame the sensor took, whether or not it was seen here: a slow looker is not a slow camera.
    rate = float((numbers[-1] - numbers[0]) / max(1e-9, stamps[-1] - stamps[0]))
    per_frame = np.diff(stamps) / np.maximum(1, np.diff(numbers))
    jitter = float(np.percentile(np.abs(per_frame * rate - 1.0), 95)) if rate > 0 else np.inf
    missed = 1.0 - (len(samples) - 1) / max(1, int(numbers[-1] - numbers[0]))
    age = float(np.percentile(ages, 99))
    brightness = float(np.mean([sample.brightness for sample in samples]))
    saturated = float(np.mean([sample.saturated for sample in samples]))
    same = float(np.mean([sample.same_as_before for sample in samples[1:]]))
    sharpness = float(np.median([sample.sharpness for sample in samples]))
    return [
        Finding(
            "rate",
            f"{rate:.1f} /s",
            "any" if rate_hz is None else f"{rate_hz:g} /s within 10 %",
            rate_hz is None or abs(rate - rate_hz) <= 0.1 * rate_hz,
        ),
        Finding("interval, 95th percentile off", f"{100 * jitter:.0f} %", "at most 50 %", jitter <= 0.5),
        Finding("frames not seen here", f"{100 * missed:.1f} %", "at most 5 %", missed <= 0.05),
        Finding(
            "age when seen, 99 %", f"{1e3 * age:.0f} ms", f"at most {1e3 * age_limit_s:.0f} ms", age <= age_limit_s
        ),
        Finding("brightness", f"{brightness:.0f}", "20 to 235", 20.0 <= brightness <= 235.0),
        Finding("saturated pixels", f"{100 * saturated:.1f} %", "at most 20 %", saturated <= 0.2),
        Finding("sharpness", f"{sharpness:.1f}", "above 1", sharpness > 1.0),
        Finding(
            "pictures equal to the one before",
            f"{100 * same:.0f} %",
            "at most 50 %" if has_noise else "any",
            same <= 0.5 or not has_noise,
        ),
    ]
