"""What is said of an episode beside its rows: who recorded it, on what robot, and how it went."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from fosp_edge.bundle.manifest import Channel
from fosp_edge.bundle.picture import Preprocessing, optional_preprocessing
from fosp_edge.experience.schema import Steps

UNFINISHED = "unfinished"
"""Outcome of an episode that was never closed: its writer is still at it, or was killed."""


class StoreError(ValueError):
    """Recorded data is refused; the message says what was expected, what was found and what to do."""


@dataclass(frozen=True)
class Camera:
    """One camera of a recording, in channel order."""

    name: str
    width_px: int
    height_px: int
    preprocessing: Preprocessing | None = None
    """What was done to its pictures; None is the plain one of this size."""
    serial: str | None = None
    calibration_sha256: str | None = None
    """Of lens and place, as the camera stood; None where that was not known."""

    @staticmethod
    def from_raw(raw: dict[str, Any]) -> "Camera":
        """Out of JSON values. Raises KeyError, TypeError or ValueError."""
        return Camera(**raw | {"preprocessing": optional_preprocessing(raw.get("preprocessing"))})

    def differences(self, other: "Camera") -> list[str]:
        """In what a policy would see through another camera otherwise. Which specimen it was does not count here."""
        if (self.name, self.width_px, self.height_px) != (other.name, other.width_px, other.height_px):
            return [f"camera {_short(self)} here, {_short(other)} there"]
        plain = Preprocessing(self.width_px, self.height_px)
        differences = (self.preprocessing or plain).differences(other.preprocessing or plain)
        return [f"camera {self.name}: {phrase}" for phrase in differences]


@dataclass(frozen=True)
class Recording:
    """What all episodes of one source have in common: the robot, its clock, and what its numbers mean."""

    robot: str
    rate_hz: float
    cameras: tuple[Camera, ...]
    state: tuple[Channel, ...]
    action: tuple[Channel, ...]
    """Physical range that the normalised action [-1, 1] stands for."""

    @staticmethod
    def from_raw(raw: dict[str, Any]) -> "Recording":
        """Out of JSON values, as `dataclasses.asdict` gives them. Raises KeyError, TypeError or ValueError."""
        return Recording(
            robot=str(raw["robot"]),
            rate_hz=float(raw["rate_hz"]),
            cameras=tuple(Camera.from_raw(item) for item in raw["cameras"]),
            state=tuple(Channel(**item) for item in raw["state"]),
            action=tuple(Channel(**item) for item in raw["action"]),
        )

    def differences(self, other: "Recording") -> list[str]:
        """What another recording has otherwise, one phrase per difference; empty if the two fit together."""
        found = []
        for item in fields(self):
            mine, theirs = getattr(self, item.name), getattr(other, item.name)
            if item.name == "cameras" and len(mine) == len(theirs):
                for camera, counterpart in zip(mine, theirs, strict=True):
                    found += camera.differences(counterpart)
            elif mine != theirs:
                found.append(f"{item.name} {_short(mine)} here, {_short(theirs)} there")
        return found


@dataclass(frozen=True)
class EpisodeHeader:
    """What is known when an episode begins."""

    recording: Recording
    source: str
    """Who acted: `bundle`, `person`, or the name of a scripted behaviour such as `safe`."""
    scenario: str = ""
    seed: int = 0
    bundle: str | None = None
    """Id of the bundle that drove the robot."""
    reasons: tuple[str, ...] = ("",)
    """What the numbers in the column `reason` mean."""
    created_utc: str = ""

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "EpisodeHeader":
        """Read a header back.

        Raises:
            StoreError: the text is not a header of this schema.
        """
        try:
            raw = json.loads(text)
            recording = Recording.from_raw(raw["recording"])
            return EpisodeHeader(**raw | {"recording": recording, "reasons": tuple(raw["reasons"])})
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise StoreError(
                f"an episode's header is unreadable ({error}); `fosp-edge data verify` names it"
            ) from error


@dataclass(frozen=True)
class EpisodeSummary:
    """How an episode went, as far as it is written; kept up to date with every chunk."""

    rows: int = 0
    total_reward: float = 0.0
    total_cost: float = 0.0
    violations: int = 0
    """Rows whose own state violates the constraint."""
    interventions: int = 0
    """Rows in which something else was executed than the policy wanted."""
    success: bool = False
    outcome: str = UNFINISHED

    def extended(self, steps: Steps) -> "EpisodeSummary":
        """The summary after further rows."""
        changed = np.any(np.asarray(steps["action"]) != np.asarray(steps["nominal"]), axis=1)
        return replace(
            self,
            rows=self.rows + len(steps["reward"]),
            total_reward=self.total_reward + float(np.sum(steps["reward"], dtype=np.float64)),
            total_cost=self.total_cost + float(np.sum(steps["cost"], dtype=np.float64)),
            violations=self.violations + int(np.count_nonzero(steps["violation"])),
            interventions=self.interventions + int(np.count_nonzero(changed)),
            success=self.success or bool(np.any(steps["is_terminal"])),
        )

    @property
    def finished(self) -> bool:
        """Whether the episode was closed by its writer."""
        return self.outcome != UNFINISHED

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "EpisodeSummary":
        """Read a summary back.

        Raises:
            StoreError: the text is not a summary of this schema.
        """
        try:
            return EpisodeSummary(**json.loads(text))
        except (json.JSONDecodeError, TypeError) as error:
            raise StoreError(
                f"an episode's summary is unreadable ({error}); `fosp-edge data verify` names it"
            ) from error


@dataclass(frozen=True)
class EpisodeInfo:
    """One episode without its rows."""

    id: str
    header: EpisodeHeader
    summary: EpisodeSummary


def inconsistency(info: EpisodeInfo, steps: Steps) -> str | None:
    """What in the rows contradicts the header or the summary of their episode; None if they agree."""
    rows = len(steps["reward"])
    recount = replace(EpisodeSummary().extended(steps), outcome=info.summary.outcome)
    if recount.rows != info.summary.rows:
        return f"{info.summary.rows} rows counted, {rows} found"
    if abs(recount.total_reward - info.summary.total_reward) > 1e-6 * max(1.0, abs(recount.total_reward)):
        return (
            f"the summary's reward {info.summary.total_reward:.6g} is not that of its rows {recount.total_reward:.6g}"
        )
    recording = info.header.recording
    wanted = (len(recording.state), len(recording.action), 3 * len(recording.cameras))
    found = (steps["state"].shape[1], steps["action"].shape[1], steps["image"].shape[3])
    if wanted != found:
        return f"the header promises state, action, image channels {wanted}, the rows have {found}"
    if not steps["is_first"][0] or steps["is_first"][1:].any():
        return "not exactly the first row is marked as first"
    if int(steps["reason"].max()) >= len(info.header.reasons):
        return f"reason {int(steps['reason'].max())} is not in the header's list of {len(info.header.reasons)}"
    return None


def concatenate(parts: Iterable[Steps]) -> Steps:
    """Join parts of one episode along the step axis. At least one part is needed."""
    listed = list(parts)
    return {name: np.concatenate([part[name] for part in listed]) for name in listed[0]}


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_short(item) for item in value) + "]"
    if isinstance(value, Camera):
        return f"{value.name} {value.width_px}x{value.height_px}"
    if isinstance(value, Channel):
        return f"{value.name} ({value.unit}, {value.low:g} to {value.high:g})"
    return str(value)
