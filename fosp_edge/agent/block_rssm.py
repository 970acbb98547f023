"""The recurrence of DreamerV3 as of 2024 (danijar/dreamerv3, r2dreamer): block-diagonal, and starting from zeros.

h is cut into blocks. Each sees its own part of h and all of what comes in, so that a wide h costs little.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from fosp_edge.agent.networks import dense, norm
from fosp_edge.agent.rssm import RSSM, Latent


class BlockLinear(nn.Module):
    """A linear map per block: [..., blocks * in] -> [..., blocks * out]."""

    def __init__(self, blocks: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(blocks, inputs, outputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(blocks, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[N, blocks, in] -> [N, blocks, out]."""
        return (x.unsqueeze(-2) @ self.weight).squeeze(-2) + self.bias


class BlockRSSM(RSSM):
    """The RSSM with the block-diagonal recurrence; prior and posterior are the RSSM's."""

    def _make_recurrence(self) -> None:
        config, width, blocks = self.config, self.config.hidden, self.config.blocks
        own = config.deterministic // blocks
        self.input_action = nn.Sequential(*dense(config.action_size, width, 1, config))
        self.input_latent = nn.Sequential(*dense(config.groups * config.classes, width, 1, config))
        self.input_deterministic = nn.Sequential(*dense(config.deterministic, width, 1, config))
        self.block_hidden = BlockLinear(blocks, own + 3 * width, own)
        self.block_norm = norm(config.deterministic, config)
        self.block_gates = BlockLinear(blocks, own, 3 * own)

    def initial(self, batch: int) -> Latent:
        """Zeros: h, and s without any class chosen."""
        config, zeros = self.config, self.block_gates.bias.new_zeros
        return Latent(zeros(batch, config.deterministic), zeros(batch, config.groups, config.classes))

    def _recur(self, latent: Latent, projected_action: Tensor) -> Tensor:
        return self.advance(latent.deterministic, self.input_latent(latent.stochastic.flatten(-2)), projected_action)

    def advance(self, deterministic: Tensor, projected_latent: Tensor, projected_action: Tensor) -> Tensor:
        """[N, D] and the projections of s and action, each [N, hidden] -> the next h."""
        blocks = self.config.blocks
        incoming = torch.cat([self.input_deterministic(deterministic), projected_latent, projected_action], -1)
        own = deterministic.reshape(-1, blocks, self.config.deterministic // blocks)
        joined = torch.cat([own, incoming.unsqueeze(-2).expand(-1, blocks, -1)], -1)
        hidden = functional.silu(self.block_norm(self.block_hidden(joined).flatten(-2)))
        reset, candidate, update = self.block_gates(hidden.reshape(own.shape)).chunk(3, -1)
        update = torch.sigmoid(update - 1.0)
        return (update * torch.tanh(torch.sigmoid(reset) * candidate) + (1.0 - update) * own).flatten(-2)
