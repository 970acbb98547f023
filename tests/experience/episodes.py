"""Episodes made up for tests: every number says which row it belongs to."""

import numpy as np

from fosp_edge.bundle.manifest import Channel
from fosp_edge.experience.episode import Camera, EpisodeHeader, Recording
from fosp_edge.experience.schema import Steps

RECORDING = Recording(
    robot="test-arm",
    rate_hz=20.0,
    cameras=(Camera("fixed", 8, 8), Camera("wrist", 8, 8)),
    state=tuple(Channel(f"joint-{index}", "rad", -3.0, 3.0) for index in range(4)),
    action=tuple(Channel(name, "m/s", -0.25, 0.25) for name in ("vx", "vy", "vz")),
)


def make_header(**changes: object) -> EpisodeHeader:
    values = {
        "recording": RECORDING,
        "source": "safe",
        "scenario": "standard",
        "seed": 5,
        "reasons": ("policy", "held"),
    }
    return EpisodeHeader(**(values | changes))  # type: ignore[arg-type]


def make_steps(rows: int, *, mark: int = 0, size_px: int = 8) -> Steps:
    """An episode whose reward counts its rows from 1000 * mark, and whose pictures are noise."""
    random = np.random.default_rng([rows, mark])
    action = random.uniform(-1, 1, (rows, 3)).astype(np.float32)
    return {
        "image": random.integers(0, 256, (rows, size_px, size_px, 6)).astype(np.uint8),
        "state": random.normal(size=(rows, 4)).astype(np.float32),
        "action": action,
        "nominal": action.copy(),
        "reward": (1000 * mark + np.arange(rows)).astype(np.float32),
        "cost": np.zeros(rows, np.float32),
        "violation": np.zeros(rows, np.float32),
        "is_first": np.arange(rows) == 0,
        "is_terminal": np.zeros(rows, np.bool_),
        "reason": np.zeros(rows, np.uint8),
        "time_ns": np.arange(rows, dtype=np.int64) * 50_000_000,
    }


def row_of(steps: Steps, index: int) -> dict[str, np.ndarray]:
    return {name: np.asarray(values[index]) for name, values in steps.items()}
