"""Which missed deadlines fell into a moment that the host took away."""

from benchmarks.stolen import missed_while_stolen, stolen_s


def test_a_miss_counts_as_stolen_only_beside_stolen_time() -> None:
    #          tick:  1  2  3  4  5  6  7
    missed = [0, 0, 2, 2, 2, 2, 3, 3]
    assert missed_while_stolen(missed, [0.0, 0.0, 0.04, 0.04, 0.04, 0.04, 0.04, 0.04]) == 2
    before_and_after = [0.0, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.02]
    assert missed_while_stolen(missed, before_and_after) == 3
    assert missed_while_stolen(missed, [0.0] * 8) == 0


def test_stolen_time_never_shrinks() -> None:
    before = stolen_s()
    assert 0.0 <= before <= stolen_s()
