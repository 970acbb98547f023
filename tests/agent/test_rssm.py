"""The recurrent state: sequences at once against one step at a time, and what a reset forgets."""

import torch

from fosp_edge.agent.distributions import open_uniform, sample_straight_through
from fosp_edge.agent.rssm import RSSM, Latent
from tests.agent.sizes import tiny_config

EMBEDDING = 11
BATCH, LENGTH = 3, 7


def make_rssm() -> RSSM:
    torch.manual_seed(0)
    rssm = RSSM(tiny_config(), EMBEDDING)
    with torch.no_grad():  # a learnt initial state, unlike the zero it starts from
        rssm.initial_deterministic.normal_()
    return rssm


def sequence(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, LENGTH, EMBEDDING, generator=generator), torch.randn(
        BATCH, LENGTH, 3, generator=generator
    )


def same(left: Latent, right: Latent, steps: slice) -> bool:
    return torch.allclose(left.deterministic[:, steps], right.deterministic[:, steps], atol=1e-6) and torch.allclose(
        left.stochastic[:, steps], right.stochastic[:, steps], atol=1e-6
    )


@torch.no_grad()
def test_following_a_sequence_is_stepping_through_it() -> None:
    rssm, (embedding, action) = make_rssm(), sequence(1)
    is_first = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    is_first[:, 0] = True
    is_first[1, 4] = True
    latents, posteriors, priors = rssm.observe(embedding, action, is_first, torch.Generator().manual_seed(5))
    config = rssm.config
    noise = open_uniform(
        (LENGTH, BATCH, config.groups, config.classes), torch.device("cpu"), torch.Generator().manual_seed(5)
    )
    for row in range(BATCH):
        latent = rssm.initial(1)
        for step in range(LENGTH):
            previous = action[row : row + 1, step]
            if is_first[row, step]:
                latent, previous = rssm.initial(1), torch.zeros(1, 3)
            deterministic = rssm.transition(latent, previous)
            posterior = rssm.posterior(deterministic, rssm.posterior_embedding(embedding[row : row + 1, step]))
            latent = Latent(deterministic, sample_straight_through(posterior, noise[step, row : row + 1]))
            assert torch.allclose(latents.deterministic[row, step], deterministic[0], atol=1e-6)
            assert torch.allclose(latents.stochastic[row, step], latent.stochastic[0], atol=1e-6)
            assert torch.allclose(posteriors[row, step], posterior[0], atol=1e-5)
            assert torch.allclose(priors[row, step], rssm.grid(rssm.prior(deterministic))[0], atol=1e-5)


@torch.no_grad()
def test_a_reset_forgets_everything_before_it() -> None:
    rssm = make_rssm()
    (embedding, action), (other_embedding, other_action) = sequence(1), sequence(2)
    is_first = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    is_first[:, 3] = True
    mixed = torch.cat([other_embedding[:, :3], embedding[:, 3:]], 1)
    # The previous action of the reset row too belongs to what came before.
    mixed_action = torch.cat([other_action[:, :4], action[:, 4:]], 1)
    one, _, _ = rssm.observe(embedding, action, is_first, torch.Generator().manual_seed(5))
    two, _, _ = rssm.observe(mixed, mixed_action, is_first, torch.Generator().manual_seed(5))
    assert same(one, two, slice(3, None))
    assert not same(one, two, slice(0, 3))
    # Without the reset the past would be felt.
    unmarked = torch.zeros_like(is_first)
    three, _, _ = rssm.observe(mixed, mixed_action, unmarked, torch.Generator().manual_seed(5))
    assert not same(one, three, slice(3, None))


@torch.no_grad()
def test_the_initial_state_is_the_mode_of_its_prior() -> None:
    rssm = make_rssm()
    initial = rssm.initial(2)
    assert torch.allclose(initial.deterministic, torch.tanh(rssm.initial_deterministic).expand(2, -1))
    mode = rssm.grid(rssm.prior(initial.deterministic)).argmax(-1)
    assert torch.equal(initial.stochastic.argmax(-1), mode)
    assert torch.equal(initial.stochastic.sum(-1), torch.ones(2, rssm.config.groups))
    assert initial.features().shape == (2, rssm.config.feature_size)


@torch.no_grad()
def test_imagination_samples_from_the_prior() -> None:
    rssm, action = make_rssm(), torch.randn(1, 3, generator=torch.Generator().manual_seed(8))
    start = rssm.initial(1)
    deterministic = rssm.transition(start, action)
    count = 4000
    many = Latent(start.deterministic.expand(count, -1), start.stochastic.expand(count, -1, -1))
    imagined = rssm.imagine(many, action.expand(count, -1), torch.Generator().manual_seed(9))
    assert torch.allclose(imagined.deterministic, deterministic.expand(count, -1), atol=1e-6)
    expected = rssm.grid(rssm.prior(deterministic))[0].exp()
    assert float((imagined.stochastic.mean(0) - expected).abs().max()) < 4.0 * 0.5 / count**0.5
