"""Losses of the critics and of the reachability function, each a scalar, by name."""

import torch
import torch.nn.functional as functional
from torch import Tensor

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.distributions import two_hot_loss, two_hot_mean
from fosp_edge.agent.features import beside
from fosp_edge.agent.rssm import Latent
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.imagination import Trajectory, imagined_return
from fosp_edge.learning.objectives import Readings, expectile_weight, masked_mean, reachability_target


def signals(agent: Agent) -> tuple[str, ...]:
    """What returns are learnt of: reward, and with safety cost."""
    return ("reward", "cost") if agent.config.safety else ("reward",)


def in_sample_losses(agent: Agent, batch: Batch, latents: Latent, metrics: Readings) -> dict[str, Tensor]:
    """Q to one-step targets of the data's own actions, V to an expectile of Q over them; no other action is asked."""
    config, critics, slow = agent.config, agent.critics, agent.slow_critics
    features = latents.read()
    here, after = features[:, :-1], features[:, 1:]
    pair, mask = beside(here, batch.action[:, :-1]), batch.has_successor.float()
    discount = config.discount * (1.0 - batch.is_terminal[:, 1:].float())
    losses: dict[str, Tensor] = {}
    for name in signals(agent):
        action_head, state_head = getattr(critics, f"{name}_action"), getattr(critics, f"{name}_state")
        with torch.no_grad():
            target = getattr(batch, name)[:, :-1] + discount * two_hot_mean(state_head(after))
            slow_value = two_hot_mean(getattr(slow, f"{name}_action")(pair))
        logits, state_logits = action_head(pair), state_head(here)
        losses[f"{name}_action"] = masked_mean(two_hot_loss(logits, target), mask)
        losses[f"{name}_slow"] = config.slow_regulariser * masked_mean(two_hot_loss(logits, slow_value), mask)
        difference = slow_value - two_hot_mean(state_logits).detach()
        weight = expectile_weight(difference, getattr(config, f"{name}_expectile"))
        losses[f"{name}_state"] = masked_mean(weight * two_hot_loss(state_logits, slow_value), mask)
        metrics[f"critic/{name}_mean"] = masked_mean(slow_value, mask)
    return losses


def imagined_losses(agent: Agent, trajectory: Trajectory) -> dict[str, Tensor]:
    """Q to the lambda-return of what the policies would do; without in-sample critics V too, as in DreamerV3."""
    config, critics, slow = agent.config, agent.critics, agent.slow_critics
    losses: dict[str, Tensor] = {}
    for name in signals(agent):
        with torch.no_grad():
            target = imagined_return(agent, trajectory, name)
        logits = getattr(critics, f"{name}_action")(trajectory.pair)
        losses[f"{name}_imagined"] = masked_mean(two_hot_loss(logits, target), trajectory.weight)
        if config.in_sample:
            continue
        state_logits = getattr(critics, f"{name}_state")(trajectory.here)
        with torch.no_grad():
            slow_value = two_hot_mean(getattr(slow, f"{name}_state")(trajectory.here))
            difference = target - two_hot_mean(state_logits)
        weight = expectile_weight(difference, getattr(config, f"{name}_expectile"))
        losses[f"{name}_state"] = masked_mean(weight * two_hot_loss(state_logits, target), trajectory.weight)
        losses[f"{name}_slow"] = config.slow_regulariser * masked_mean(
            two_hot_loss(state_logits, slow_value), trajectory.weight
        )
    return losses


def reachability_loss(agent: Agent, batch: Batch, latents: Latent, metrics: Readings) -> Tensor:
    """Action form: to `max(1[violation], gamma_p p(z'))`; state form: to a lower expectile of it over the data."""
    config, critics, slow = agent.config, agent.critics, agent.slow_critics
    features = latents.read()
    here, after = features[:, :-1], features[:, 1:]
    pair, mask = beside(here, batch.action[:, :-1]), batch.has_successor.float()
    with torch.no_grad():
        ahead = torch.sigmoid(slow.reach_state(after).squeeze(-1))
        violation = batch.violation
        if not config.reachability_grounded:
            violation = (slow.reach_state(features).squeeze(-1) > 0.0).float()
        following = ahead * (1.0 - batch.is_terminal[:, 1:].float())
        target = reachability_target(violation[:, 1:], following, config.reachability_discount)
        slow_reach = torch.sigmoid(slow.reach_action(pair).squeeze(-1))
        own = torch.maximum(violation[:, :-1], slow_reach)
    action_logit, state_logit = critics.reach_action(pair).squeeze(-1), critics.reach_state(here).squeeze(-1)
    weight = expectile_weight(own - torch.sigmoid(state_logit).detach(), config.reachability_expectile)
    loss = masked_mean(_cross_entropy(action_logit, target), mask) + masked_mean(
        weight * _cross_entropy(state_logit, own), mask
    )
    metrics["critic/reachability_mean"] = masked_mean(slow_reach, mask)
    metrics["critic/reachability_loss"] = loss.detach()
    return loss


def _cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logit, target, reduction="none")
