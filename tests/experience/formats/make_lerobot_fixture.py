"""Makes `lerobot-0.4.4/` with LeRobot itself (not one of our dependencies): python make_lerobot_fixture.py"""

import shutil
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

FOLDER = Path(__file__).parent / "lerobot-0.4.4"


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    features = {
        "observation.images.front": {"dtype": "image", "shape": (8, 8, 3), "names": ["height", "width", "channels"]},
        "observation.state": {"dtype": "float32", "shape": (3,), "names": ["a", "b", "c"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.cost": {"dtype": "float32", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
    }
    dataset = LeRobotDataset.create("local/fixture", fps=10, features=features, root=FOLDER, use_videos=False)
    for episode, rows in enumerate([5, 4]):
        for row in range(rows):
            mark = 10 * episode + row
            dataset.add_frame(
                {
                    "observation.images.front": np.full((8, 8, 3), mark, np.uint8),
                    "observation.state": np.full(3, mark, np.float32),
                    "action": np.array([mark, -mark], np.float32),
                    "next.reward": np.array([mark], np.float32),
                    "next.cost": np.array([row == 1], np.float32),
                    "next.done": np.array([row == rows - 1]),
                    "task": "reach",
                }
            )
        dataset.save_episode()
    dataset.finalize()
    shutil.rmtree(FOLDER / "images", ignore_errors=True)


if __name__ == "__main__":
    main()
