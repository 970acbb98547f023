import numpy as np
import torch

from fosp_edge.agent.agent import Agent
from fosp_edge.experience.episode import EpisodeInfo, EpisodeSummary, Recording
from fosp_edge.experience.schema import Steps
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.latents import LatentSampler
from fosp_edge.learning.learner import Learner
from tests.agent.sizes import tiny_config
from tests.experience.episodes import RECORDING, make_header, make_steps


class Episodes:
    """Three episodes of different lengths, held in memory."""

    def __init__(self) -> None:
        self.steps = {str(mark): make_steps(rows, mark=mark, size_px=64) for mark, rows in enumerate((9, 14, 11))}

    @property
    def header(self) -> Recording:
        return RECORDING

    def episodes(self) -> list[EpisodeInfo]:
        return [
            EpisodeInfo(name, make_header(seed=int(name)), EpisodeSummary().extended(steps))
            for name, steps in self.steps.items()
        ]

    def read(self, episode_id: str) -> Steps:
        return self.steps[episode_id]


def make_sampler(seed: int = 0) -> tuple[LatentSampler, Agent]:
    torch.manual_seed(0)
    agent = Agent(tiny_config(image_channels=6, state_size=4, batch_length=5))
    told: list[tuple[int, int]] = []
    sampler = LatentSampler(
        [Episodes()], agent, 3, 5, seed, choose=lambda _: True, progress=lambda *done: told.append(done)
    )
    assert told[-1] == (3, 3)
    return sampler, agent


def test_the_deterministic_state_of_the_first_row_does_not_depend_on_noise_or_neighbours() -> None:
    sampler, agent = make_sampler()
    steps = Episodes().read("1")
    rssm = agent.world_model.rssm
    with torch.no_grad():
        expected = rssm.transition(rssm.initial(1), torch.zeros(1, 3))[0].numpy()
    first = sampler._columns["deterministic"][sampler._columns["is_first"]]
    assert first.shape[0] == 3
    np.testing.assert_allclose(first, np.broadcast_to(expected, first.shape), atol=1e-6)
    assert sampler.rows == 9 + 14 + 11 and len(steps["reward"]) == 14


def test_following_side_by_side_equals_following_alone() -> None:
    # The second h depends on the first s, whose noise differs; with h as the only input it must agree exactly.
    _, agent = make_sampler()
    steps = Episodes().read("0")
    with torch.no_grad():
        alone = agent.world_model.encoder(torch.from_numpy(steps["image"]), torch.from_numpy(steps["state"]))
        together = agent.world_model.encoder(
            torch.from_numpy(np.concatenate([steps["image"], steps["image"]])),
            torch.from_numpy(np.concatenate([steps["state"], steps["state"]])),
        )
    np.testing.assert_allclose(together[:9].numpy(), alone.numpy(), atol=1e-5)


def test_windows_are_consecutive_rows_and_seams_are_marked() -> None:
    sampler, _ = make_sampler()
    for _ in range(20):
        batch = sampler.sample()
        follows = np.diff(batch["reward"], axis=1) == 1
        assert np.array_equal(~follows, batch["is_first"][:, 1:])


def test_state_draws_the_same_batches_again() -> None:
    sampler, _ = make_sampler()
    state = sampler.state()
    expected = sampler.sample()
    sampler.restore(state)
    for name, values in sampler.sample().items():
        np.testing.assert_array_equal(values, expected[name])


def test_behaviour_learns_from_latents_and_critics_stop_when_told() -> None:
    sampler, agent = make_sampler()
    config = tiny_config(
        image_channels=6, state_size=4, batch_length=5, model_until=0, behaviour_from=0, critics_until=1
    )
    learner = Learner(Agent(config))
    learner.agent.world_model.load_state_dict(agent.world_model.state_dict())
    batch = Batch.from_numpy(sampler.sample(), torch.device("cpu"), config.classes)
    assert batch.latents is not None and batch.latents.stochastic.sum(-1).eq(1).all()

    def snapshot(module: torch.nn.Module) -> list[torch.Tensor]:
        return [value.detach().clone() for value in module.parameters()]

    model = snapshot(learner.agent.world_model)
    assert any(name.startswith("critic/") for name in learner.update(batch, 0))
    critics, policy = snapshot(learner.agent.critics), snapshot(learner.agent.policy)
    assert not any(name.startswith("critic/") for name in learner.update(batch, 1))
    assert all(map(torch.equal, critics, snapshot(learner.agent.critics)))
    assert all(map(torch.equal, model, snapshot(learner.agent.world_model)))
    assert not all(map(torch.equal, policy, snapshot(learner.agent.policy)))
