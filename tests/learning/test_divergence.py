"""A loss that explodes is told from one odd batch, and what may be exploding is not worth keeping."""

from fosp_edge.learning.divergence import GRACE, PATIENCE, DivergenceGuard


def warmed_up(value: float = 2.0) -> DivergenceGuard:
    guard = DivergenceGuard()
    for _ in range(GRACE + 1):
        assert guard.judge({"model/image": value, "model/gradient_norm": 1.0}) is None
    return guard


def test_an_explosion_is_named_after_a_few_updates() -> None:
    guard = warmed_up()
    for _ in range(PATIENCE - 1):
        assert guard.judge({"model/image": 1e5}) is None and not guard.calm
    complaint = guard.judge({"model/image": 1e5})
    assert complaint is not None and "model/image exploded: it is 1e+05, its average was 2" in complaint


def test_one_odd_batch_is_none() -> None:
    guard = warmed_up()
    assert guard.judge({"model/image": 1e5}) is None
    assert guard.judge({"model/image": 2.0}) is None and guard.calm


def test_growth_within_reason_and_tiny_losses_may_move() -> None:
    guard = warmed_up(1e-9)
    for _ in range(20):
        assert guard.judge({"model/image": 0.5, "model/gradient_norm": 1e9}) is None
    assert guard.calm


def test_the_first_updates_of_a_training_may_be_wild() -> None:
    guard = DivergenceGuard()
    for value in (1e6, 1.0, 1e7, 3.0):
        assert guard.judge({"model/image": value}) is None
