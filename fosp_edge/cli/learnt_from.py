"""What data a bundle's policy was learnt from, and whether those at hand are such, or of its robot at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.manifest import Manifest
from fosp_edge.control.recorder import recording_of
from fosp_edge.experience.episode import StoreError
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.store import ExperienceStore


def through_its_cameras(store: ExperienceStore, manifest: Manifest) -> CameraSelection:
    """A data set as a bundle of this manifest would have seen it.

    Raises:
        StoreError: it has no episodes, lacks a camera, or is of another robot, rate or unit.
    """
    try:
        selection = CameraSelection(store, [camera.name for camera in manifest.cameras])
    except StoreError as error:
        raise StoreError(f"{store.path}: {error}") from error
    if differences := selection.header.differences(recording_of(manifest)):
        raise StoreError(f"{store.path} cannot be learnt from beside the bundle's own: {'; '.join(differences)}")
    return selection


def training_data(manifest: Manifest) -> list[dict[str, Any]]:
    """What the bundle says of each data set that its policy was learnt from: name, episodes, rows, sha256."""
    training = manifest.provenance.get("training")
    told: Any = training.get("dataset") if isinstance(training, dict) else None
    return [item for item in told or () if isinstance(item, dict)]


def unlike_training(bundle: Bundle, datasets: Sequence[Path]) -> list[str]:
    """A sentence if none of the data sets has the name of one that the bundle's policy was learnt from.

    Half of what a learner imitates comes from its offline data: where they show another way of driving, the policy
    comes to drive that way. By name, because a part of a data set, or one that was made again, is as good.

    Args:
        bundle: that learning begins with.
        datasets: folders of the offline data.

    Returns:
        Nothing if one has that name, or if the bundle does not say what it was learnt from: one that was learnt on the
        robot does not, its driver was told before.
    """
    names = [str(item["name"]) for item in training_data(bundle.manifest) if "name" in item]
    if not names or {path.resolve().name for path in datasets} & set(names):
        return []
    return [
        f"the policy of bundle {bundle.id[:12]} was learnt from data called {' and '.join(names)}, and none of "
        f"--dataset ({', '.join(str(path) for path in datasets)}) is: what is imitated from them may be another way of "
        "driving. Name those, too, if they are at hand"
    ]
