"""Going on from an agent that was learnt offline: a learner whose offline policy is frozen and whose new one learns.

How `fosp-edge finetune` and the learner beside a running robot use it:

    config = fine_tuning_config(agent.config, scope="heads", updates=2_000)
    learner = begin_fine_tuning(agent, config, scalars)
    sampler = fine_tuning_sampler(learner, offline_sources, own_source)
    trainer = Trainer(learner, sampler, folder, notes=notes)
    trainer.resume()
    trainer.run(on_progress, stop)      # or trainer.step() and trainer.save() in a loop of one's own
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config
from fosp_edge.experience.episode import EpisodeInfo
from fosp_edge.experience.sampler import SequenceSampler
from fosp_edge.experience.source import EpisodeSource
from fosp_edge.learning.latents import LatentSampler, encoder_of
from fosp_edge.learning.learner import Learner
from fosp_edge.learning.own_experience import MixedSampler, OwnExperience, shares
from fosp_edge.learning.samplers import Sampler


def fine_tuning_config(base: Config, **changes: Any) -> Config:
    """An offline configuration without its stages: all that `scope` names learns from the first update."""
    stages: dict[str, Any] = {"behaviour_from": 0, "model_until": None, "critics_until": None}
    return replace(base, **(stages | changes))


def begin_fine_tuning(agent: Agent, config: Config, scalars: dict[str, Any] | None = None) -> Learner:
    """A learner that goes on from an agent; the agent given is not changed.

    Args:
        agent: learnt offline, or already fine-tuned: an online policy that is there goes on learning.
        config: from `fine_tuning_config`; sizes as the agent's. With `expansion`, the offline policy is frozen.
        scalars: multiplier and advantage scales of the offline training (`Learner.scalars`), if they are known.
    """
    weights = agent.state_dict()
    copied = Agent.with_parts_of(config, weights).to(next(agent.parameters()).device)
    copied.load_state_dict(weights)
    if config.expansion:
        copied.expand()
    learner = Learner(copied)
    if scalars is not None:
        learner.restore_scalars(scalars)
    return learner


def fine_tuning_sampler(
    learner: Learner,
    offline: Sequence[EpisodeSource],
    own: EpisodeSource,
    *,
    choose: Callable[[EpisodeInfo], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
    refresh_every: int = 50,
    memory_limit_bytes: int = 4 << 30,
    recorded: Sampler | None = None,
) -> MixedSampler:
    """Batches of offline data and own experience in the configured shares.

    Where the world model's latent states do not change (scopes `heads` and `behaviour`), they are computed once per
    episode and pictures are never followed again.

    Args:
        learner: its configuration decides the batches, its world model encodes.
        offline: the data that offline training used.
        own: where the robot's own episodes appear.
        choose: which episodes to take, of both; None takes all.
        progress: told how far reading the offline data has come.
        refresh_every: batches between two looks for new episodes.
        memory_limit_bytes: three quarters for the offline data, a quarter for own experience.
        recorded: what draws the offline half, if it is there already (`MixedSampler.offline` of an earlier fine-tuning
            from the same agent with the same shares); `offline` is not read then.

    Raises:
        StoreError: no offline episodes, damaged data, or more than the memory bound.
        ValueError: a batch that cannot be shared.
    """
    config = learner.config
    ours, theirs = shares(config.batch_size, config.offline_share)
    seed, length = config.seed, config.batch_length
    bound = 3 * memory_limit_bytes // 4
    told = progress or (lambda done, total: None)
    fixed = config.scope in ("heads", "behaviour")
    lived = OwnExperience(
        own, theirs, length, seed + 1,
        choose=choose,
        encode=encoder_of(learner.agent, seed + 1) if fixed else None,
        memory_limit_bytes=memory_limit_bytes - bound,
    )  # fmt: skip
    if recorded is not None:
        return MixedSampler(recorded, lived, refresh_every=refresh_every)
    if fixed:
        recorded = LatentSampler(
            offline, learner.agent, ours, length, seed, choose=choose or (lambda _: True), progress=told
        )
    else:
        recorded = SequenceSampler(offline, ours, length, seed, choose=choose, progress=told, memory_limit_bytes=bound)
    return MixedSampler(recorded, lived, refresh_every=refresh_every)
