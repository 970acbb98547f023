"""Tables of what the filter promises and keeps, of its answers, of its gate, and of looking ahead."""

from typing import Any

import numpy as np

from experiments.markdown import markdown, points
from fosp_edge.simulation.evaluation import bootstrap_interval

_STATISTICS = ("surprise", "picture", "stillness")
_SCORES = {
    "step": "step graph",
    "ahead": "five imagined steps",
    "both": "the larger of the two (what `--look-ahead` does)",
}


def conformal(report: dict[str, Any]) -> str:
    """What share of violations was missed, for what was promised, over many splits of the same episodes."""
    rows = []
    for found, scripts in zip(report["closed_loop"], report["scripted"], strict=True):
        if "mean" not in found:
            cells = [f"nothing: {found['calibration']} are too few, refused", "", ""]
        else:
            cells = [f"{100 * found[key]:.1f} %" for key in ("expected", "mean")]
            cells.append(f"{100 * found['p05']:.0f}-{100 * found['p95']:.0f} %")
        rows.append((f"{100 * found['level']:.0f} %", *cells, f"{100 * scripts['mean_on_the_policy']:.1f} %"))
    count = report["closed_loop"][0]["calibration"]
    head = ("promised", f"what {count} violations can promise", "missed, calibrated on own episodes",
            "5-95 % of splits", "missed, thresholds from scripts")  # fmt: skip
    return markdown(head, rows)


def gate_faults(report: dict[str, Any]) -> str:
    """In which share of episodes each statistic, and the gate, notices a fault in time."""
    rows = []
    for name, found in report["faults"].items():
        noticed = [f"{found[statistic]['noticed']:.0%}".replace("%", " %") for statistic in (*_STATISTICS, "gate")]
        delay = found["gate"]["median_ticks"]
        rows.append((name, *noticed[:-1], f"**{noticed[-1]}**", "" if delay is None else str(delay)))
    head = ("fault", *(f"`{name}` alone" for name in _STATISTICS), "the gate", "median delay, ticks")
    return markdown(head, rows)


def look_ahead(report: dict[str, Any]) -> str:
    """How well each score foretells, and which share of quiet ticks it disturbs for a miss rate."""
    ways = report["ways"]
    levels = list(ways["step"]["quiet_ticks_in_alarm"])
    rows = [
        (
            told, f"{ways[way]['auc_next_half_second']:.3f}",
            *(f"{100 * ways[way]['quiet_ticks_in_alarm'][level]:.1f} %" for level in levels),
        )
        for way, told in _SCORES.items()
    ]  # fmt: skip
    return markdown(
        ("score", "AUC for the next half second", *(f"{100 * float(x):.0f} % missed" for x in levels)), rows
    )


def answers(report: dict[str, Any]) -> str:
    """What answers to the filter's alarms come to, beside the filter with a recovery at full speed."""
    rows = []
    for name, found in report["answers"].items():
        count, cells = found["tables"], ["", ""]
        if name != "full speed":
            fewer = found["violated_gained"]
            averted = {"mean": -fewer["mean"], "low": -fewer["high"], "high": -fewer["low"]}
            cells = [points(averted), points(found["success_gained"])]
        rows.append(
            (
                f"`{name}`", f"{found['violations']} of {count}", cells[0], f"{found['cost']:.2f}",
                f"{100 * found['reached'] / count:.1f} %", cells[1], f"{100 * found['interventions']:.1f} %",
            )
        )  # fmt: skip
    head = ("while it intervenes the filter", "episodes in violation", "averted (points)", "mean cost", "reached",
            "gained (points)", "ticks in which not the policy's choice was done")  # fmt: skip
    return markdown(head, rows)


def look_ahead_in_charge(report: dict[str, Any]) -> str:
    """The same tables with a filter that looks ahead and with one that does not, which drove first."""
    episodes = report["episodes"]
    half = len(episodes) // 2
    plain, ahead = episodes[:half], episodes[half:]
    if [(item["scenario"], item["seed"]) for item in plain] != [(item["scenario"], item["seed"]) for item in ahead]:
        raise ValueError("expected two bundles over the same tables, one after the other")

    def columns(items: list[dict[str, Any]]) -> tuple[np.ndarray, ...]:
        """Reached, violated, cost and share of the ticks with an intervention, by episode."""
        numbers = [
            (item["success"], item["cost"] > 0.0, item["cost"], item["interventions"] / item["steps"]) for item in items
        ]
        return tuple(np.array(numbers, np.float64).T)

    first, second, rows = columns(plain), columns(ahead), []
    for told, (reached, violated, cost, intervention) in (
        ("step graph", first), ("with five imagined steps", second),
    ):  # fmt: skip
        counts = (f"{int(values.sum())} of {half}" for values in (reached, violated))
        rows.append((told, *counts, f"{cost.mean():.2f}", f"{100 * intervention.mean():.1f} %"))
    reach, violation, cost, intervention = (
        bootstrap_interval((after - before).tolist()) for before, after in zip(first, second, strict=True)
    )
    dearer = f"{cost.mean:+.2f} ({cost.low:+.2f} to {cost.high:+.2f})"
    rows.append(
        (
            "difference (points; cost)", points(vars(reach)), points(vars(violation)), dearer,
            points(vars(intervention)),
        )
    )  # fmt: skip
    head = ("filter", "reached", "episodes in violation", "mean cost",
            "ticks with an intervention (mean of the episodes)")  # fmt: skip
    return markdown(head, rows)
