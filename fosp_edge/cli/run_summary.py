"""How a run went, as a table for the terminal and as JSON for everything else."""

import json
import math
from typing import Any

from rich.table import Table

from fosp_edge.control.loop import EpisodeSummary
from fosp_edge.control.session import RunSummary
from fosp_edge.control.types import Reason


def _ending(episode: EpisodeSummary) -> str:
    if episode.success:
        return "reached"
    return "time out" if episode.reason is Reason.EPISODE_END else episode.reason.outcome


def summary_json(summary: RunSummary, about: dict[str, Any]) -> str:
    """Everything about a run that is a number or a name. `about` says what was run."""
    document = {
        **about,
        "end": {
            "state": summary.state.value,
            "reason": summary.reason.name,
            "sentence": summary.detail,
            "stop_acknowledged": summary.stop_acknowledged,
        },
        "duration_s": round(summary.duration_s, 3),
        "ticks": summary.ticks,
        "missed_deadlines": summary.missed_deadlines,
        "rows_written": summary.recorded,
        "rows_dropped": summary.dropped,
        "counters": summary.telemetry.counters,
        "phases": summary.telemetry.summary(),
        "episodes": [
            {
                "seed": episode.seed,
                "scenario": episode.scenario,
                "steps": episode.steps,
                "return": round(episode.reward, 4),
                "cost": episode.cost,
                "success": episode.success,
                "interventions": episode.interventions,
                "end": episode.reason.name,
            }
            for episode in summary.episodes
        ],
        "transitions": [
            {
                "time_ns": item.time_ns,
                "from": item.source.value,
                "to": item.target.value,
                "reason": item.reason.name,
                "sentence": item.detail,
            }
            for item in summary.transitions
        ],
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def summary_table(summary: RunSummary, *, judged: bool) -> Table:
    """One row per episode (at most the last twelve) and one for all. Unjudged runs show no reward or success."""
    table = Table(title=None, header_style="bold", footer_style="bold", show_footer=bool(summary.episodes))
    episodes = summary.episodes
    steps = sum(episode.steps for episode in episodes)
    successes = sum(episode.success for episode in episodes)
    violated = sum(episode.cost > 0 for episode in episodes)
    interventions = sum(episode.interventions for episode in episodes)
    mean_return = sum(episode.reward for episode in episodes) / len(episodes) if episodes else math.nan
    table.add_column("episode", footer=f"all {len(episodes)}")
    table.add_column("end", footer=f"{successes} reached" if judged else "")
    table.add_column("steps", justify="right", footer=str(steps))
    table.add_column("return", justify="right", footer=f"mean {mean_return:+.2f}" if judged else "")
    table.add_column("cost", justify="right", footer=f"{violated} in violation" if judged else "")
    share = f" ({100.0 * interventions / steps:.0f} %)" if steps else ""
    table.add_column("interventions", justify="right", footer=f"{interventions}{share}")
    if len(episodes) > 12:
        table.add_row("...", "", "", "", "", "")
    for episode in episodes[-12:]:
        table.add_row(
            f"seed {episode.seed}",
            _ending(episode),
            str(episode.steps),
            f"{episode.reward:+.2f}" if judged else "",
            f"{episode.cost:.0f}" if judged else "",
            str(episode.interventions),
        )
    return table


def timing_line(summary: RunSummary) -> str:
    """Rate and latency in one sentence."""
    latency = summary.telemetry.phases["latency"]
    return (
        f"{summary.ticks} ticks in {summary.duration_s:.1f} s, deadlines missed: {summary.missed_deadlines}; image in "
        f"to command out: median {latency.percentile(0.5) * 1e3:.1f} ms, p99 {latency.percentile(0.99) * 1e3:.1f} ms, "
        f"max {latency.max_s * 1e3:.1f} ms"
    )
