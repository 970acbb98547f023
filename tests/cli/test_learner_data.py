"""Which episodes are learnt from, and which are kept for the gate."""

from types import SimpleNamespace
from typing import Any

from fosp_edge.cli.learner_data import OWN_HELD_OUT_EVERY, SOURCE, is_learnt_from, own_held_out


def episode(number: int, source: str) -> Any:
    header = SimpleNamespace(source=source, scenario="standard", seed=number, created_utc="now", bundle="")
    return SimpleNamespace(id=f"{number:06d}", header=header)


def test_own_episodes_are_held_out_by_turns_whatever_the_memory_takes() -> None:
    own = [episode(number, SOURCE) for number in range(40)]
    assert sum(map(own_held_out, own)) == 40 // OWN_HELD_OUT_EVERY
    assert [is_learnt_from(info, 0.0) for info in own] == [not own_held_out(info) for info in own]


def test_of_offline_episodes_a_share_is_learnt_from_and_never_one_that_is_held_out() -> None:
    offline = [episode(number, "safe") for number in range(4000)]
    kept = sum(not own_held_out(info) for info in offline)
    for share in (0.0, 0.25, 1.0):
        taken = [info for info in offline if is_learnt_from(info, share)]
        assert not any(map(own_held_out, taken))
        assert abs(len(taken) / kept - share) < 0.03
    assert sum(is_learnt_from(info, 1.0) for info in offline) == kept
