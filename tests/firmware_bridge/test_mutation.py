"""The safety tests fail when the code is broken. A few telling mutants on every run, all of them with `-m slow`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.firmware_bridge import mutants
from tests.firmware_bridge.native import needs_gcc

pytestmark = needs_gcc

TELLING = [
    ("safety.c", "> limits->velocity_max_urad_s", ">="),
    ("safety.c", "cost > memory->velocity_budget_urad_s", ">="),
    ("safety.c", "<= limits->position_max_urad", "<"),
    ("motion.c", "fed_us) > self->watchdog_timeout_us", ">="),
    ("motion.c", "if (self->state == FOSP_ARMED) {", "!="),
    ("requests.c", "(ahead == 0u) || (ahead > 0x7FFFu)", "&&"),
]


@pytest.mark.parametrize(("file", "fragment", "change"), TELLING)
def test_a_telling_mutant_is_noticed(file: str, fragment: str, change: str, tmp_path: Path) -> None:
    found = [one for one in mutants.mutants(file) if fragment in one.before and change in one.after]
    assert found
    assert mutants.noticed(found[0], tmp_path) is True


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_mutant_survives(tmp_path: Path) -> None:
    result = mutants.campaign(["safety.c", "motion.c", "requests.c"], tmp_path)
    assert result["survivors"] == []
    assert result["noticed"] > 150  # type: ignore[operator]
