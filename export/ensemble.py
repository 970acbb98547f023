"""A small ensemble that predicts the next picture's features: where its members disagree, the data say nothing.

The usual measure of a world model's own ignorance (Pathak et al. 2019; UNISafe, Seo et al. 2025, guards latent safety
filters with it). Here to compare our filter and gate with; evaluation in numpy is `fosp_edge.simulation.ensemble`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fosp_edge.agent.agent import Agent

Steps = dict[str, npt.NDArray[np.generic]]
MEMBERS, HIDDEN, TARGETS = 5, 128, 32
HELD_BACK = 5
"""Every fifth episode decides the threshold and is not learnt from."""


class Ensemble(nn.Module):
    """Independent two-layer networks side by side: latent state and action in, features of the next picture out."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(MEMBERS, inputs, HIDDEN) / inputs**0.5)
        self.first_bias = nn.Parameter(torch.zeros(MEMBERS, 1, HIDDEN))
        self.second = nn.Parameter(torch.randn(MEMBERS, HIDDEN, TARGETS) / HIDDEN**0.5)
        self.second_bias = nn.Parameter(torch.zeros(MEMBERS, 1, TARGETS))

    def forward(self, inputs: Tensor) -> Tensor:
        """[members, N, inputs] or [N, inputs] -> [members, N, TARGETS]."""
        hidden = nn.functional.silu(inputs @ self.first + self.first_bias)
        result: Tensor = hidden @ self.second + self.second_bias
        return result


def fit_ensemble(
    agent: Agent,
    episodes: Sequence[Steps],
    *,
    updates: int = 3000,
    seed: int = 0,
    share: float = 0.95,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, npt.NDArray[np.float32]]:
    """Learn from recorded transitions; returns the arrays that `fosp_edge.simulation.ensemble` reads.

    The threshold is the `share` quantile of the disagreement over episodes that were not learnt from.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pairs = [_transitions(agent, steps, generator) for steps in episodes]
    learnt = [pair for index, pair in enumerate(pairs) if index % HELD_BACK]
    held = [pair for index, pair in enumerate(pairs) if index % HELD_BACK == 0]
    if not learnt or not held:
        raise ValueError(f"the ensemble needs at least {HELD_BACK + 1} episodes, found {len(episodes)}")
    inputs, targets = torch.cat([pair[0] for pair in learnt]), torch.cat([pair[1] for pair in learnt])
    # The directions in which pictures differ most, each at unit variance.
    centre = targets.mean(0)
    _, values, directions = torch.pca_lowrank(targets - centre, TARGETS, center=False)
    projection = directions / (values / len(targets) ** 0.5).clamp(min=1e-6)
    targets = (targets - centre) @ projection
    ensemble = Ensemble(inputs.shape[1])
    optimiser = torch.optim.Adam(ensemble.parameters(), 1e-3)
    # Each member has data of its own (bootstrap): otherwise they differ by their beginnings alone.
    drawn = torch.randint(len(inputs), (MEMBERS, len(inputs)), generator=generator)
    for update in range(updates):
        rows = drawn[:, torch.randint(len(inputs), (128,), generator=generator)]
        loss = (ensemble(inputs[rows]) - targets[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        progress(update + 1, updates)
    with torch.no_grad():
        spread = ensemble(torch.cat([pair[0] for pair in held])).var(0).mean(-1)
        threshold = torch.quantile(spread, share).reshape(1)
    arrays = {name: value.detach() for name, value in ensemble.named_parameters()} | {"threshold": threshold}
    return {name: np.ascontiguousarray(value.numpy(), np.float32) for name, value in arrays.items()}


@torch.no_grad()
def _transitions(agent: Agent, steps: Steps, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Latent state and action of each tick, [T - 1, F + A], and the features of the next picture, [T - 1, E]."""
    images, states = torch.from_numpy(steps["image"]), torch.from_numpy(steps["state"])
    actions = torch.from_numpy(steps["action"])
    embedding = agent.world_model.encoder(images, states)
    previous = torch.cat([torch.zeros_like(actions[:1]), actions[:-1]])[None]
    latents, _, _ = agent.world_model.rssm.observe(
        embedding[None], previous, torch.from_numpy(steps["is_first"])[None], generator
    )
    return torch.cat([latents.features()[0, :-1], actions[:-1]], -1), embedding[1:]
