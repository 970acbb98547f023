"""Tables of how long a tick takes, and how punctual it is."""

from typing import Any

from experiments.markdown import markdown

_QUANTILES = ("median_ms", "p99_ms", "p99.9_ms", "max_ms")
_NAMES = ("median", "p99", "p99.9", "max, ms")
_NOT_OURS = ("missed while the machine stood still", "missed while the host had taken the processor away")
"""By the witness; in results from before there was one, by the kernel's count of stolen time."""


def ticks(report: dict[str, Any]) -> str:
    """One tick by bundle, threads and pace, and its inference beside the floor."""
    rows = [
        (
            item["name"], str(item["threads"]), pace.removeprefix("paced "), f"{mode['tick']['ticks']:,}",
            *(f"{mode['tick'][name]:.2f}" for name in _QUANTILES), f"{mode['inference over floor']:.1f}",
        )
        for item in report["bundles"]
        for pace, mode in item["modes"].items()
    ]  # fmt: skip
    return markdown(("bundle", "threads", "pace", "ticks", *_NAMES, "inference over floor"), rows)


def punctuality(report: dict[str, Any]) -> str:
    """From deadline to command beside a learner, with and without the isolation measures; those with them first."""
    rows = []
    for name, item in sorted(report["results"].items(), key=lambda pair: (", without" in pair[0], _rate_hz(pair[0]))):
        bundle, rate, measures, *_ = name.split(", ")
        beside = ", simulations beside" if "simulation" in item.get("note", "") else ""
        done = item["deadline to command"]
        excused = next((item[key] for key in _NOT_OURS if item.get(key) is not None), "")
        learnt = item.get("updates per second")
        rows.append(
            (
                bundle, rate, measures + beside, f"{item['missed']:,} of {done['ticks']:,}", str(excused),
                *(f"{done[key]:.1f}" for key in _QUANTILES), "" if learnt is None else f"{learnt:.1f}",
            )
        )  # fmt: skip
    head = ("bundle", "rate", "", "missed", "of these not ours", *_NAMES, "the learner's updates/s")
    return markdown(head, rows)


def forms(report: dict[str, Any], agent: str) -> str:
    """One agent's step in each form that it is exported in, and by others."""
    item = next(item for item in report["agents"] if item["agent"] == agent)
    rows = [
        (
            row["form"], str(row["threads"]), f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else "",
            *(f"{row[name]:.2f}" for name in ("median_ms", "p10_ms", "p99_ms")),
            f"{row['action_drift']:.4f}" if "action_drift" in row else "",
        )
        for row in item["rows"] + ([{"form": "JAX jit", "threads": 1, **item["jax"]}] if "jax" in item else [])
    ]  # fmt: skip
    return markdown(("form", "threads", "MB", "median ms", "p10 ms", "p99 ms", "action drift"), rows)


def _rate_hz(name: str) -> float:
    return float(name.split(", ")[1].removesuffix(" Hz"))
