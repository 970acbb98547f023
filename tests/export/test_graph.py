"""The exported graph does what the agent does, output by output, and a graph that does not is found out."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export import graph as graph_module
from export.candidates import SAMPLES, SEARCH_DEVIATION, Candidates
from export.drift import recorded_inputs
from export.graph import export_step
from export.graph_policy import GraphPolicy
from export.parity import ParityError, check_parity
from export.reference import Inputs, Outputs, ReferencePolicy, recorded_reachability, redrawn_reachability
from export.step import INPUTS, OUTPUTS, StepModule
from fosp_edge.agent.agent import Agent
from tests.export.agents import make_agent, make_episode

METADATA = {"bundle_name": "tiny", "latent": "deterministic 16, stochastic 4 x 4"}


@pytest.fixture(scope="module")
def graph() -> bytes:
    return export_step(StepModule(make_agent()), METADATA)


def test_every_output_follows_the_reference_through_an_episode_and_a_reset(graph: bytes) -> None:
    agent = make_agent()
    config, random = agent.config, np.random.default_rng(3)
    session, reference = onnxruntime.InferenceSession(graph), ReferencePolicy(agent)
    carried = {
        "deterministic": np.full((1, config.deterministic), 9.0, np.float32),  # must not matter: the first tick resets
        "stochastic": np.full((1, config.groups), 3, np.int64),
    }
    steps = make_episode(0)
    for row in range(12):
        inputs = Inputs(
            image=steps["image"][row].astype(np.uint8),
            state=steps["state"][row].astype(np.float32),
            previous_action=steps["action"][row - 1].astype(np.float32),
            is_first=row in (0, 7),
            latent_noise=np.clip(random.random((config.groups, config.classes), np.float32), 1e-6, 1 - 1e-6),
            action_noise=random.standard_normal((SAMPLES, config.action_size), np.float32),
        )
        feeds = {
            "image": inputs.image[None],
            "state": inputs.state[None],
            "previous_action": inputs.previous_action[None],
            "is_first": np.array([inputs.is_first], np.float32),
            "latent_noise": inputs.latent_noise[None],
            "action_noise": inputs.action_noise,
        }
        found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), feeds | carried), strict=True))
        expected = reference.step(inputs)
        assert reference._latent is not None
        assert np.array_equal(found["next_stochastic"][0], expected.stochastic)
        np.testing.assert_allclose(found["next_deterministic"], reference._latent.deterministic.numpy(), atol=1e-5)
        np.testing.assert_allclose(found["candidates"], expected.candidates, atol=1e-5)
        np.testing.assert_allclose(found["reward_value"], expected.reward_value, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found["cost_value"], expected.cost_value, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found["reachability"], expected.reachability, atol=1e-5)
        assert found["state_reachability"][0] == pytest.approx(expected.state_reachability, abs=1e-5)
        assert found["surprise"][0] == pytest.approx(expected.surprise, rel=1e-3, abs=1e-4)
        carried = {"deterministic": found["next_deterministic"], "stochastic": found["next_stochastic"]}
        names = Candidates.of(agent).names
        assert len(names) == len(found["candidates"])
        assert np.all(found["candidates"][names.index("hold")] == 0.0)
        executed = np.zeros(3) if inputs.is_first else inputs.previous_action
        np.testing.assert_array_equal(found["candidates"][names.index("retreat")], -executed)
        assert float(np.max(np.abs(found["candidates"]))) <= 1.0


def test_parity_holds_for_its_own_agent_and_counts_what_it_looked_at(graph: bytes) -> None:
    parity = check_parity(make_agent(), graph, [make_episode(1), make_episode(2, rows=5)])
    assert parity.steps == 17 and parity.latent_flips == 0
    assert 0.0 < max(parity.action_error, parity.value_error) < 1e-4 and parity.reachability_error < 1e-4


def test_parity_holds_for_a_robot_that_has_nothing_but_cameras() -> None:
    agent = make_agent(state_size=0)
    episode = make_episode(1) | {"state": np.zeros((12, 0), np.float32)}
    parity = check_parity(agent, export_step(StepModule(agent), METADATA), [episode])
    assert parity.steps == 12 and parity.latent_flips == 0 and parity.action_error < 1e-4


def test_parity_refuses_the_graph_of_another_agent(graph: bytes) -> None:
    with pytest.raises(ParityError, match="No bundle was written"):
        check_parity(make_agent(seed=1), graph, [make_episode(1)])


@pytest.mark.parametrize("head", ["reach_action", "policy", "rssm"])
def test_parity_notices_a_single_part_that_differs(graph: bytes, head: str) -> None:
    agent = make_agent()
    with torch.no_grad():
        if head == "reach_action":
            agent.critics.reach_action[-1].bias.add_(0.1)
        elif head == "policy":
            agent.policy.head[-1].bias.add_(0.1)
        else:
            agent.world_model.rssm.input_action.weight.mul_(3.0)
    with pytest.raises(ParityError):
        check_parity(agent, graph, [make_episode(1), make_episode(2)])


def test_parity_over_nothing_proves_nothing(graph: bytes) -> None:
    with pytest.raises(ParityError, match="no recorded episode"):
        check_parity(make_agent(), graph, [])


@pytest.mark.parametrize("change", ["dropped", "reordered"])
def test_an_input_that_got_lost_or_moved_is_noticed(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    load = onnx.load_from_string

    def spoiled(data: bytes) -> onnx.ModelProto:
        model = load(data)
        inputs = list(model.graph.input)
        del model.graph.input[:]
        if change == "reordered":
            model.graph.input.extend([inputs[1], inputs[0], *inputs[2:]])
        else:  # an exporter that thinks the noise unused makes it a constant
            model.graph.input.extend(item for item in inputs if item.name != "action_noise")
            zeros = np.zeros((SAMPLES, 3), np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(zeros, "action_noise"))
        return model

    monkeypatch.setattr(graph_module.onnx, "load_from_string", spoiled)
    with pytest.raises(RuntimeError, match="changed the graph's interface"):
        export_step(StepModule(make_agent()))


def test_the_graph_has_the_contract_s_names_and_no_dynamic_shape(graph: bytes) -> None:
    model = onnx.load_from_string(graph)
    assert tuple(item.name for item in model.graph.input) == INPUTS
    assert tuple(item.name for item in model.graph.output) == OUTPUTS
    for item in (*model.graph.input, *model.graph.output):
        assert all(dimension.dim_value > 0 for dimension in item.type.tensor_type.shape.dim), item.name
    assert {item.key: item.value for item in model.metadata_props} == {
        "fosp_edge.bundle_name": "tiny",
        "fosp_edge.latent": "deterministic 16, stochastic 4 x 4",
    }
    assert not any(item.external_data for item in model.graph.initializer)  # weights inside the one file
    assert b".py" not in graph, "the exporter's notes about its sources, with paths of this machine, are in it"


def test_recorded_reachability_is_what_the_critic_says_along_the_episode() -> None:
    agent, steps = make_agent(), make_episode(4)
    found = recorded_reachability(agent, steps, torch.Generator().manual_seed(0))
    assert found.shape == (12,) and np.all((found > 0.0) & (found < 1.0))
    again = recorded_reachability(agent, steps, torch.Generator().manual_seed(0))
    assert np.array_equal(found, again)
    # The first row depends on its own action, and not on those that come later.
    later = steps | {"action": np.concatenate([steps["action"][:6], -steps["action"][6:]])}
    changed = recorded_reachability(agent, later, torch.Generator().manual_seed(0))
    assert np.allclose(found[:6], changed[:6], atol=1e-6) and not np.allclose(found[6:11], changed[6:11], atol=1e-6)


@pytest.mark.parametrize("horizon", [0, 2])
def test_draws_side_by_side_are_like_draws_one_after_the_other(horizon: int) -> None:
    agent, steps, count = make_agent(), make_episode(4), 300
    together = redrawn_reachability(agent, steps, torch.Generator().manual_seed(0), horizon, draws=count)
    alone = np.stack(
        [recorded_reachability(agent, steps, torch.Generator().manual_seed(seed), horizon) for seed in range(1, count)]
    )
    assert together.shape == (count, 12)
    error = np.sqrt(together.var(0) / count + alone.var(0) / count)
    assert np.all(np.abs(together.mean(0) - alone.mean(0)) < 5.0 * error + 1e-6)
    np.testing.assert_allclose(together.std(0), alone.std(0), rtol=0.5, atol=1e-4)
    first = redrawn_reachability(agent, steps, torch.Generator().manual_seed(1), horizon, draws=1)
    np.testing.assert_array_equal(first[0], alone[0])


def make_expanded_agent() -> Agent:
    """An agent with a frozen offline policy and an online one that has moved away from it."""
    agent = make_agent()
    agent.expand()
    assert agent.online_policy is not None
    with torch.no_grad():
        for parameter in agent.online_policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return agent


@pytest.mark.parametrize(("worth", "refused"), [(0.0, False), (1.0, True)], ids=["a tie", "not a tie"])
def test_rounding_may_decide_between_two_policies_only_where_they_are_worth_the_same(
    monkeypatch: pytest.MonkeyPatch, worth: float, refused: bool
) -> None:
    agent = make_expanded_agent()
    with torch.no_grad():  # without weights every action is worth the same
        for head in (agent.critics.reward_action, agent.critics.cost_action):
            head[-1].weight.mul_(worth)

    class Once(GraphPolicy):
        ticks = 0

        def step(self, inputs: Inputs) -> Outputs:
            found = super().step(inputs)
            self.ticks += 1
            if self.ticks == 30:  # the other policy in row 0
                other = 1 + int(np.array_equal(found.candidates[0], found.candidates[1]))
                columns = ("candidates", "reward_value", "cost_value", "reachability")
                swapped = {name: getattr(found, name).copy() for name in columns}
                for values in swapped.values():
                    values[0] = values[other]
                return replace(found, **swapped)
            return found

    monkeypatch.setattr("export.parity.GraphPolicy", Once)
    graph, episodes = export_step(StepModule(agent)), [make_episode(seed, rows=60) for seed in (1, 2)]
    if refused:
        with pytest.raises(ParityError, match=r"0 ticks fell the other way"):
            check_parity(agent, graph, episodes)
    else:
        parity = check_parity(agent, graph, episodes)
        assert parity.latent_flips == 1 and parity.action_error < 1e-4


def test_with_an_online_policy_both_propose_and_the_better_one_is_in_row_0() -> None:
    agent = make_expanded_agent()
    names = Candidates.of(agent).names
    assert names[:3] == ("policy", "offline", "online") and names[-2:] == ("hold", "retreat")
    graph = export_step(StepModule(agent))
    parity = check_parity(agent, graph, [make_episode(1, rows=40)])
    assert parity.steps == 40 and parity.action_error < 1e-4
    policy, chosen = GraphPolicy(graph, agent.config), set()
    for inputs in recorded_inputs([make_episode(2, rows=60)], 4, 4, Candidates.of(agent).samples, 3):
        found = policy.step(inputs)
        merit = 5.0 * (found.reward_value[1:3] - 0.1 * found.cost_value[1:3])
        better = 1 + int(np.argmax(merit))
        chosen.add(better)
        for rows in (found.candidates, found.reward_value, found.cost_value, found.reachability):
            assert np.array_equal(rows[0], rows[better])
    assert chosen == {1, 2}


def test_the_search_stays_around_the_least_reachable_proposal_and_often_betters_it() -> None:
    agent, better = make_agent(), 0
    rows = Candidates.of(agent, search=True)
    assert rows.names[-3:] == ("hold", "retreat", "least-harm")
    graph = export_step(StepModule(agent, rows))
    assert check_parity(agent, graph, [make_episode(1)], rows=rows).action_error < 1e-4
    policy = GraphPolicy(graph, agent.config)
    for inputs in recorded_inputs([make_episode(2, rows=40)], 4, 4, SAMPLES, 3):
        found = policy.step(inputs)
        proposed, last = found.reachability[: 1 + SAMPLES], found.reachability[-1]
        least = found.candidates[int(np.argmin(proposed))]
        around = np.clip(least + SEARCH_DEVIATION * inputs.action_noise, -1.0, 1.0)
        assert np.min(np.abs(around - found.candidates[-1]).max(axis=1)) < 1e-5
        better += bool(last < proposed.min())
    assert better > 10
