"""The recurrent state with its categoricals as indices: transition, prior, sampling. Shared by step and imagination."""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from export.layers import Dense, GroupTable, linear_weight
from fosp_edge.agent.rssm import RSSM


class LatentStep(nn.Module):
    """What the RSSM computes, on class indices in place of one-hot rows."""

    def __init__(self, rssm: RSSM) -> None:
        super().__init__()
        config = rssm.config
        self.config = config
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


class TwoHotMean(nn.Module):
    """The value that two-hot logits stand for, [N, bins] -> [N]."""

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        self.centres: Tensor
        self.register_buffer("centres", centres.clone())

    def forward(self, logits: Tensor) -> Tensor:
        """Expected bin in symlog space, then symexp (ONNX has no expm1)."""
        mean = (torch.softmax(logits, -1) * self.centres).sum(-1)
        return torch.sign(mean) * (torch.exp(torch.abs(mean)) - 1.0)
