"""Every named fault has its end, and no schedule of faults lets a command through that no motor should follow."""

import numpy as np
import pytest

from fosp_edge.control.types import State
from fosp_edge.robots.arm import DESKTOP_ARM
from tests.faults.campaign import FAULTS, Bench, Fault, random_schedule, run_schedule
from tests.faults.far_end import Motors


def test_there_are_at_least_thirty_faults_and_each_has_a_name_of_its_own() -> None:
    assert len(FAULTS) >= 30 and len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_ends_as_expected(fault: Fault) -> None:
    summary, wrong = run_schedule([(12, fault)])
    assert summary.state is State.STOPPED and summary.reason in fault.ends, (summary.reason, summary.detail)
    assert wrong == []


def test_random_schedules_let_nothing_through() -> None:
    random = np.random.default_rng(4)
    for _ in range(60):
        schedule = random_schedule(random)
        _, wrong = run_schedule(schedule)
        assert wrong == [], [(tick, fault.name) for tick, fault in schedule]


@pytest.mark.parametrize(
    ("velocity", "armed", "word"),
    [
        (2.5, True, "too fast"),
        (np.nan, True, "not finite"),
        (1.9, True, "too sudden"),
        (0.1, False, "not armed"),
    ],
)
def test_the_judge_at_the_motors_notices(velocity: float, armed: bool, word: str) -> None:
    motors = Motors(may_move=armed)
    motors.set_velocity_targets([0.0] * 6)
    motors.set_velocity_targets([velocity, *[0.0] * 5])
    assert any(word in sentence for sentence in motors.violations)


def test_without_faults_the_motors_do_move() -> None:
    bench = Bench()
    summary = bench.run()
    motors = bench.robot.far_end.motors
    assert summary.planned and motors.told > 20 and motors.violations == []
    assert np.max(np.abs(motors.position - np.array(DESKTOP_ARM.home_rad))) > 0.05
