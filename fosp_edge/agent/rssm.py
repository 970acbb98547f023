"""The recurrent state-space model (Hafner et al. 2019, 2023): h deterministic, s a grid of categoricals.

Whatever does not depend on the recurrence (the projections of embeddings and actions, the prior head) is computed
for all time steps at once; only the remainder runs step by step. The mathematics is unchanged by that.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fosp_edge.agent.config import Config
from fosp_edge.agent.distributions import mixed_logits, open_uniform, sample_straight_through
from fosp_edge.agent.features import Features, one_hot_linear, read
from fosp_edge.agent.networks import dense, norm


@dataclass(frozen=True)
class Latent:
    """A batch of latent states."""

    deterministic: Tensor
    """h, shape [..., D]."""
    stochastic: Tensor
    """s as one-hot rows, shape [..., groups, classes]."""

    def features(self) -> Tensor:
        """h and s side by side, shape [..., D + groups * classes]."""
        return torch.cat([self.deterministic, self.stochastic.flatten(-2)], -1)

    def read(self) -> Features:
        """The same as heads read it: on a CPU without the zeros of s (`features.py`), on a GPU `features()`."""
        return read(self.deterministic, self.stochastic)

    def detach(self) -> "Latent":
        """The same without gradients."""
        return Latent(self.deterministic.detach(), self.stochastic.detach())


class RSSM(nn.Module):
    """Transition, prior and posterior of the latent state."""

    def __init__(self, config: Config, embedding_size: int) -> None:
        super().__init__()
        self.config = config
        width, stochastic = config.hidden, config.groups * config.classes
        self._make_recurrence()
        prior = dense(config.deterministic, width, config.prior_layers, config)
        self.prior = nn.Sequential(*prior, nn.Linear(width, stochastic))
        self.posterior_deterministic = nn.Linear(config.deterministic, width, bias=False)
        self.posterior_embedding = nn.Linear(embedding_size, width, bias=config.dense_bias)
        self.posterior_norm = norm(width, config)
        self.posterior_output = nn.Linear(width, stochastic)

    def _make_recurrence(self) -> None:
        """The modules that `_recur`, `input_action` and `initial` need."""
        config = self.config
        width, stochastic = config.hidden, config.groups * config.classes
        self.input_stochastic = nn.Linear(stochastic, width, bias=False)
        self.input_action: nn.Module = nn.Linear(config.action_size, width, bias=False)
        self.input_norm = norm(width, config)
        self.gru = nn.Linear(width + config.deterministic, 3 * config.deterministic, bias=False)
        self.gru_norm = norm(3 * config.deterministic, config)
        self.initial_deterministic = nn.Parameter(torch.zeros(config.deterministic))

    def grid(self, logits: Tensor) -> Tensor:
        """[..., groups * classes] -> log-probabilities [..., groups, classes] with the uniform share."""
        shaped = logits.reshape(*logits.shape[:-1], self.config.groups, self.config.classes)
        return mixed_logits(shaped, self.config.unimix)

    def initial(self, batch: int) -> Latent:
        """The learnt state before anything was seen: h through tanh, s the mode of its prior."""
        deterministic = torch.tanh(self.initial_deterministic).expand(batch, -1)
        log_probability = self.grid(self.prior(deterministic))
        mode = nn.functional.one_hot(log_probability.argmax(-1), self.config.classes).to(deterministic.dtype)
        return Latent(deterministic, mode)

    def transition(self, latent: Latent, action: Tensor) -> Tensor:
        """The next h, [N, D], from a latent state and the action taken in it, [N, A]."""
        return self._recur(latent, self.input_action(action))

    def _recur(self, latent: Latent, projected_action: Tensor) -> Tensor:
        mixed = self.input_norm(one_hot_linear(self.input_stochastic, latent.stochastic) + projected_action)
        hidden = nn.functional.silu(mixed)
        parts = self.gru_norm(self.gru(torch.cat([hidden, latent.deterministic], -1)))
        reset, candidate, update = parts.chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1.0)
        return update * candidate + (1.0 - update) * latent.deterministic

    def posterior(self, deterministic: Tensor, projected_embedding: Tensor) -> Tensor:
        """Log-probabilities [N, groups, classes] of s given h and the (already projected) embedding."""
        mixed = self.posterior_norm(self.posterior_deterministic(deterministic) + projected_embedding)
        return self.grid(self.posterior_output(nn.functional.silu(mixed)))

    def observe(
        self,
        embedding: Tensor,
        previous_action: Tensor,
        is_first: Tensor,
        generator: torch.Generator | None = None,
        step: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None,
    ) -> tuple[Latent, Tensor, Tensor]:
        """Follow sequences; returns latents [B, T, ...] and posterior and prior log-probabilities.

        Args:
            embedding: [B, T, E].
            previous_action: [B, T, A], the action that led to each step.
            is_first: bool [B, T]; the state is reset there and the previous action ignored.
            generator: source of the sampling noise.
            step: `observe_step`, or what was compiled from it.
        """
        step = step or self.observe_step
        batch, length = is_first.shape
        first = is_first.unsqueeze(-1).to(embedding.dtype)
        actions = self.input_action(previous_action * (1.0 - first))
        embedded = self.posterior_embedding(embedding)
        noise = open_uniform((length, batch, self.config.groups, self.config.classes), embedding.device, generator)
        start = self.initial(batch)
        latent = start
        deterministics, stochastics, posteriors = [], [], []
        for row in range(length):
            reset = is_first[:, row, None]
            if reset.device.type != "cpu" or bool(reset.any()):  # on a GPU, to look costs more than to do
                latent = Latent(
                    torch.where(reset, start.deterministic, latent.deterministic),
                    torch.where(reset.unsqueeze(-1), start.stochastic, latent.stochastic),
                )
            deterministic, stochastic, posterior = step(
                latent.deterministic, latent.stochastic, actions[:, row], embedded[:, row], noise[row]
            )
            latent = Latent(deterministic, stochastic)
            deterministics.append(deterministic)
            stochastics.append(stochastic)
            posteriors.append(posterior)
        latents = Latent(torch.stack(deterministics, 1), torch.stack(stochastics, 1))
        return latents, torch.stack(posteriors, 1), self.grid(self.prior(latents.deterministic))

    def observe_step(
        self, deterministic: Tensor, stochastic: Tensor, action: Tensor, embedded: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The next h and s and the posterior they come from; action and embedding already projected."""
        following = self._recur(Latent(deterministic, stochastic), action)
        posterior = self.posterior(following, embedded)
        return following, sample_straight_through(posterior, noise), posterior

    def imagine(
        self,
        latent: Latent,
        action: Tensor,
        generator: torch.Generator | None = None,
        step: Callable[..., tuple[Tensor, Tensor]] | None = None,
    ) -> Latent:
        """One step without observation: the next latent state sampled from the prior.

        `step` is `imagine_step`, or what was compiled from it.
        """
        shape = (len(action), self.config.groups, self.config.classes)
        noise = open_uniform(shape, action.device, generator)
        return Latent(*(step or self.imagine_step)(latent.deterministic, latent.stochastic, action, noise))

    def imagine_step(
        self, deterministic: Tensor, stochastic: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next h and s, from the prior."""
        following = self.transition(Latent(deterministic, stochastic), action)
        return following, sample_straight_through(self.grid(self.prior(following)), noise)
