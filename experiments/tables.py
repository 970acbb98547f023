"""The marked tables of README and docs, made from the committed results: no figure in them is copied by hand.

    python -m experiments.tables            # which are not what the results say; status 1 if any
    python -m experiments.tables --write    # write them

A line `<!-- table: NAME -->` stands before each. Needs nothing but the results, so the tests check it everywhere.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.filter_tables import answers, conformal, gate_faults, look_ahead, look_ahead_in_charge
from experiments.markdown import interval, markdown, percent, points
from experiments.safety_gym_table import markdown_table as safety_gym
from experiments.timing_tables import forms, punctuality, ticks
from fosp_edge.files import write_atomically

ROOT = Path(__file__).parents[1]
_MARKED = re.compile(r"<!-- table: ([\w-]+) -->\n(?:\|[^\n]*\n)*")


def evaluation(report: dict[str, Any]) -> str:
    """What `fosp-edge eval` wrote."""
    rows = [
        (
            item["agent"], item["scenario"], percent(item["success"]), percent(item["violation"]),
            f"{item['cost']['mean']:.1f}", f"{item['total_reward']['mean']:.1f}",
            f"{100 * item['intervention']['mean']:.0f} %",
        )
        for item in report["scores"]
    ]  # fmt: skip
    head = ("agent", "family", "reaches the target", "episodes in violation", "mean cost", "return", "filter steps in")
    return markdown(head, rows)


def filters(report: dict[str, Any]) -> str:
    """What `fosp-edge eval-filter` wrote of the families whose pictures are as usual, together."""
    rows = []
    for item in report["together"]["scores"]:
        count, found = item["episodes"], item["avoidance"]
        known = ["", "", ""]
        if found is not None:
            known = [
                interval(found["balanced_accuracy"], 2),
                f"{100 * found['recall']:.0f} %", f"{100 * found['false_alarm_rate']:.1f} %",
            ]  # fmt: skip
        rows.append(
            (
                item["filter"], f"{round(count * item['failure']['mean'])} of {count}",
                "" if item["averted"] is None else points(item["averted"]),
                str(round(count * item["safe_success"]["mean"])), f"{100 * item['intervention']['mean']:.1f} %", *known,
            )
        )  # fmt: skip
    head = (
        "filter", "episodes in violation", "averted (points)", "reached without one", "ticks with an intervention",
        "balanced accuracy", "seen of what had to be seen", "ticks of false alarm",
    )  # fmt: skip
    return markdown(head, rows)


def learnt_unattended(report: dict[str, Any]) -> str:
    """Per family, what robots that learn gained over those that do not while they learnt."""
    rows = []
    for gain in report["against_frozen"]:
        if gain["arm"] != "learns":
            continue
        family, cells = gain["scenario"], ["", "", ""]
        own = {
            arm: [item for item in report["robots"] if item["arm"] == arm and family in (item["scenario"], "all")]
            for arm in ("frozen", gain["arm"])
        }
        if all(own.values()):
            reach, last = (
                ", ".join(f"{100 * _share(robots, span):.1f} %" for robots in own.values())
                for span in ("all", "last_third")
            )
            violated = ", ".join(str(sum(robot["all"]["violations"] for robot in robots)) for robots in own.values())
            cells = [reach, violated, last]
        rows.append(
            (family, f"{gain['tables']:,}", cells[0], points(gain["success"]), cells[1], points(gain["violated"]),
             cells[2], ", ".join(f"{100 * share:.1f} %" for share in gain["interventions"]))
        )  # fmt: skip
    head = (
        "family", "tables", "reach: without, with", "gained (points)", "episodes in violation: without, with",
        "gained (points)", "last third, reach: without, with", "ticks with an intervention: without, with",
    )  # fmt: skip
    return markdown(head, rows)


def _share(robots: Sequence[dict[str, Any]], span: str) -> float:
    """Of all episodes of some robots, those that reached their target."""
    counts = [robot[span]["episodes"] for robot in robots]
    return sum(n * robot[span]["success"]["mean"] for n, robot in zip(counts, robots, strict=True)) / sum(counts)


def ended_with(report: dict[str, Any]) -> str:
    """Per family, what those robots ended with beside what they began with."""
    rows = []
    for item in report["ended_with"]:
        if item["arm"] != "learns":
            continue
        reach, violated, steps = item["success"], item["violated"], item["steps"]
        rows.append(
            (
                item["scenario"], f"{item['tables']:,}", f"{100 * reach['first']:.1f} %, {100 * reach['last']:.1f} %",
                points(reach["gained"]),
                _in_violation(item), points(violated["gained"]), f"{steps['first']:.1f}, {steps['last']:.1f}",
            )
        )  # fmt: skip
    head = (
        "family", "tables", "reach: first, last", "gained (points)", "in violation: first, last", "gained (points)",
        "ticks to the end: first, last",
    )  # fmt: skip
    return markdown(head, rows)


def _in_violation(item: dict[str, Any]) -> str:
    """Of the tables that first and last bundle were driven on, how many with a violation."""
    return ", ".join(str(round(item["tables"] * item["violated"][name])) for name in ("first", "last"))


def learnt_together(report: dict[str, Any]) -> str:
    """Per family, what robots of several reports gained while learning, and with what they ended with."""
    found, rows = report["together"], []
    last = {item["scenario"]: item for item in found["ended_with"] if item["arm"] == "learns"}
    for item in found["against_frozen"]:
        after = last.get(item["scenario"])
        if item["arm"] != "learns" or after is None:
            continue
        rows.append(
            (item["scenario"], f"{item['tables']:,}", points(item["success"]), ", ".join(map(str, item["violations"])),
             points(item["violated"]), f"{after['tables']:,}", points(after["success"]["gained"]),
             _in_violation(after), points(after["violated"]["gained"]))
        )  # fmt: skip
    told = ("reach gained (points)", "in violation: without, with", "gained (points)")
    head = ("family", "tables", *told, "fresh tables, with what they ended with", *told)
    return markdown(head, rows)


def phases(report: dict[str, Any]) -> str:
    """What robots gained with bundles on probation, and with those that had passed it."""
    rows = []
    for item in report["by_phase"]:
        reach, steps = (", ".join(f"{100 * share:.1f} %" for share in item[key])
                        for key in ("success_share", "interventions"))  # fmt: skip
        violated = ", ".join(str(round(item["tables"] * share)) for share in item["violated_share"])
        rows.append((item["phase"], f"{item['tables']:,}", reach, points(item["success"]), violated,
                     points(item["violated"]), steps))  # fmt: skip
    head = ("driven by", "tables", "reach: without, with", "gained (points)", "episodes in violation: without, with",
            "gained (points)", "ticks with an intervention: without, with")  # fmt: skip
    return markdown(head, rows)


def without_the_gate(report: dict[str, Any]) -> str:
    """What swapping to whatever was learnt gained over the gate; one row where it refused something of every robot."""
    rows = []
    for item in {item["robots"]: item for item in report["beside_the_gate"]}.values():
        cells = []
        for phase in ("while_learning", "ended_with"):
            reach, violated = item[phase]["success"], item[phase]["violated"]
            counts = f"{violated['gate']}, {violated['no_gate']}"
            cells += [f"{item[phase]['tables']:,}", points(reach["gained"]), counts, points(violated["gained"])]
        rows.append((item["of"], str(item["robots"]), *cells))
    told = ("reach gained without (points)", "in violation: with, without", "gained without (points)")
    head = ("of robots", "", "tables", *told, "fresh tables, with what they ended with", *told)
    return markdown(head, rows)


def sabotaged(report: dict[str, Any]) -> str:
    """How much worse each sabotage made a bundle, and what stopped it."""
    rows = []
    for trial in report["trials"]:
        margin, cells = trial.get("margin"), ["", "", "", ""]
        if margin is not None:
            cells = []
            for key in ("success", "violation"):
                shares = (f"{100 * margin[name][key]:.0f} %" for name in ("running", "candidate"))
                cells += [", ".join(shares), points(margin["gained"][key])]
        rows.append((trial["sabotage"], *cells, _stopped_by(trial)))
    head = ("sabotage", "reach: before, after", "gained (points)", "in violation: before, after", "gained (points)",
            "what became of it")  # fmt: skip
    return markdown(head, rows)


def _stopped_by(trial: dict[str, Any]) -> str:
    if "steps_admitted" in trial:
        count = trial["steps_admitted"]
        told = f"{count} step{'s' * (count != 1)} admitted"
        if count:
            gained = trial["admitted_margin"]["gained"]
            told += f" (reach {points(gained['success'])}, violations {points(gained['violation'])})"
        return told if trial["admitted"] else f"{told}, the next {_failed(trial)}"
    if "draws" in trial:
        told = f"{trial['draws_admitted']} of {trial['draws']} admitted"
        gains = [item["gained"] for item in trial["margins_admitted"]]
        each = [f"reach {points(gain['success'])}, violations {points(gain['violation'])}" for gain in gains]
        return told + (f" ({'; '.join(each)})" if each else "")
    if not trial["admitted"]:
        return _failed(trial)
    lived = trial["probation"]["on_the_robot"]["episodes"]
    if trial["probation"]["passed"]:
        return f"admitted; passed its probation after {lived} episodes"
    return f"admitted; taken back after {lived} episodes" if trial["probation"]["taken_back"] else "admitted; undecided"


def _failed(trial: dict[str, Any]) -> str:
    """The checks that failed, without the origins; what the gate said where nothing was checked."""
    names = dict.fromkeys(name.partition(",")[0] for name in trial["checks_failed"])
    return f"refused: {', '.join(names)}" if names else "no candidate"


def averaged(report: dict[str, Any]) -> str:
    """What a learner's weights do beside their average, means over its updates."""
    driven: dict[str, list[dict[str, list[bool]]]] = {}
    for row in report["rows"]:
        driven.setdefault(row["of"], []).append(row["tables"])
    beside = {(item["of"], item["beside"]): item for item in report["compared"]}
    rows = []
    for name, of, than in (
        ("shipped agent", "shipped", ""), ("the weights", "weights", "shipped"),
        ("their average", "average", "shipped"), ("average beside weights", "", "weights"),
    ):  # fmt: skip
        cells = []
        for key in ("reached", "violated"):
            shares = [sum(tables[key]) / len(tables[key]) for tables in driven.get(of, [])]
            told = [f"{100 * sum(shares) / len(shares):.1f} %"] if shares else []
            cells.append(", ".join(told + ([points(beside[of or "average", than][key])] if than else [])))
        rows.append((name, *cells))
    return markdown(("", "reach, gained (points)", "in violation, gained (points)"), rows)


def swaps(report: dict[str, Any]) -> str:
    """What taking over another bundle costs the control loop, milliseconds from image to command."""
    rows = []
    for where in sorted(report):
        item = report[where]
        spans = (item["latency_ms"][span] for span in ("before_the_first", "from_then_on", "taking_over"))
        cells = (", ".join(f"{span[key]:.1f}" for key in ("p50", "p99", "max")) for span in spans)
        rows.append((where, str(item["swaps"]), f"{item['ticks']:,}", str(item["missed_deadlines"]["in_all"]), *cells))
    head = (
        "on", "swaps", "ticks", "deadlines missed", "before the first swap: median, p99, max", "from then on",
        "the tick that takes over",
    )  # fmt: skip
    return markdown(head, rows)


METHODS = {
    "frozen": "does not learn",
    "fosp": "fosp",
    "by-means": "fosp, acts by means",
    "no-expansion": "without expansion",
    "safedreamer": "safedreamer",
}


def _place(method: str) -> int:
    """Where a method stands among others: those that are not named here, such as further agents, come last."""
    return list(METHODS).index(method) if method in METHODS else len(METHODS)


def fine_tuned(report: dict[str, Any]) -> str:
    """Before, while and after fine-tuning, a row per family and method."""
    families = list(dict.fromkeys(row["family"] for row in report["summary"]))
    summary = sorted(report["summary"], key=lambda row: (families.index(row["family"]), _place(row["method"])))
    columns = [(key, phase) for phase in ("before", "while_learning", "after") for key in ("success", "violation")]
    said = {"success": "reach", "violation": "violating"}
    rows = [
        (
            row["family"], METHODS.get(row["method"], row["method"]), str(row["seeds"]),
            *(percent(row[f"{key}_{phase}"], unit="") for key, phase in columns),
            f"{row['cost_per_episode']['mean']:.1f}",
        )
        for row in summary
    ]  # fmt: skip
    heads = [f"{said[key]} {phase.replace('_', ' ')}" for key, phase in columns]
    return markdown(("family", "method", "robots", *heads, "cost per episode of learning"), rows)


def fine_tuned_against_frozen(report: dict[str, Any]) -> str:
    """Per method, what robots gained while they learnt over those that did not."""
    rows = [
        (METHODS.get(method, method), str(gain["robots"]), points(gain["success"]), points(gain["violation"]))
        for method, gain in sorted(report["against_frozen"].items(), key=lambda item: _place(item[0]))
    ]
    return markdown(("while learning", "robots", "reach", "episodes in violation"), rows)


def ablated(report: dict[str, Any]) -> str:
    """What a policy does that was learnt without a part of the method."""
    rows = [
        (
            row["variant"], str(row["seeds"]), percent(row["success"]), percent(row["violation"]),
            *(interval(row[key], 1) for key in ("cost", "return")),
        )
        for row in report["summary"]
    ]  # fmt: skip
    head = ("what is learnt", "training seeds", "reaches the target", "episodes in violation", "mean cost", "return")
    return markdown(head, rows)


@dataclass(frozen=True)
class Source:
    """Where a table's figures are."""

    result: str
    make: Callable[[Any], str]

    def table(self) -> str:
        """The table, made anew."""
        return self.make(json.loads((ROOT / self.result).read_text()))


_RESULTS = "experiments/results"
SOURCES = {
    "fresh": Source(f"{_RESULTS}/safereach-fresh.json", evaluation),
    "standard": Source(f"{_RESULTS}/safereach-standard.json", evaluation),
    "room": Source(f"{_RESULTS}/saferoom-standard.json", evaluation),
    "families": Source(f"{_RESULTS}/safereach-families.json", evaluation),
    "filters": Source(f"{_RESULTS}/filter_families.json", filters),
    "conformal": Source(f"{_RESULTS}/filter_conformal.json", conformal),
    "gate": Source(f"{_RESULTS}/gate_faults.json", gate_faults),
    "look-ahead": Source(f"{_RESULTS}/filter_lookahead.json", look_ahead),
    "answers": Source(f"{_RESULTS}/filter_answers.json", answers),
    "answers-fresh": Source(f"{_RESULTS}/filter_answers_fresh.json", answers),
    "look-ahead-in-charge": Source(f"{_RESULTS}/filter_lookahead_closed.json", look_ahead_in_charge),
    "look-ahead-more": Source(f"{_RESULTS}/filter_lookahead_more.json", look_ahead_in_charge),
    **{
        f"export-{agent.partition(',')[0]}": Source("benchmarks/results/export.json", partial(forms, agent=agent))
        for agent in ("nano, untrained", "small, untrained", "medium, untrained", "safereach-nano")
    },
    "learn-unattended": Source(f"{_RESULTS}/learn_unattended.json", learnt_unattended),
    "ended-with": Source(f"{_RESULTS}/learn_unattended.json", ended_with),
    "learn-unattended-taught": Source(f"{_RESULTS}/learn_unattended_taught.json", learnt_unattended),
    "phases": Source(f"{_RESULTS}/learn_unattended.json", phases),
    "learn-unattended-300": Source(f"{_RESULTS}/learn_unattended_300.json", learnt_unattended),
    "ended-with-300": Source(f"{_RESULTS}/learn_unattended_300.json", ended_with),
    "phases-300": Source(f"{_RESULTS}/learn_unattended_300.json", phases),
    "learnt-together": Source(f"{_RESULTS}/learn_unattended_300.json", learnt_together),
    "phases-tightened": Source(f"{_RESULTS}/learn_unattended_tightened.json", phases),
    "without-the-gate": Source(f"{_RESULTS}/learn_unattended_300.json", without_the_gate),
    "without-the-gate-before": Source(f"{_RESULTS}/learn_unattended.json", without_the_gate),
    "sabotage": Source(f"{_RESULTS}/sabotage.json", sabotaged),
    "averaged-weights": Source(f"{_RESULTS}/averaged_weights.json", averaged),
    "swaps": Source("benchmarks/results/swap.json", swaps),
    "ticks": Source("benchmarks/results/control_tick_long.json", ticks),
    "jitter": Source("benchmarks/results/jitter.json", punctuality),
    "fine-tuning": Source(f"{_RESULTS}/safereach-finetune.json", fine_tuned),
    "fine-tuning-gain": Source(f"{_RESULTS}/safereach-finetune.json", fine_tuned_against_frozen),
    "safety-gym": Source(f"{_RESULTS}/safety-gym-SafetyPointGoal1.json", safety_gym),
    "safety-gym-small": Source(f"{_RESULTS}/safety-gym-SafetyPointGoal1-small.json", safety_gym),
    "ablations": Source(f"{_RESULTS}/safereach-ablations.json", ablated),
}


def filled(text: str) -> str:
    """A page with every marked table made anew.

    Raises:
        KeyError: a mark that names no table.
    """
    return _MARKED.sub(lambda found: f"<!-- table: {found[1]} -->\n{SOURCES[found[1]].table()}", text)


def pages() -> list[Path]:
    """Where tables may be."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    stale = False
    for page in pages():
        text = page.read_text()
        if (now := filled(text)) != text:
            stale = True
            print(f"{page.relative_to(ROOT)} {'written' if options.write else 'is not what the results say'}")
            if options.write:
                write_atomically(page, now.encode())
    sys.exit(stale and not options.write)


if __name__ == "__main__":
    main()
