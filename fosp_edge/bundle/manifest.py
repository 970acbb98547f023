"""The manifest of a bundle: what it was made for, what it contains, and what was proven of it."""

import json
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from typing import Any

from fosp_edge.bundle.picture import Preprocessing, optional_preprocessing

SCHEMA_VERSION = 1

GRAPH_FILE = "step.onnx"
WEIGHTS_FILE = "weights.safetensors"
SIGNATURE_FILE = "manifest.sig"
IMAGINATION_FILE = "imagination.onnx"
"""The look-ahead graph; needed where the filter looks ahead."""
GATE_FILE = "gate.safetensors"
"""What the out-of-distribution gate compares with; only in bundles whose manifest has a `gate`."""

REACHABILITY = "reachability"
SCORES = ("reward_value", "cost_value", REACHABILITY, "state_reachability")
"""Outputs of the step graph that judge."""

CLOSED_LOOP, RECORDED = "closed loop", "recorded"
"""Trajectories a threshold can come from: the bundle's own policy, unfiltered, or whatever else was recorded. Only the
first kind is exchangeable with what the robot will do, so only there does the level promise anything about it."""


class BundleError(ValueError):
    """A bundle is refused; the message says what was expected, what was found and what to do."""


@dataclass(frozen=True)
class CameraContract:
    """One camera the policy was trained with, in channel order."""

    name: str
    width_px: int
    height_px: int
    serial: str | None = None
    """Serial number the bundle is tied to; None accepts any camera of this name."""
    calibration_sha256: str | None = None
    """Lens and place of the camera the policy was trained with, `calib.storage.CameraRecord.place_sha256`; None takes
    any."""
    preprocessing: Preprocessing | None = None
    """What was done to its pictures; None is the plain one, see `picture`."""

    @property
    def picture(self) -> Preprocessing:
        """What is done to this camera's pictures, stated or not: without a statement, the largest centred area."""
        return self.preprocessing or Preprocessing(self.width_px, self.height_px)


@dataclass(frozen=True)
class Channel:
    """One component of the state or action vector."""

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class LatentContract:
    """Shape of the latent state: `deterministic` floats and `groups` categoricals of `classes` each."""

    deterministic: int
    groups: int
    classes: int


@dataclass(frozen=True)
class FilterThresholds:
    """Where the feasible set ends, and how that was found out."""

    feasible_reachability: float
    """A candidate whose reachability is at or below this is predicted to stay feasible."""
    stop_reachability: float
    """If the best candidate lies above this, no candidate is worth more than holding still."""
    level: float
    """Share of the transitions into violation that the feasible threshold is allowed to miss."""
    sample_size: int
    date_utc: str
    data_sha256: str
    graph_sha256: str | None = None
    """The step graph it was calibrated with; None in bundles from before this was kept."""
    trajectories: str = RECORDED
    """`CLOSED_LOOP` or `RECORDED`."""
    look_ahead_sha256: str | None = None
    """The imagination graph whose look-ahead is part of the scores; None if the filter does not look ahead."""


@dataclass(frozen=True)
class GateThreshold:
    """When what the robot sees counts as unfamiliar, and how that was found out; the statistics' own parameters are in
    `GATE_FILE`."""

    threshold: float
    """Of the largest statistic, each divided by its scale."""
    level: float
    """Share of normal episodes in which the gate is allowed to raise an alarm."""
    sample_size: int
    """Held-out normal episodes."""
    date_utc: str
    data_sha256: str
    graph_sha256: str
    trajectories: str


@dataclass(frozen=True)
class Parity:
    """How far the exported graph may be, and is, from the checkpoint over a recorded episode."""

    steps: int
    tolerance: float
    action_error: float
    value_error: float
    reachability_error: float
    latent_flips: int
    """Ticks in which rounding decided a near-tie: of a latent's classes, or between two policies."""


@dataclass(frozen=True)
class Conversion:
    """Fewer bits, and what they did to the agent: both followed whole recorded episodes, each with its own state.

    Actions are normalised, their whole range is 2.
    """

    kind: str
    ticks: int
    latent_agreement: float
    """Share of the categoricals in the same class."""
    action_drift: float
    """Mean over ticks of the largest component's difference."""
    action_drift_p99: float
    reachability_drift: float
    own_action_drift: float
    """The same mean between the unconverted agent and itself with other sampling noise: no worse than chance."""
    own_reachability_drift: float
    exact_products: bool | None = None
    """Whether the processor it was measured on adds products of bytes exactly (`processor.py`); None: not said."""


@dataclass(frozen=True)
class Manifest:
    """Everything a robot must know before it lets a bundle move a motor."""

    name: str
    robot: str
    rate_hz: float
    cameras: tuple[CameraContract, ...]
    state: tuple[Channel, ...]
    actions: tuple[Channel, ...]
    latent: LatentContract
    candidates: tuple[str, ...]
    """What stands in each row of the graph's candidates; row 0 is the policy, `hold` is zero velocity."""
    sampled_candidates: int
    """How many rows are samples of the policy, hence how many rows of action noise go in."""
    filter: FilterThresholds
    parity: Parity
    created_utc: str
    parent: str | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    """Preset, seed, data hash, commit, versions: enough to train it again."""
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every other file in the bundle, by name."""
    schema_version: int = SCHEMA_VERSION
    gate: GateThreshold | None = None
    """Out-of-distribution gate; None runs without one."""
    storage: Conversion | None = None
    """How the weights are rounded, in both files alike; None in bundles from before this was kept: float32."""
    precision: Conversion | None = None
    """What the step graph computes in; None is float32."""
    unknown_scores: tuple[str, ...] = ()
    """Outputs of the step graph that mean nothing, because the agent never learnt them. Reachability then reads 1."""

    def to_json(self) -> str:
        """Canonical text: sorted keys, so that equal manifests have equal hashes."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> "Manifest":
        """Read a manifest back.

        Raises:
            BundleError: the text is not a manifest of this schema; the message names the field.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"manifest.json is not JSON ({error}); export the bundle again") from error
        if not isinstance(raw, dict):
            raise BundleError("manifest.json: expected an object; export the bundle again")
        version = raw.get("schema_version")
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"manifest schema {version!r} is not the {SCHEMA_VERSION} this version reads; export again"
            )
        return Manifest(
            **_known(Manifest, raw)
            | {
                "cameras": tuple(_camera(item) for item in _list(raw, "cameras")),
                "state": tuple(_build(Channel, item) for item in _list(raw, "state")),
                "actions": tuple(_build(Channel, item) for item in _list(raw, "actions")),
                "latent": _build(LatentContract, raw.get("latent")),
                "candidates": tuple(str(item) for item in _list(raw, "candidates")),
                "unknown_scores": tuple(str(item) for item in _list({"unknown_scores": [], **raw}, "unknown_scores")),
                "filter": _build(FilterThresholds, raw.get("filter")),
                "parity": _build(Parity, raw.get("parity")),
                **{
                    name: None if raw.get(name) is None else _build(Conversion, raw[name])
                    for name in ("storage", "precision")
                },
                "gate": None if raw.get("gate") is None else _build(GateThreshold, raw["gate"]),
            }
        )


def _list(raw: dict[str, Any], name: str) -> list[Any]:
    value = raw.get(name)
    if not isinstance(value, list):
        raise BundleError(f"manifest.json: expected a list under {name!r}, found {type(value).__name__}")
    return value


def _known(kind: type, raw: Any) -> dict[str, Any]:
    """The entries of `raw`, after checking that they are fields of `kind`; one with a default may be missing, as it is
    in bundles that are older than it."""
    assert is_dataclass(kind)
    if not isinstance(raw, dict):
        raise BundleError(f"manifest.json: expected an object for {kind.__name__}, found {type(raw).__name__}")
    names = {item.name for item in fields(kind)}
    required = {i.name for i in fields(kind) if i.default is MISSING and i.default_factory is MISSING}
    if missing := sorted(required - raw.keys()):
        raise BundleError(f"manifest.json: {kind.__name__} lacks {', '.join(missing)}; export the bundle again")
    if unknown := sorted(raw.keys() - names):
        raise BundleError(f"manifest.json: {kind.__name__} has unknown entries {', '.join(unknown)}")
    return dict(raw)


def _camera(raw: Any) -> CameraContract:
    known = _known(CameraContract, raw)
    try:
        return CameraContract(**known | {"preprocessing": optional_preprocessing(known.get("preprocessing"))})
    except (ValueError, AttributeError) as error:
        raise BundleError(f"manifest.json: camera {known['name']}: {error}; export the bundle again") from error


def _build(kind: type, raw: Any) -> Any:
    return kind(**_known(kind, raw))
