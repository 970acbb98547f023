"""The FOSP paper's figures for its five simulation tasks, and the table of ours beside them."""

from typing import Any

from experiments.markdown import markdown

Published = dict[str, tuple[float | None, float | None]]
PUBLISHED: dict[str, dict[str, Published]] = {
    "SafetyPointGoal1": {
        "offline": {"fosp": (18.2, 2.9), "safedreamer": (12.0, 1.7), "dreamerv3": (17.0, 83.0)},
        "online": {"fosp": (19.2, 2.0), "safedreamer": (20.3, 0.2)},
    },
    "SafetyPointButton1": {
        "offline": {"fosp": (12.3, 12.0), "safedreamer": (8.8, 16.0), "dreamerv3": (15.2, 165.0)},
        "online": {"fosp": (13.1, 2.7), "safedreamer": (9.2, 2.9)},
    },
    "SafetyCarGoal2": {
        "offline": {"fosp": (10.4, None), "safedreamer": (7.9, 1.7), "dreamerv3": (17.0, 239.0)},
        "online": {"fosp": (12.1, None), "safedreamer": (8.4, 1.4)},
    },
    "SafetyPointGoal2": {
        "offline": {"fosp": (8.6, 1.0), "safedreamer": (2.9, 4.0), "dreamerv3": (8.9, 363.0)},
        "online": {"fosp": (13.6, None), "safedreamer": (10.3, 0.6)},
    },
    "SafetyPointPush1": {
        "offline": {"fosp": (3.7, 17.0), "safedreamer": (1.6, 13.0), "dreamerv3": (1.0, 30.0)},
        "online": {"fosp": (15.3, 0.4), "safedreamer": (11.2, 0.5)},
    },
}
"""Return and cost read off the curves of the paper's project page, within about 0.2 and 1 to 5."""


def markdown_table(report: dict[str, Any]) -> str:
    """What an experiment found, beside the published figures; what was not measured or published is left empty."""
    task, rows, data = report["provenance"]["task"], report["summary"], report["data"]
    shown = [
        (f"script: {item['source']} ({item['episodes']} episodes)", "data", "", f"{item['return']:.1f}",
         f"{item['cost']:.1f}", "", "")
        for item in data
    ]  # fmt: skip
    for row in rows:
        found = (
            f"{row[key]['mean']:.1f} ({row[key]['low']:.1f} to {row[key]['high']:.1f})" for key in ("return", "cost")
        )
        published = PUBLISHED[task][row["phase"]].get(row["method"], (None, None))
        beside = ("" if value is None else f"{value:g}" for value in published)
        shown.append((row["method"], row["phase"], str(row["seeds"]), *found, *beside))
    head = ("who acts", "phase", "seeds", "return", "cost", "published return", "published cost")
    return markdown(head, shown)
