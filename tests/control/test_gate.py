"""The gate: one definition for calibration and robot, and each statistic sees what it is there for."""

from dataclasses import replace

import numpy as np
import pytest

from fosp_edge.bundle.manifest import CLOSED_LOOP, BundleError, GateThreshold, Manifest
from fosp_edge.control.controller import Controller
from fosp_edge.control.gate import CELLS, DETECTORS, GateParameters, Movement, OodGate, PictureCells, Trace, explain
from fosp_edge.control.gate_fit import episode_score, fit_parameters
from fosp_edge.control.gate_response import GateSettings
from fosp_edge.control.types import Observation, Reason
from tests.control.fakes import SIZE_PX, STATE, TinyBundle, feasible_state, make_manifest

TICKS = 30


def make_observations(seed: int) -> list[Observation]:
    """Noise around a fixed picture, and a robot that moves."""
    random = np.random.default_rng(seed)
    scene = np.random.default_rng(0).integers(60, 200, (SIZE_PX, SIZE_PX, 6))
    states = np.cumsum(random.normal(0, 0.05, (TICKS, STATE)), axis=0)
    return [
        Observation(
            np.clip(scene + random.normal(0, 5, scene.shape), 0, 255).astype(np.uint8), state.astype(np.float32)
        )
        for state in states
    ]


def make_surprise(seed: int) -> np.ndarray:
    random = np.random.default_rng([seed, 1])
    return (10.0 + 20.0 * np.exp(-np.arange(TICKS) / 2.0) + random.normal(0, 1, TICKS)).astype(np.float32)


def trace(observations: list[Observation], surprise: np.ndarray) -> Trace:
    cells, movement = PictureCells(SIZE_PX, SIZE_PX), Movement()
    return Trace(
        np.stack([cells(item.image) for item in observations]),
        surprise,
        np.stack([item.state for item in observations]),
        np.stack([movement(item) for item in observations]),
    )


@pytest.fixture(scope="module")
def parameters() -> GateParameters:
    traces = [trace(make_observations(seed), make_surprise(seed)) for seed in range(20)]
    return fit_parameters(traces[:12], traces[12:])


def gated(threshold: float = 1.5) -> Manifest:
    gate = GateThreshold(threshold, 0.05, 40, "2026-01-01", "0" * 64, "0" * 64, CLOSED_LOOP)
    return replace(make_manifest(), gate=gate)


def readings(parameters: GateParameters, observations: list[Observation], surprise: np.ndarray) -> np.ndarray:
    gate = OodGate(gated(), parameters.to_bytes())
    gate.reset()
    return np.array([gate.observe(item, float(s)) for item, s in zip(observations, surprise, strict=True)])


def test_the_robot_measures_what_was_calibrated(parameters: GateParameters) -> None:
    observations, surprise = make_observations(99), make_surprise(99)
    expected = trace(observations, surprise).statistics(parameters) / parameters.scale / 1.5
    np.testing.assert_allclose(readings(parameters, observations, surprise), np.maximum(expected, 0.0), atol=1e-4)


def test_a_robot_that_has_nothing_but_cameras_is_measured_by_its_pictures() -> None:
    def blind(seed: int) -> list[Observation]:
        return [replace(item, state=np.zeros(0, np.float32)) for item in make_observations(seed)]

    fitted = fit_parameters(*([trace(blind(seed), make_surprise(seed)) for seed in part] for part in ((1, 2), (3, 4))))
    gate = OodGate(replace(gated(), state=()), fitted.to_bytes())
    surprise, picture, stillness = gate.observe(blind(5)[0], float(make_surprise(5)[0]))
    assert stillness == 0.0 < picture < 2.0 and surprise < 2.0


def test_normal_episodes_lie_about_the_scale_and_the_first_ticks_are_no_exception(parameters: GateParameters) -> None:
    scores = [episode_score(trace(make_observations(s), make_surprise(s)), parameters) for s in range(100, 130)]
    assert 0.6 < float(np.median(scores)) < 1.2 and max(scores) < 2.0


def test_cells_average_pixels() -> None:
    image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    found = PictureCells(16, 16)(image).reshape(CELLS, CELLS, 3)
    np.testing.assert_allclose(found[1, 2], image[2:4, 4:6].mean(axis=(0, 1)), rtol=1e-6)
    assert PictureCells(63, 61)(np.full((63, 61, 6), 7, np.uint8)) == pytest.approx([7.0] * (CELLS * CELLS * 6))


@pytest.mark.parametrize(
    ("fault", "detector"),
    [
        (lambda image: np.full_like(image, 5), "picture"),
        (lambda image: (image * 0.6).astype(np.uint8), "picture"),
        (lambda image: image[..., [1, 0, 2, 3, 4, 5]], "picture"),
    ],
)
def test_a_strange_picture_raises_the_alarm_in_the_same_tick(parameters, fault, detector) -> None:
    observations, surprise = make_observations(7), make_surprise(7)
    strange = [Observation(fault(item.image), item.state) if t >= 12 else item for t, item in enumerate(observations)]
    found = readings(parameters, strange, surprise)
    assert found[:12].max() < 1.0 < found[12:, DETECTORS.index(detector)].min()


def test_one_frozen_camera_of_two_is_noticed_once_the_robot_has_moved(parameters: GateParameters) -> None:
    observations, surprise = make_observations(8), make_surprise(8)
    frozen = []
    for tick, item in enumerate(observations):
        image = item.image.copy()
        if tick >= 10:
            image[..., 3:] = observations[10].image[..., 3:]
        state = item.state if tick < 15 else item.state + np.float32(1.0)
        frozen.append(Observation(image, state))
    found = readings(parameters, frozen, surprise)[:, DETECTORS.index("stillness")]
    assert found[:11].max() == 0.0 and found[15:].min() > 1.0


def test_a_surprise_counts_by_its_tick(parameters: GateParameters) -> None:
    observations, surprise = make_observations(9), make_surprise(9)
    early, late = surprise.copy(), surprise.copy()
    early[0], late[20] = 30.0, 30.0
    column = DETECTORS.index("surprise")
    assert (
        readings(parameters, observations, early)[0, column]
        < 1.0
        < readings(parameters, observations, late)[20, column]
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: p.to_bytes()[:-8], "damaged"),
        (lambda p: replace(p, picture_mean=p.picture_mean[:-3]).to_bytes(), "picture_mean should be"),
        (lambda p: replace(p, scale=p.scale * 0).to_bytes(), "scale are not usable"),
        (lambda p: replace(p, surprise_mean=p.surprise_mean * np.float32("nan")).to_bytes(), "not usable"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(parameters, spoil, words) -> None:
    with pytest.raises(BundleError, match=words):
        OodGate(gated(), spoil(parameters))


def test_the_explanation_names_the_statistic_and_what_to_look_at() -> None:
    assert "`picture` is at 3.0 times" in explain((0.5, 3.0, 0.0)) and "lens" in explain((0.5, 3.0, 0.0))


class GatedBundle(TinyBundle):
    gate_bytes: bytes = b""


@pytest.mark.parametrize("enabled", [True, False])
def test_the_controller_holds_still_and_then_stops_with_a_reason(parameters: GateParameters, enabled: bool) -> None:
    bundle = GatedBundle()
    bundle.manifest, bundle.gate_bytes = gated(), parameters.to_bytes()
    bundle.manifest = replace(bundle.manifest, gate=replace(bundle.manifest.gate, graph_sha256=bundle_hash(bundle)))
    controller = Controller(bundle, filter_enabled=enabled, gate_settings=GateSettings(2, 10, 3))
    controller.reset(0)
    reasons = [
        controller.decide(Observation(np.full((SIZE_PX, SIZE_PX, 6), 255, np.uint8), feasible_state()))[0].reason
        for _ in range(8)
    ]
    assert max(controller.insight.judged.gate) > 1.0
    if not enabled:
        assert set(reasons) == {Reason.FILTER_OFF} and controller.insight.advice.reason is Reason.UNFAMILIAR_STOP
        return
    assert reasons[1:4] == [Reason.UNFAMILIAR] * 3 and reasons[4:] == [Reason.UNFAMILIAR_STOP] * 4
    assert controller.insight.judged.feasible_reachability == pytest.approx(0.15)  # tightened to half
    assert not np.any(controller.physical_action)
    assert "times its alarm threshold" in controller.insight.sentence(Reason.UNFAMILIAR_STOP)


def bundle_hash(bundle: TinyBundle) -> str:
    import hashlib

    return hashlib.sha256(bundle.graph_bytes).hexdigest()
