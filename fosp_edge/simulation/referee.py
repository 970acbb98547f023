"""Who lays the simulated table or room and says how it went: the bookkeeping around the plant, without any wires."""

from dataclasses import dataclass, replace

import numpy as np

from fosp_edge.robots.arm import DESKTOP_ARM, ArmDescription
from fosp_edge.robots.base import Judgement
from fosp_edge.robots.mobile_base import BaseDescription
from fosp_edge.simulation.base_plant import BasePlant
from fosp_edge.simulation.layout import make_layout
from fosp_edge.simulation.plant import ArmPlant, Outcome
from fosp_edge.simulation.task import judge_step


@dataclass
class Episode:
    """One table or room, the robot in it, and what was last judged."""

    plant: ArmPlant | BasePlant
    before: Outcome
    step: int = 0

    def judge(self) -> Judgement:
        """What happened since the last call, by the task's one rule; each call counts as one step."""
        self.step += 1
        after = self.plant.judge()
        judgement = judge_step(self.before, after, self.step, size=self.plant.size)
        self.before = after
        return judgement


def lay_table(scenario: str, seed: int, moved: ArmDescription | BaseDescription = DESKTOP_ARM) -> Episode:
    """A new table with the arm at its start, at rest, or a room with a base in it. Takes tens of milliseconds.

    The tables are laid out for the desktop arm's reach. Another arm starts at its home, with the target for scenery and
    no boxes in its way.

    Raises:
        ValueError: unknown scenario.
    """
    layout = make_layout(scenario, seed)
    if isinstance(moved, BaseDescription):
        plant: ArmPlant | BasePlant = BasePlant(layout, moved)
    elif moved is DESKTOP_ARM:
        plant = ArmPlant(layout, moved)
    else:
        plant = ArmPlant(replace(layout, obstacles=()), moved, start_rad=np.array(moved.home_rad))
    return Episode(plant, plant.judge())
