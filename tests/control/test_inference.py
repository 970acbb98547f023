"""The runtime: what goes in comes out, replays bit for bit, and refuses what does not fit."""

from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.bundle.manifest import BundleError, Conversion, LatentContract
from fosp_edge.control import inference
from fosp_edge.control.inference import NotFinite, PolicyRuntime, TickNoise
from fosp_edge.control.types import Observation
from tests.control.fakes import SIZE_PX, TinyBundle, feasible_state, make_graph, make_manifest


def look(brightness: int = 7, **state: float) -> Observation:
    vector = feasible_state()
    for index, value in state.items():
        vector[int(index[1:])] = value
    return Observation(np.full((SIZE_PX, SIZE_PX, 6), brightness, np.uint8), vector)


def run(runtime: PolicyRuntime, seed: int, ticks: int) -> list[np.ndarray]:
    runtime.reset(seed)
    executed = np.zeros(3, np.float32)
    trace = []
    for tick in range(ticks):
        scores = runtime.step(look(tick), executed)
        executed = scores.candidates[1]
        trace.append(np.concatenate([scores.candidates.ravel(), scores.reward_value]))
    return trace


def test_scores_are_those_of_the_graph() -> None:
    runtime = PolicyRuntime(TinyBundle())
    runtime.reset(3)
    executed = np.array([0.5, 0.25, -0.5], np.float32)
    runtime.step(look(brightness=10), executed)
    latent = runtime.latent
    scores = runtime.step(look(brightness=20, s2=0.6), executed)
    np.testing.assert_allclose(scores.reachability, [0.1, 0.1, 0.6, 0.1, 0.1])
    np.testing.assert_allclose(scores.candidates[0], [0.5, -0.5, 0.25])
    np.testing.assert_allclose(scores.candidates[3], 0.0)
    np.testing.assert_allclose(scores.candidates[4], -executed)
    noise = drawn(3, 1)[1]
    np.testing.assert_allclose(scores.candidates[1:3], np.clip(scores.candidates[0] + 0.1 * noise, -1, 1), rtol=1e-6)
    expected = 0.5 * latent.deterministic + 20.0 + executed.sum() + latent.stochastic.mean()
    np.testing.assert_allclose(runtime.latent.deterministic, expected, rtol=1e-6)


def test_first_step_ignores_the_previous_action_and_the_old_latent() -> None:
    runtime = PolicyRuntime(TinyBundle())
    run(runtime, seed=1, ticks=3)
    runtime.reset(1)
    runtime.step(look(brightness=5), np.ones(3, np.float32))
    np.testing.assert_allclose(runtime.latent.deterministic, 5.0)


@pytest.mark.parametrize("restart", [1, 2, 5])
def test_replay_is_bit_for_bit_from_the_start_and_from_any_latent(restart: int) -> None:
    first = run(PolicyRuntime(TinyBundle()), seed=11, ticks=8)
    again = run(PolicyRuntime(TinyBundle()), seed=11, ticks=8)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[0], run(PolicyRuntime(TinyBundle()), seed=12, ticks=1)[0])

    runtime = PolicyRuntime(TinyBundle())
    run(runtime, seed=11, ticks=restart)
    executed = first[restart - 1][3:6].astype(np.float32)
    resumed = PolicyRuntime(TinyBundle())
    resumed.restore(runtime.latent)
    for tick in range(restart, 8):
        scores = resumed.step(look(tick), executed)
        executed = scores.candidates[1]
        np.testing.assert_array_equal(np.concatenate([scores.candidates.ravel(), scores.reward_value]), first[tick])


def drawn(seed: int, tick: int) -> tuple[np.ndarray, np.ndarray]:
    noise = TickNoise(make_manifest())
    noise.draw(seed, tick)
    return noise.uniform.copy(), noise.normal.copy()


def test_noise_lies_inside_the_open_interval_and_differs_between_ticks_and_seeds() -> None:
    uniform, normal = drawn(0, 0)
    assert uniform.min() > 0.0 and uniform.max() < 1.0
    assert normal.shape == (2, 3)
    assert not np.array_equal(uniform, drawn(0, 1)[0])
    assert not np.array_equal(uniform, drawn(1, 0)[0])


def test_noise_is_that_of_a_fresh_generator_whatever_was_drawn_before() -> None:
    noise = TickNoise(make_manifest())
    for tick in (9, 2, 5):
        noise.draw(2**40, tick)
    fresh = np.random.Generator(np.random.Philox(key=2**40, counter=[0, 0, 5, 0]))
    np.testing.assert_array_equal(noise.uniform, fresh.random((1, 3, 5), dtype=np.float32))
    np.testing.assert_array_equal(noise.normal, fresh.standard_normal((2, 3), dtype=np.float32))


def test_nan_from_the_graph_is_refused_until_the_next_reset() -> None:
    runtime = PolicyRuntime(TinyBundle())
    runtime.reset(0)
    with pytest.raises(NotFinite, match="surprise"):
        runtime.step(look(s8=-2.0), np.zeros(3, np.float32))
    with pytest.raises(NotFinite, match="reset"):
        runtime.step(look(), np.zeros(3, np.float32))
    runtime.reset(0)
    runtime.step(look(), np.zeros(3, np.float32))


def test_step_before_reset_is_refused() -> None:
    with pytest.raises(NotFinite, match="reset"):
        PolicyRuntime(TinyBundle()).step(look(), np.zeros(3, np.float32))


def test_picture_of_the_wrong_size_is_refused() -> None:
    runtime = PolicyRuntime(TinyBundle())
    runtime.reset(0)
    with pytest.raises(ValueError, match="image"):
        runtime.step(Observation(np.zeros((4, 4, 6), np.uint8), feasible_state()), np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("bundle", "sentence"),
    [
        (TinyBundle(graph_bytes=b"not a graph"), "does not load"),
        (TinyBundle(graph_bytes=make_graph(surprise="amazement")), "lacks the outputs surprise"),
        (TinyBundle(graph_bytes=make_graph(is_first="start")), "lacks the inputs is_first"),
        (TinyBundle(replace(make_manifest(), latent=LatentContract(5, 3, 5))), "promises float32.1, 5."),
        (TinyBundle(replace(make_manifest(), candidates=("a", "b", "c", "hold", "e"))), "begin with .policy."),
    ],
)
def test_a_graph_that_is_not_the_manifests_is_refused_with_a_sentence(bundle: TinyBundle, sentence: str) -> None:
    with pytest.raises(BundleError, match=sentence):
        PolicyRuntime(bundle)


@pytest.mark.parametrize("here", [False, True])
@pytest.mark.parametrize("there", [False, True, None])
@pytest.mark.parametrize("kind", ["int8-dynamic", "int8-mixed", "int8-blocks", "float16"])
def test_products_of_bytes_are_trusted_only_where_they_add_up_as_where_the_precision_was_chosen(
    kind: str, there: bool | None, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "this_adds_exactly", lambda: here)
    precision = Conversion(kind, 100, 1.0, 0.0, 0.0, 0.0, 0.1, 0.1, exact_products=there)
    bundle = replace(TinyBundle(), manifest=replace(make_manifest(), precision=precision))
    if kind in ("int8-blocks", "float16") or here == (there is not False):
        PolicyRuntime(bundle)
        return
    with pytest.raises(BundleError, match=f"{kind} and was chosen on a processor that.*bundles convert"):
        PolicyRuntime(bundle)
