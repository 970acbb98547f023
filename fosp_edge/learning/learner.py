"""One update: world model, critics with reachability, policy. Offline, without any environment."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from fosp_edge.agent.agent import Agent, WorldModel
from fosp_edge.agent.config import Config
from fosp_edge.agent.distributions import categorical_kl, two_hot_loss
from fosp_edge.agent.features import Features
from fosp_edge.agent.rssm import Latent
from fosp_edge.learning import parallel
from fosp_edge.learning.actors import regression, through_imagination
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.critics import imagined_losses, in_sample_losses, reachability_loss
from fosp_edge.learning.graphs import Graphs
from fosp_edge.learning.imagination import imagine, imagine_through, starts
from fosp_edge.learning.objectives import PercentileRange, Readings, augmented_lagrangian, next_multiplier
from fosp_edge.learning.precision import lowered

Metrics = dict[str, float]

_CHECK = "check/"


class NotFiniteLossError(RuntimeError):
    """A loss or its gradient is not a finite number; the message names it."""


@dataclass
class Multiplier:
    """State of the augmented Lagrangian: scalars of 64 bits, for steps of a hundred-thousandth of themselves."""

    value: Tensor
    penalty: Tensor


@dataclass(frozen=True)
class Stage:
    """What an update consists of, at one point of the schedule."""

    model: str
    """What of the world model learns: a `Config.scope`; `behaviour` is nothing."""
    critics: bool
    policy: bool


class Learner:
    """Holds optimisers and scales, and turns batches into updates of an agent."""

    def __init__(self, agent: Agent) -> None:
        if strange := agent.config.trained_elsewhere:
            raise ValueError(
                f"this agent has another project's architecture ({', '.join(strange)}): it can be exported and "
                "driven, but not trained here"
            )
        self.agent, self.config = agent, agent.config
        config = agent.config
        self.device = next(agent.parameters()).device
        critics = agent.critics
        reach = [*critics.reach_action.parameters(), *critics.reach_state.parameters()]
        values = [
            parameter
            for head in (critics.reward_action, critics.reward_state, critics.cost_action, critics.cost_state)
            for parameter in head.parameters()
        ]
        policy = agent.learning_policy.parameters()
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            name: _adam(list(parameters), rate, epsilon, self.device)
            for name, parameters, rate, epsilon in (
                ("model", learning_parameters(agent.world_model, config.scope), config.model_learning_rate,
                 config.model_epsilon),
                ("values", values, config.critic_learning_rate, config.critic_epsilon),
                ("reach", reach, config.reachability_learning_rate, config.critic_epsilon),
                ("policy", policy, config.policy_learning_rate, config.critic_epsilon),
            )
        }  # fmt: skip
        self.multiplier = Multiplier(
            *torch.tensor([config.multiplier_start, config.penalty_start], dtype=torch.float64, device=self.device)
        )
        self.scales = {name: PercentileRange(device=self.device) for name in ("reward", "cost")}
        self.generator = torch.Generator(self.device).manual_seed(parallel.own_seed(config.seed))
        self._checks: Readings = {}
        rssm = agent.world_model.rssm
        self._observe_step, self._imagine_step = rssm.observe_step, rssm.imagine_step
        if config.compiled:
            self._observe_step = torch.compile(rssm.observe_step, dynamic=False)
            self._imagine_step = torch.compile(rssm.imagine_step, dynamic=False)
        self._learn: Callable[[Batch, Stage], Readings] = self._learn_now
        if self.device.type == "cuda" and config.cuda_graphs and parallel.count() == 1:
            self._learn = Graphs(self._learn_now, self.generator)

    def update(self, batch: Batch, number: int) -> Metrics:
        """Learn from one batch; returns what happened, as plain numbers.

        Args:
            batch: sequences of experience.
            number: how many updates were made before this one; decides what learns (`behaviour_from`, `model_until`).

        Raises:
            NotFiniteLossError: a loss or gradient is NaN or infinite; nothing of this part was applied.
        """
        stage = self._stage(number)
        if stage.model not in ("behaviour", "heads"):
            self._set_model_rate(number)
        readings = self._learn(batch, stage)
        numbers = dict(zip(readings, torch.stack([value.float() for value in readings.values()]).tolist(), strict=True))
        for name in [name for name in numbers if name.startswith(_CHECK)]:
            _refuse(name.removeprefix(_CHECK), numbers.pop(name))
        return parallel.average(numbers, self.device)

    def _stage(self, number: int) -> Stage:
        config = self.config
        learnt = config.model_until is not None and number >= config.model_until
        behaviour = number >= config.behaviour_from
        critics = behaviour and (config.critics_until is None or number < config.critics_until)
        return Stage("behaviour" if learnt else config.scope, critics, behaviour)

    def _learn_now(self, batch: Batch, stage: Stage) -> Readings:
        """One update, in which on a GPU nothing waits for a result: that is what lets `Graphs` record it."""
        self._checks = {}
        if stage.model == "behaviour":
            latents, metrics = self._follow(batch), Readings()
        elif stage.model == "heads":
            latents, metrics = self._update_heads(batch)
        else:
            latents, metrics = self._update_model(batch)
        if stage.critics:
            metrics |= self._update_critics(batch, latents)
        if stage.policy:
            metrics |= self._update_policy(batch, latents)
        return metrics | self._checks

    # -- world model ---------------------------------------------------------------------------------------------

    def _set_model_rate(self, number: int) -> None:
        config = self.config
        last = config.updates if config.model_until is None else config.model_until
        done = min(1.0, number / max(1, last))
        share = 1.0 - (1.0 - config.model_final_rate) * done
        group, rate = self.optimisers["model"].param_groups[0], config.model_learning_rate * share
        if isinstance(group["lr"], Tensor):  # in place, where a recorded update reads it
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

    def _update_model(self, batch: Batch) -> tuple[Latent, Readings]:
        with lowered(self.config.precision, self.device):
            latents, posterior, prior = self.observe(batch)
            losses = self.model_losses(batch, latents, posterior, prior)
        loss = torch.stack(list(losses.values())).sum()
        norm = self._apply("model", loss, self._model_parameters, self.config.model_clip)
        metrics = {f"model/{name}": value.detach() for name, value in losses.items()}
        return latents.detach(), metrics | {"model/gradient_norm": norm}

    def _update_heads(self, batch: Batch) -> tuple[Latent, Readings]:
        latents = self._follow(batch)
        with lowered(self.config.precision, self.device):
            losses = self._head_losses(batch, latents.read().flatten(0, 1))
        loss = torch.stack(list(losses.values())).sum()
        norm = self._apply("model", loss, self._model_parameters, self.config.model_clip)
        metrics = {f"model/{name}": value.detach() for name, value in losses.items()}
        return latents, metrics | {"model/gradient_norm": norm}

    @property
    def _model_parameters(self) -> list[nn.Parameter]:
        parameters: list[nn.Parameter] = self.optimisers["model"].param_groups[0]["params"]
        return parameters

    @torch.no_grad()
    def _follow(self, batch: Batch) -> Latent:
        with lowered(self.config.precision, self.device):
            return batch.latents or self.observe(batch)[0]

    def observe(self, batch: Batch) -> tuple[Latent, Tensor, Tensor]:
        """Latents of a batch, [B, T, ...], with posterior and prior log-probabilities."""
        model = self.agent.world_model
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.scope == "full"):
            embedding = model.encoder(batch.image.flatten(0, 1), batch.state.flatten(0, 1))
        embedding = embedding.unflatten(0, batch.is_first.shape)
        observed: tuple[Latent, Tensor, Tensor] = model.rssm.observe(
            embedding, batch.previous_action, batch.is_first, self.generator, self._observe_step
        )
        return observed

    def model_losses(self, batch: Batch, latents: Latent, posterior: Tensor, prior: Tensor) -> dict[str, Tensor]:
        """The terms of the world model's loss, each a scalar already weighted."""
        config, model = self.config, self.agent.world_model
        features = latents.read().flatten(0, 1)
        # Decoding is the dearest part: a random share of the frames gives the same gradient in expectation.
        count = max(1, round(config.decoded_share * features.shape[0]))
        chosen = torch.rand(features.shape[0], generator=self.generator, device=self.device).argsort()[:count]
        pictures, states = model.decoder(features[chosen])
        target = batch.image.flatten(0, 1)[chosen].float() / 255.0 - 0.5
        normalised = batch.state.flatten(0, 1)[chosen] - model.encoder.state_mean
        normalised = normalised / model.encoder.state_deviation
        dynamics = categorical_kl(posterior.detach(), prior).clamp(min=config.free_nats).mean()
        representation = categorical_kl(posterior, prior.detach()).clamp(min=config.free_nats).mean()
        return {
            "image": functional.mse_loss(pictures.permute(0, 2, 3, 1).float(), target, reduction="sum") / count,
            "state": (states - normalised).square().sum(-1).mean(),
            **self._head_losses(batch, features),
            "kl_dynamics": config.kl_dynamics * dynamics,
            "kl_representation": config.kl_representation * representation,
        }

    def _head_losses(self, batch: Batch, features: Features) -> dict[str, Tensor]:
        """Reward, cost and continuation of the states [B * T, F] of a batch."""
        model, violation = self.agent.world_model, batch.violation.flatten()
        weight = 1.0 + (self.config.violation_weight - 1.0) * (violation >= 1.0).float()
        going_on = 1.0 - batch.is_terminal.flatten().float()
        return {
            "reward": two_hot_loss(model.reward(features), batch.arrival_reward.flatten()).mean(),
            "cost": (weight * two_hot_loss(model.cost(features), violation)).mean(),
            "proceed": functional.binary_cross_entropy_with_logits(model.proceed(features).squeeze(-1), going_on),
        }

    # -- critics and reachability --------------------------------------------------------------------------------

    def _update_critics(self, batch: Batch, latents: Latent) -> Readings:
        agent, config = self.agent, self.config
        metrics: Readings = {}
        losses: dict[str, Tensor] = {}
        with lowered(config.precision, self.device):
            if config.in_sample:
                losses |= in_sample_losses(agent, batch, latents, metrics)
            learns = config.safety and config.reachability_learns
            reach_loss = reachability_loss(agent, batch, latents, metrics) if learns else None
            if config.horizon > 0:
                start = starts(batch, latents, config.imagination_starts, self.generator)
                losses |= imagined_losses(agent, imagine(agent, start, self.generator, self._imagine_step))
        self._apply(
            "values",
            torch.stack(list(losses.values())).sum(),
            self.optimisers["values"].param_groups[0]["params"],
            config.critic_clip,
        )
        if reach_loss is not None:
            self._apply("reach", reach_loss, self.optimisers["reach"].param_groups[0]["params"], config.critic_clip)
        agent.update_slow_critics()
        return metrics | {f"critic/{name}": value.detach() for name, value in losses.items()}

    # -- policy --------------------------------------------------------------------------------------------------

    def _update_policy(self, batch: Batch, latents: Latent) -> Readings:
        agent, config = self.agent, self.config
        metrics: Readings = {}
        with lowered(config.precision, self.device):
            if config.actor == "regression":
                objective = regression(agent, batch, latents, self.scales, metrics)
            else:
                start = starts(batch, latents, config.imagination_starts, self.generator)
                trajectory = imagine_through(agent, start, self.generator, self._imagine_step)
                objective = through_imagination(agent, trajectory, self.scales, metrics)
        loss, constraint, state = objective.loss, objective.constraint, self.multiplier
        if constraint is None:
            self._apply("policy", loss, agent.learning_policy.parameters(), config.critic_clip)
            return metrics
        constraint = parallel.shared_value(constraint)
        loss = loss + augmented_lagrangian(constraint, state.value, state.penalty).to(loss.dtype)
        self._apply("policy", loss, agent.learning_policy.parameters(), config.critic_clip)
        value, penalty = next_multiplier(constraint.detach(), state.value, state.penalty, config.penalty_growth)
        state.value.copy_(value)
        state.penalty.copy_(penalty)
        return metrics | {"policy/constraint": constraint.detach(), "policy/multiplier": state.value}

    # -- optimisation --------------------------------------------------------------------------------------------

    def _apply(self, name: str, loss: Tensor, parameters: Iterable[nn.Parameter], clip: float) -> Tensor:
        # What one process raises all must raise, or the rest wait for ever.
        self._check(f"the {name} loss", parallel.mean(loss.detach()))
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        parameters = list(parameters)
        # backward() lays gradients out like their parameters; autograd.grad() does not, and the fused optimiser would
        # then apply those of channels-last convolutions to the wrong weights without a word.
        torch.autograd.backward(loss, inputs=parameters)
        parallel.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, clip).detach()
        self._check(f"the {name} gradient's norm", norm)  # clipping turned the gradient into NaN: a step spoils it all
        if (
            norm.device.type != "cpu"
        ):  # nobody has looked yet; the fused optimiser leaves everything as it is where this is one
            optimiser.found_inf = (~(loss.detach() + norm).isfinite()).float()  # type: ignore[attr-defined]
        optimiser.step()
        return norm

    def _check(self, what: str, value: Tensor) -> None:
        """Refuse what is not a number; on a GPU once the update is over, and until then nothing is applied."""
        if value.device.type == "cpu":
            _refuse(what, float(value))
        else:
            self._checks[_CHECK + what] = value

    def scalars(self) -> dict[str, Any]:
        """The learner's own state beside tensors, for a checkpoint."""
        return {
            "multiplier": float(self.multiplier.value),
            "penalty": float(self.multiplier.penalty),
            "scales": {name: float(scale.value) for name, scale in self.scales.items()},
        }

    def restore_scalars(self, values: dict[str, Any]) -> None:
        """Take up the state given by `scalars`."""
        self.multiplier.value.fill_(float(values["multiplier"]))
        self.multiplier.penalty.fill_(float(values["penalty"]))
        for name, scale in self.scales.items():
            scale.value.fill_(float(values["scales"][name]))


def learning_parameters(model: WorldModel, scope: str) -> list[nn.Parameter]:
    """What of the world model an optimiser changes under a `Config.scope`."""
    heads = [model.reward, model.cost, model.proceed]
    parts: dict[str, list[nn.Module]] = {
        "full": [model],
        "recurrent": [model.rssm, model.decoder, *heads],
        "heads": list(heads),
        "behaviour": list(heads),  # an optimiser needs something to hold; it is never asked to step
    }
    return [parameter for part in parts[scope] for parameter in part.parameters()]


def _refuse(what: str, value: float) -> None:
    if not math.isfinite(value):
        raise NotFiniteLossError(f"{what} is {value}")


def _adam(
    parameters: list[nn.Parameter], learning_rate: float, epsilon: float, device: torch.device
) -> torch.optim.Optimizer:
    recorded = device.type == "cuda"
    rate = torch.tensor(learning_rate, device=device) if recorded else learning_rate
    return torch.optim.Adam(parameters, lr=rate, eps=epsilon, fused=True, capturable=recorded)


def make_learner(config: Config, device: torch.device) -> Learner:
    """A fresh agent and its learner; the seed decides the weights."""
    torch.manual_seed(config.seed)
    return Learner(Agent(config).to(device))
