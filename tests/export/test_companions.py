"""The graphs beside the step say what the agent's own modules say."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as functional

from export.candidates import Candidates
from export.companions import DecoderModule, ImaginationModule, export_companion, export_initial
from export.reference import recorded_reachability
from fosp_edge.agent.distributions import open_uniform, two_hot_mean
from fosp_edge.agent.rssm import Latent
from tests.export.agents import make_agent, make_episode

AGENT = make_agent()
CONFIG = AGENT.config


def run(graph, **feeds):
    session = onnxruntime.InferenceSession(graph)
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def some_latent() -> tuple[np.ndarray, np.ndarray, Latent]:
    random = np.random.default_rng(5)
    deterministic = random.standard_normal((1, CONFIG.deterministic)).astype(np.float32)
    stochastic = random.integers(0, CONFIG.classes, (1, CONFIG.groups))
    one_hot = functional.one_hot(torch.from_numpy(stochastic), CONFIG.classes).float()
    return deterministic, stochastic, Latent(torch.from_numpy(deterministic), one_hot)


def test_the_initial_graph_gives_the_learnt_start():
    found, expected = run(export_initial(AGENT)), AGENT.world_model.rssm.initial(1)
    np.testing.assert_allclose(found["deterministic"], expected.deterministic.detach().numpy(), atol=1e-6)
    np.testing.assert_array_equal(found["stochastic"], expected.stochastic.argmax(-1).numpy())


def test_the_decoder_graph_shows_what_the_decoder_shows():
    deterministic, stochastic, latent = some_latent()
    found = run(export_companion(DecoderModule(AGENT)), deterministic=deterministic, stochastic=stochastic)
    with torch.no_grad():
        pixels, state = AGENT.world_model.decoder(latent.features())
    image = ((pixels[0].permute(1, 2, 0) + 0.5).clamp(0, 1) * 255).numpy()
    assert found["image"].dtype == np.uint8 and found["image"].shape == (1, 64, 64, CONFIG.image_channels)
    assert np.abs(found["image"][0] - image).max() <= 0.51
    np.testing.assert_allclose(found["state"], state.numpy() * 0.7 + 0.3, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def imagined():
    deterministic, stochastic, _ = some_latent()
    random, rows = np.random.default_rng(6), len(Candidates.of(AGENT).names)
    feeds = {
        "deterministic": deterministic,
        "stochastic": stochastic,
        "candidates": random.uniform(-1, 1, (rows, CONFIG.action_size)).astype(np.float32),
        "latent_noise": random.uniform(0.01, 0.99, (3, rows, CONFIG.groups, CONFIG.classes)).astype(np.float32),
    }
    return feeds, run(export_companion(ImaginationModule(AGENT, horizon=3)), **feeds)


def test_the_imagination_graph_goes_where_the_agent_would(imagined):
    feeds, found = imagined
    _, _, latent = some_latent()
    model, rows = AGENT.world_model, len(feeds["candidates"])
    latent = Latent(latent.deterministic.expand(rows, -1), latent.stochastic.expand(rows, -1, -1))
    action = torch.from_numpy(feeds["candidates"])
    with torch.no_grad():
        for step in range(3):
            h = model.rssm.transition(latent, action)
            prior = model.rssm.grid(model.rssm.prior(h))
            index = (prior - torch.log(-torch.log(torch.from_numpy(feeds["latent_noise"][step])))).argmax(-1)
            latent = Latent(h, functional.one_hot(index, CONFIG.classes).float())
            features = latent.features()
            action = AGENT.policy(features)[0]
            expected = {
                "reachability": torch.sigmoid(AGENT.critics.reach_state(features)).squeeze(-1),
                "reward": two_hot_mean(model.reward(features)),
                "cost": two_hot_mean(model.cost(features)),
                "proceed": torch.sigmoid(model.proceed(features)).squeeze(-1),
            }
            for name, value in expected.items():
                np.testing.assert_allclose(found[name][step], value.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def test_the_first_imagined_action_is_the_candidate_s_own(imagined):
    feeds, found = imagined
    assert found["max_reachability"].shape == (len(feeds["candidates"]),)
    np.testing.assert_array_equal(found["max_reachability"], found["reachability"].max(0))
    assert len({float(value) for value in found["reachability"][0]}) > 1


def test_recorded_actions_are_looked_ahead_from_as_the_imagination_graph_does():
    steps, rows, horizon = make_episode(4), len(Candidates.of(AGENT).names), 3
    now = recorded_reachability(AGENT, steps, torch.Generator().manual_seed(0))
    found = recorded_reachability(AGENT, steps, torch.Generator().manual_seed(0), horizon)
    # The same latent states once more, and then the same noise.
    generator, count = torch.Generator().manual_seed(0), len(steps["reward"])
    actions = torch.from_numpy(steps["action"])
    with torch.no_grad():
        embedding = AGENT.world_model.encoder(torch.from_numpy(steps["image"]), torch.from_numpy(steps["state"]))
        previous = torch.cat([torch.zeros_like(actions[:1]), actions[:-1]])[None]
        first = torch.from_numpy(steps["is_first"])[None]
        latents, _, _ = AGENT.world_model.rssm.observe(embedding[None], previous, first, generator)
    noise = torch.stack(
        [open_uniform((count, CONFIG.groups, CONFIG.classes), torch.device("cpu"), generator) for _ in range(horizon)]
    ).numpy()
    session = onnxruntime.InferenceSession(export_companion(ImaginationModule(AGENT, horizon=horizon)))
    for row in range(count):
        feeds = {
            "deterministic": latents.deterministic[0, row : row + 1].numpy(),
            "stochastic": latents.stochastic[0, row : row + 1].argmax(-1).numpy(),
            "candidates": np.repeat(steps["action"][row : row + 1], rows, 0),
            "latent_noise": np.repeat(noise[:, row : row + 1], rows, 1),
        }
        (largest,) = session.run(["max_reachability"], feeds)
        assert found[row] == pytest.approx(max(now[row], largest[0]), abs=1e-4)
    assert np.any(found > now + 1e-3) and np.all(found >= now)
