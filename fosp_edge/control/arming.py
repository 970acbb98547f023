"""May this bundle's filter be relied upon? Asked before anything moves; a doubt is a refusal with a sentence."""

import math

from fosp_edge.bundle.manifest import (
    CLOSED_LOOP,
    IMAGINATION_FILE,
    REACHABILITY,
    BundleError,
    FilterThresholds,
    GateThreshold,
    Manifest,
)


def smallest_sample(level: float) -> int:
    """Fewest calibration episodes from which a split-conformal threshold at this level exists: ceil(1/level) - 1."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level lies between 0 and 1, found {level:g}")
    return math.ceil(1.0 / level - 1e-9) - 1


def refusals(manifest: Manifest, graph_sha256: str) -> list[str]:
    """Why the filter of a bundle must not be armed, one phrase per reason; empty if it may."""
    if REACHABILITY in manifest.unknown_scores:
        return ["its agent never learnt reachability, so nothing in it predicts a violation"]
    found = _of("safety filter", manifest.filter, graph_sha256)
    ahead, carried = manifest.filter.look_ahead_sha256, manifest.files.get(IMAGINATION_FILE)
    if ahead is not None and ahead != carried:
        found.append(
            f"the safety filter was calibrated with the imagination graph {ahead[:12]}, this bundle has "
            f"{carried[:12] if carried else 'none'}"
        )
    if manifest.gate is not None:
        found += _of("out-of-distribution gate", manifest.gate, graph_sha256)
    return found


def check_armed(manifest: Manifest, graph_sha256: str) -> None:
    """Refuse a filter that was calibrated on too little, or for another network than the one that is about to run.

    Raises:
        BundleError: with every reason.
    """
    if found := refusals(manifest, graph_sha256):
        remedy = "Calibrate it: fosp-edge calibrate-filter BUNDLE --dataset DATA"
        if REACHABILITY in manifest.unknown_scores:
            remedy = "No calibration can mend that: it only drives with --no-filter, with nothing to hold it back"
        raise BundleError(f"the filter of {manifest.name!r} does not arm: {'; '.join(found)}. {remedy}")


def caveats(manifest: Manifest) -> list[str]:
    """What a person should know of an armed filter, one sentence each."""
    found = []
    if manifest.filter.trajectories != CLOSED_LOOP:
        found.append(
            f"the filter's miss rate of {manifest.filter.level:.0%} was measured on recorded behaviour, not on this "
            "policy's own episodes: it is no promise about them; fosp-edge calibrate-filter makes it one"
        )
    if manifest.gate is None:
        found.append(
            "there is no out-of-distribution gate in this bundle: nothing notices a covered lens; fosp-edge "
            "calibrate-filter adds one"
        )
    return found


def _of(what: str, item: FilterThresholds | GateThreshold, graph_sha256: str) -> list[str]:
    found = []
    if not 0.0 < item.level < 1.0:
        found.append(f"the {what} states a level of {item.level:g}, which promises nothing")
    elif item.sample_size < (needed := smallest_sample(item.level)):
        found.append(
            f"the {what} was calibrated on {item.sample_size} episodes, a level of {item.level:g} needs at least "
            f"{needed}"
        )
    if item.graph_sha256 is not None and item.graph_sha256 != graph_sha256:
        found.append(
            f"the {what} was calibrated for the network {item.graph_sha256[:12]}, this is {graph_sha256[:12]}: "
            "other weights have other scores"
        )
    return found
