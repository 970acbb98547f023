"""Every named fault has its end, and no schedule of faults lets a command through that no motor should follow."""

import numpy as np
import pytest

from fosp_edge.control.types import State
from tests.faults.campaign import FAULTS, Fault, random_schedule, run_schedule


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
