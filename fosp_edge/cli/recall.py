"""What an agent makes of a recorded episode: the gate asks it of several agents, with the same noise each time."""

import torch
from torch import nn

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.rssm import Latent
from fosp_edge.experience.schema import Steps
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.learner import Learner

_COLUMNS = ("image", "state", "action", "reward", "cost", "violation", "is_first", "is_terminal")


def batch_of(agent: Agent, steps: Steps) -> Batch:
    """One episode as a batch, where the agent is."""
    return Batch.from_numpy({name: steps[name][None] for name in _COLUMNS}, next(agent.parameters()).device)


@torch.no_grad()
def recall(agent: Agent, steps: Steps) -> Latent:
    """The agent's latent states in which something was decided, [T - 1, ...]: all rows but the last."""
    learner = Learner(agent)
    learner.generator.manual_seed(0)
    latents, _, _ = learner.observe(batch_of(agent, steps))
    return Latent(latents.deterministic[0, :-1], latents.stochastic[0, :-1])


class Recollection:
    """An agent, and what it made of the episodes that it was asked about, each recalled once."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self._recalled: list[tuple[Steps, Latent]] = []

    def of(self, steps: Steps) -> Latent:
        """As `recall`; the same episode, the object itself, is not computed again."""
        for known, latents in self._recalled:
            if known is steps:
                return latents
        self._recalled.append((steps, recall(self.agent, steps)))
        return self._recalled[-1][1]


def same_weights(mine: nn.Module, other: nn.Module) -> bool:
    """Whether two networks of the same shape are the same: a light candidate has the world model that it began with."""
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in mine.state_dict().items())
