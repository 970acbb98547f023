"""What the graph proposes at each tick: the rows of its candidates, by name, and the policies they come from."""

from dataclasses import dataclass

from fosp_edge.agent.agent import Agent, Policy

SAMPLES = 6
"""Samples of the policies among the candidates."""
SEARCH_DEVIATION = 0.3
"""Spread of the samples around the least reachable proposal, in the search for `least-harm`."""


def policies_of(agent: Agent) -> dict[str, Policy]:
    """The policies of an agent by name: one, or the frozen offline one beside the online one that learns."""
    online = agent.online_policy
    return {"policy": agent.policy} if online is None else {"offline": agent.policy, "online": online}


@dataclass(frozen=True)
class Candidates:
    """The rows in their order.

    Row 0, `policy`, is what the robot does if the filter lets it. With several policies it repeats the mean of the one
    that is most probable under safe policy expansion, hence the one with the largest Q_r - 0.1 Q_c (the weight is the
    configuration's), and each policy's own mean follows. Learning draws between them; a robot does what is best.
    """

    policies: tuple[str, ...]
    samples: int = SAMPLES
    search: bool = False
    """Add the row `least-harm`: one generation of a gradient-free search, the least reachable of as many samples around
    the least reachable proposal of the policies. It scores more actions, and finds the critic's errors as well
    as safety: off unless asked for."""

    @staticmethod
    def of(agent: Agent, *, search: bool = False) -> "Candidates":
        """The rows that an agent's graph has."""
        names = tuple(policies_of(agent))
        # As many rows whatever the policies: one bundle can then follow another while the robot moves and records.
        return Candidates(names, SAMPLES if len(names) == 1 else SAMPLES - len(names), search)

    @property
    def names(self) -> tuple[str, ...]:
        """What stands in each row."""
        means = ("policy",) if len(self.policies) == 1 else ("policy", *self.policies)
        samples = tuple(f"sample-{index}" for index in range(1, self.samples + 1))
        return (*means, *samples, "hold", "retreat", *(("least-harm",) if self.search else ()))

    @property
    def sources(self) -> tuple[int, ...]:
        """The policy that each sample is drawn from: shared out evenly, in the policies' order."""
        return tuple(index * len(self.policies) // self.samples for index in range(self.samples))
