"""The interpreter is handed over soon while a run lasts, and as before afterwards."""

import sys

import pytest

from fosp_edge.control.interpreter import SWITCH_INTERVAL_S, handed_over_soon


def test_it_is_as_before_afterwards_whatever_happened() -> None:
    before_s = sys.getswitchinterval()
    with pytest.raises(KeyError), handed_over_soon():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
        raise KeyError
    assert sys.getswitchinterval() == before_s
