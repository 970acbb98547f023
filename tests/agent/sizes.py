"""The smallest agent that has every part: updates in milliseconds."""

from typing import Any

from fosp_edge.agent.config import Config


def tiny_config(**changes: Any) -> Config:
    values: dict[str, Any] = {
        "conv_depth": 4,
        "deterministic": 16,
        "groups": 4,
        "classes": 4,
        "hidden": 16,
        "bins": 41,
        "batch_size": 2,
        "batch_length": 6,
        "horizon": 3,
        "imagination_starts": 4,
        "updates": 6,
    }
    return Config(**(values | changes))
