"""The recurrent state with its categoricals as indices: transition, prior, sampling. Shared by step and imagination."""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from export.layers import Dense, GroupTable, linear_weight
from fosp_edge.agent.block_rssm import BlockRSSM
from fosp_edge.agent.config import Config
from fosp_edge.agent.distributions import bin_centres, symexp, symmetric_mean
from fosp_edge.agent.rssm import RSSM


class LatentStep(nn.Module):
    """What the RSSM computes, on class indices in place of one-hot rows."""

    @staticmethod
    def of(rssm: RSSM) -> "LatentStep":
        """The same recurrence as a trained RSSM."""
        return BlockLatentStep(rssm) if isinstance(rssm, BlockRSSM) else LatentStep(rssm)

    def __init__(self, rssm: RSSM) -> None:
        super().__init__()
        self.config = rssm.config
        self._lay_out(rssm)

    def _lay_out(self, rssm: RSSM) -> None:
        config = rssm.config
        self.input_table = GroupTable(linear_weight(rssm.input_stochastic).T, config.groups, config.classes)
        self.input_action = Dense.of(rssm.input_action)
        self.input_norm, self.gru_norm = rssm.input_norm, rssm.gru_norm
        self.gru = Dense.of(rssm.gru)

    def transition(self, deterministic: Tensor, stochastic: Tensor, action: Tensor) -> Tensor:
        """[N, D], class indices [N, G] and the action taken [N, A] -> the next h, [N, D]."""
        hidden = functional.silu(self.input_norm(self.input_table(stochastic) + self.input_action(action)))
        parts = self.gru_norm(self.gru(torch.cat([hidden, deterministic], -1)))
        reset, candidate, update = parts.chunk(3, -1)
        update = torch.sigmoid(update - 1.0)
        return update * torch.tanh(torch.sigmoid(reset) * candidate) + (1.0 - update) * deterministic

    def grid(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """[N, G * K] -> probabilities with the uniform share, and their logarithms, each [N, G, K]."""
        shaped = logits.reshape(-1, self.config.groups, self.config.classes)
        unimix = self.config.unimix
        probability = (1.0 - unimix) * torch.softmax(shaped, -1) + unimix / self.config.classes
        return probability, torch.log(probability)

    @staticmethod
    def sample(log_probability: Tensor, uniform: Tensor) -> Tensor:
        """Gumbel-max over given uniform numbers in (0, 1): class indices [N, G]."""
        return (log_probability - torch.log(-torch.log(uniform))).argmax(-1)


class BlockLatentStep(LatentStep):
    """The same for the block-diagonal recurrence."""

    def _lay_out(self, rssm: RSSM) -> None:
        assert isinstance(rssm, BlockRSSM)
        config, linear = rssm.config, rssm.input_latent[0]
        assert isinstance(linear, nn.Linear)
        self.table = GroupTable(linear.weight.T, config.groups, config.classes)
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())
        self.rest = nn.Sequential(*list(rssm.input_latent)[1:])
        self.recurrence = rssm

    def transition(self, deterministic: Tensor, stochastic: Tensor, action: Tensor) -> Tensor:
        """[N, D], class indices [N, G] and the action taken [N, A] -> the next h, [N, D]."""
        gathered = self.table(stochastic)
        projected = self.rest(gathered if self.bias is None else gathered + self.bias)
        return self.recurrence.advance(deterministic, projected, self.recurrence.input_action(action))


class TwoHotMean(nn.Module):
    """The value that two-hot logits stand for, [N, bins] -> [N]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.spread = config.bin_spacing == "symexp"
        self.centres: Tensor
        centres = bin_centres(config.bins)
        self.register_buffer("centres", symexp(centres) if self.spread else centres)

    def forward(self, logits: Tensor) -> Tensor:
        """Expected bin, or expected bin in symlog space, then symexp (ONNX has no expm1)."""
        probability = torch.softmax(logits, -1)
        if self.spread:
            return symmetric_mean(probability, self.centres)
        mean = (probability * self.centres).sum(-1)
        return torch.sign(mean) * (torch.exp(torch.abs(mean)) - 1.0)


class Reachability(nn.Module):
    """What a reachability head says, [N, 1 or bins] -> [N]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.value = TwoHotMean(config) if config.reachability_form == "two_hot" else None

    def rank(self, logits: Tensor) -> Tensor:
        """What grows with it and saturates nowhere: the logit, or the value before it is cut off; [N]."""
        return logits.squeeze(-1) if self.value is None else self.value(logits)

    def of_rank(self, rank: Tensor) -> Tensor:
        """A number from 0 to 1, [N] -> [N]."""
        return torch.sigmoid(rank) if self.value is None else rank.clamp(0.0, 1.0)

    def forward(self, logits: Tensor) -> Tensor:
        """A number from 0 to 1."""
        return self.of_rank(self.rank(logits))
