"""The machine without its process: cycles are counted, not waited for, so every run is the same."""

import os

import numpy as np
import pytest

pytest.importorskip("mujoco")

from firmware_bridge.codes import State
from fosp_edge.cameras.ring import RingReader
from fosp_edge.cameras.ring_camera import RingCamera
from fosp_edge.robots.workspace import limit_to_workspace
from fosp_edge.simulation.environment import SafeReach
from fosp_edge.simulation.layout import make_layout
from fosp_edge.simulation.machine import SimulatedMachine
from fosp_edge.simulation.referee import lay_table
from fosp_edge.simulation.referee_protocol import Request


@pytest.fixture
def machine():
    machine = SimulatedMachine("standard", 0)
    yield machine
    machine.close()


def ask(machine, verb, **arguments):
    machine.handle(Request(1, verb, arguments))
    for _ in range(5000):
        if machine.answers:
            return machine.answers.popleft()
        machine.cycle()
    raise AssertionError(f"no answer to {verb}")


def test_reward_and_cost_are_those_of_the_environment():
    """The same layout and the same motion judged by both."""
    layout = make_layout("standard", 4)
    environment, episode = SafeReach("standard", actuation_delay_s=(0.0, 0.0)), lay_table("standard", 4)
    environment.reset(seed=4, options={"layout": layout})
    kinematics = environment._kinematics
    random = np.random.default_rng(0)
    for _ in range(40):
        action = random.uniform(-1, 1, 3).astype(np.float32)
        velocity = 0.25 * action.astype(np.float64)
        position = episode.plant.positions_rad()
        allowed = limit_to_workspace(kinematics.fingertip(position)[0], velocity, 0.05)
        episode.plant.set_velocity_targets(kinematics.resolved_rate(position, allowed))
        episode.plant.advance(0.05)
        _, reward, terminated, truncated, info = environment.step(action)
        judgement = episode.judge()
        assert judgement.reward == pytest.approx(reward, abs=1e-9)
        assert (judgement.cost, judgement.success) == (info["cost"], terminated)
        assert judgement.finished == (terminated or truncated)


def test_pictures_reach_the_rings(machine):
    machine.take_pictures()
    machine.take_pictures()
    for name, ring in machine.rings.items():
        frame = RingReader(ring.name).latest()
        assert frame.sequence == 1 and frame.pixels.std() > 5
        camera = RingCamera(name, ring.name)
        assert camera.serial == f"sim-{name}"
        depth, (_, truth_m) = camera.latest_depth(5.0), machine._motors.plant.render_both(name)
        assert depth.sequence == 1
        np.testing.assert_allclose(depth.depth * depth.unit_m, truth_m, atol=0.0006)


def test_a_reset_puts_the_arm_where_the_layout_says_and_shows_the_new_table(machine):
    machine.take_pictures()
    before = RingReader(machine.rings["fixed"].name).latest()
    answer = ask(machine, "reset", seed=9, scenario="lighting")
    assert answer["ok"]
    status = ask(machine, "status")
    np.testing.assert_allclose(status["tip_m"], make_layout("lighting", 9).start_m, atol=2e-3)
    assert np.max(np.abs(status["velocities_rad_s"])) < 1e-3
    after = RingReader(machine.rings["fixed"].name).latest()
    assert after.sequence == before.sequence + 1
    assert np.mean(np.abs(after.pixels.astype(int) - before.pixels.astype(int))) > 5


def test_nobody_lays_the_table_while_the_motors_are_armed(machine):
    machine._electronics._emulator.controller.state = State.ARMED
    answer = ask(machine, "reset", seed=9, scenario="standard")
    assert not answer["ok"] and "motors are armed" in answer["error"]


def test_arming_while_the_table_is_being_laid_calls_the_reset_off(machine):
    tip = ask(machine, "status")["tip_m"]
    machine.handle(Request(1, "reset", {"seed": 9, "scenario": "standard"}))
    machine._electronics._emulator.controller.state = State.ARMED
    machine._electronics._emulator.controller.faults = 0
    machine._laying[1].result(30)
    machine._finish_reset()
    answer = machine.answers.popleft()
    assert not answer["ok"] and "nothing was changed" in answer["error"]
    np.testing.assert_array_equal(machine._motors.plant.tip_m(), tip)


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("reset", {"seed": 1, "scenario": "moon"}),
        ("reset", {"seed": -1, "scenario": "standard"}),
        ("reset", {"seed": 1.5, "scenario": "standard"}),
        ("reset", {}),
        ("line-faults", {"drop_probability": 2.0}),
        ("freeze-camera", {"camera": "third"}),
        ("dance", {}),
    ],
)
def test_requests_that_make_no_sense_are_answered_with_a_sentence(machine, verb, arguments):
    answer = ask(machine, verb, **arguments)
    assert answer["ok"] is False and verb in answer["error"]


def test_a_frozen_camera_gives_no_new_frames_until_it_is_let_go(machine):
    machine.take_pictures()
    reader = RingReader(machine.rings["wrist"].name)
    ask(machine, "freeze-camera", camera="wrist")
    machine.take_pictures()
    assert reader.latest().sequence == 0
    ask(machine, "freeze-camera", camera="wrist", frozen=False)
    machine.take_pictures()
    assert reader.latest().sequence == 1


def test_a_removed_camera_is_gone_and_the_machine_goes_on(machine):
    reader = RingReader(machine.rings["fixed"].name)
    ask(machine, "remove-camera", camera="fixed")
    assert not reader.writer_alive()
    machine.take_pictures()
    machine.cycle()


def test_a_restarted_controller_is_unconnected_and_holds(machine):
    machine._motors.set_velocity_targets([0.5] * 6)
    for _ in range(50):
        machine.cycle()
    ask(machine, "restart-controller")
    for _ in range(100):
        machine.cycle()
    status = ask(machine, "status")
    assert status["state"] == "UNCONNECTED" and np.max(np.abs(status["velocities_rad_s"])) < 1e-3


def test_unplugging_makes_the_port_vanish(machine):
    host = os.open(machine.line.path, os.O_RDWR | os.O_NOCTTY)
    ask(machine, "unplug")
    machine.cycle()
    with pytest.raises(OSError):
        os.write(host, b"x")
    os.close(host)
