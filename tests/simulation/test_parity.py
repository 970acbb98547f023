"""The robot behind its wires and the environment in lockstep are one task: what is learnt in one holds in the other."""

import time

import numpy as np
import pytest

pytest.importorskip("mujoco")

from fosp_edge.robots.fingertip_drive import FINGERTIP_VELOCITY, FingertipDrive
from fosp_edge.robots.serial_robot import SerialRobot
from fosp_edge.simulation.behaviours import Safe
from fosp_edge.simulation.environment import SafeReach
from fosp_edge.simulation.launcher import SimulatedRobot
from fosp_edge.simulation.layout import make_layout
from fosp_edge.simulation.plant import Outcome
from fosp_edge.simulation.task import judge_step

ONE_CENTIMETRE = judge_step(Outcome(0.01, 0.2, False, False), Outcome(0.0, 0.2, False, False), 1).reward


def in_lockstep(seed):
    layout = make_layout("standard", seed)
    environment, behaviour = SafeReach(), Safe(layout, np.random.default_rng(seed))
    observation, _ = environment.reset(seed=seed, options={"layout": layout})
    total, finished, success = 0.0, False, False
    while not finished:
        action = behaviour.act(observation["state"][6:].astype(float))
        observation, reward, success, truncated, _ = environment.step(action)
        total, finished = total + reward, success or truncated
    return total, success


def over_the_wires(robot, arm, seed):
    behaviour = Safe(make_layout("standard", seed), np.random.default_rng(seed))
    robot.referee.reset(seed, "standard")
    arm.arm()
    total, due = 0.0, time.monotonic()
    while True:
        action = behaviour.act(arm.read().state[6:].astype(float))
        arm.command(FINGERTIP_VELOCITY.physical(action))
        due += 0.05
        time.sleep(max(0.0, due - time.monotonic()))
        judgement = robot.referee.judge()
        total += judgement.reward
        if judgement.finished:
            arm.disarm()
            return total, judgement.success


@pytest.mark.slow
def test_a_scripted_behaviour_earns_the_same_over_the_wires_as_in_lockstep():
    with SimulatedRobot() as robot:
        arm = SerialRobot(robot.port, FingertipDrive(), watchdog_s=1.0, telemetry_timeout_s=5.0)
        arm.connect(10.0)
        for seed in range(101, 107):
            wired, lockstep = over_the_wires(robot, arm, seed), in_lockstep(seed)
            assert wired[1] == lockstep[1]
            # Commands take effect after other delays, so the paths differ by a centimetre or two.
            assert wired[0] == pytest.approx(lockstep[0], abs=ONE_CENTIMETRE * 10)
        counters = robot.referee.ask("status")["counters"]
        assert sum(value for name, value in counters.items() if name.startswith("refused")) == 0
        arm.close()
