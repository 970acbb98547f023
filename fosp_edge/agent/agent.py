"""The whole agent: world model, critics, reachability function and policy."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fosp_edge.agent.block_rssm import BlockRSSM
from fosp_edge.agent.config import Config
from fosp_edge.agent.distributions import two_hot_mean
from fosp_edge.agent.features import Features
from fosp_edge.agent.networks import Decoder, Encoder, Head
from fosp_edge.agent.rssm import RSSM


class WorldModel(nn.Module):
    """Encoder, recurrent state, decoder and the heads for reward, cost and continuation."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.rssm = (BlockRSSM if config.recurrence == "block_gru" else RSSM)(config, self.encoder.output_size)
        self.decoder: Decoder
        if config.has_decoder:
            self.decoder = Decoder(config)
        layers = config.model_head_layers
        self.reward = Head(config.feature_size, config.bins, config, zero=True, layers=layers)
        if "cost" in config.unknown:
            self.cost: Head = _unknown(config.feature_size, config.bins, config)
        else:
            self.cost = Head(config.feature_size, config.bins, config, zero=True, layers=layers)
        self.proceed = Head(config.feature_size, 1, config, layers=layers)
        """Logit of the episode going on from here."""


UNKNOWN_LOGIT = 40.0
"""Its sigmoid is 1 in float32."""


def _unknown(inputs: int, outputs: int, config: Config) -> Head:
    """A head that says the same of everything: what an agent has in place of what it was never given.

    Two units wide: onnxruntime 1.23, the newest for Python 3.10, refuses to normalise a layer of one.
    """
    return Head(inputs, outputs, config, zero=True, layers=1, width=2)


def reachability(logits: Tensor, config: Config) -> Tensor:
    """What a reachability head says, as a number from 0 to 1; [..., 1 or bins] -> [...]."""
    if config.reachability_form == "two_hot":
        return two_hot_mean(logits, config.bin_spacing).clamp(0.0, 1.0)
    return torch.sigmoid(logits.squeeze(-1))


class Critics(nn.Module):
    """Action values and state values of reward, cost and reachability, trained on the data's own actions.

    Reachability has an action form, `reach_action` = the probability (logit) that the best known behaviour after
    this action will still violate the constraint, beside the state form p(z) of the paper. The state form is the
    lower expectile of the action form over the data's actions, as V_c is of Q_c: "the best available behaviour" is
    then learnt without evaluating an action outside the data, and the safety filter can score each candidate.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        state, pair = config.feature_size, config.feature_size + config.action_size

        def head(name: str, inputs: int, outputs: int) -> Head:
            if name in config.unknown:
                return _unknown(inputs, outputs, config)
            return Head(inputs, outputs, config, zero=True)

        self.reward_action = head("reward_action", pair, config.bins)
        self.cost_action = head("cost_action", pair, config.bins)
        self.reward_state = head("reward_state", state, config.bins)
        self.cost_state = head("cost_state", state, config.bins)
        reach = config.bins if config.reachability_form == "two_hot" else 1
        self.reach_action = head("reach_action", pair, reach)
        self.reach_state = head("reach_state", state, reach)
        # Begin with "hardly ever" and let observed violations raise it. From one half it would have to decay by
        # itself, by a factor gamma_p per backup, wherever episodes end without a verdict: thousands of updates.
        # A reachability function that nobody trained reads 1 for ever: whatever is done, a violation follows.
        if config.reachability_form == "logit":
            for name, reachability in (("reach_action", self.reach_action), ("reach_state", self.reach_state)):
                nn.init.constant_(reachability.output.bias, UNKNOWN_LOGIT if name in config.unknown else -4.0)
        else:
            for name, reachability in (("reach_action", self.reach_action), ("reach_state", self.reach_state)):
                if name in config.unknown:
                    nn.init.constant_(reachability.output.bias[-1:], UNKNOWN_LOGIT)


class Policy(nn.Module):
    """Gaussian with a tanh mean and a bounded standard deviation."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.head = Head(config.feature_size, 2 * config.action_size, config)
        self._low, self._high = config.minimum_deviation, config.maximum_deviation

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, each [..., A]."""
        mean, deviation = self.head(features).chunk(2, -1)
        return torch.tanh(mean), self._low + (self._high - self._low) * torch.sigmoid(deviation + 2.0)


def log_density(mean: Tensor, deviation: Tensor, action: Tensor) -> Tensor:
    """Log-density of an action under a diagonal Gaussian, summed over components; [..., A] -> [...]."""
    normalised = (action - mean) / deviation
    return (-0.5 * normalised**2 - torch.log(deviation) - 0.9189385332046727).sum(-1)


class Agent(nn.Module):
    """Everything that is learnt, and the slow copies that learning needs.

    `policy` is what offline training gave. Once `expand` was called, it is frozen and `online_policy` learns beside it
    (safe policy expansion, FOSP section 4.3; Zhang et al., ICLR 2023).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.world_model = WorldModel(config)
        self.critics = Critics(config)
        self.slow_critics = copy.deepcopy(self.critics)
        self.slow_critics.requires_grad_(False)
        self.policy = Policy(config)
        self.online_policy: Policy | None = None

    @staticmethod
    def with_parts_of(config: Config, names: Iterable[str]) -> "Agent":
        """An agent that has the parts that weights of these names need: an online policy only if they have one."""
        agent = Agent(config)
        if any(name.startswith("online_policy.") for name in names):
            agent.expand()
        return agent

    def expand(self) -> None:
        """Freeze the policy and put a new one with its own parameters, initialised from it, beside it; once only."""
        self.policy.requires_grad_(False)
        if self.online_policy is None:
            self.online_policy = copy.deepcopy(self.policy)
            self.online_policy.requires_grad_(True)

    @property
    def policies(self) -> tuple[Policy, ...]:
        """All policies that propose actions: the offline one, and the online one if there is one."""
        return (self.policy,) if self.online_policy is None else (self.policy, self.online_policy)

    @property
    def learning_policy(self) -> Policy:
        """The policy that updates change: the online one if there is one."""
        return self.policies[-1]

    @torch.no_grad()
    def update_slow_critics(self) -> None:
        """Move the slow copies towards the critics by `config.slow_rate`."""
        for slow, fast in zip(self.slow_critics.parameters(), self.critics.parameters(), strict=True):
            slow.lerp_(fast, self.config.slow_rate)
