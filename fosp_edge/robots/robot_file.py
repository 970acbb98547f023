"""A robot that is not in the catalogue, in a JSON file: an arm (`arm_file`), or a base on wheels (`base_file`)."""

import json
from pathlib import Path
from typing import Any

from fosp_edge.robots.arm_file import ArmFile, arm_of
from fosp_edge.robots.base import RobotError
from fosp_edge.robots.base_file import BaseFile, base_of
from fosp_edge.robots.robot_entry import RobotEntry, distinct

RobotFile = ArmFile | BaseFile
"""What a file says; either knows its name, its bus with the ids on it, and how to be written."""


def read_robot(path: Path) -> RobotFile:
    """Read a robot's file.

    Raises:
        RobotError: it cannot be read, or says something that cannot be meant; the message names the place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RobotError(f"{path} is not JSON ({error})") from error
    except OSError as error:
        raise RobotError(f"the robot's file {path} cannot be read: {error.strerror}") from error
    return parse_robot(text, str(path))


def parse_robot(text: str, source: str) -> RobotFile:
    """What a robot's file says; `source` is what it is called in messages.

    Raises:
        RobotError: it says something that cannot be meant; the message names the place.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise RobotError(f"{source} is not JSON ({error})") from error
    try:
        entry = RobotEntry(raw, "")
        return base_of(entry) if "wheels" in entry else arm_of(entry)
    except ValueError as error:
        raise RobotError(f"{source}: {error} (fosp-edge robots show so101 prints an example)") from error


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two limits of one name, which would count?"""
    distinct([name for name, _ in pairs])
    return dict(pairs)
