"""The interpreter is prompt while a run lasts, and as before afterwards."""

import gc
import sys

import pytest

from fosp_edge.control.interpreter import SWITCH_INTERVAL_S, prompt_interpreter


def test_it_is_as_before_afterwards_whatever_happened() -> None:
    before_s = sys.getswitchinterval()
    with pytest.raises(KeyError), prompt_interpreter():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
        assert gc.get_freeze_count() > 0 and gc.isenabled()
        raise KeyError
    assert sys.getswitchinterval() == before_s and gc.get_freeze_count() == 0
