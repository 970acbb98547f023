"""Tables of ticks and of their punctuality."""

from experiments.timing_tables import punctuality, ticks

DONE = {"ticks": 12000, "median_ms": 1.96, "p99_ms": 3.0, "p99.9_ms": 4.0, "max_ms": 5.04}


def test_what_is_with_the_measures_comes_first_and_says_whose_fault_a_miss_was() -> None:
    found = {"missed": 4, "deadline to command": DONE}
    results = {
        "small, 20 Hz, without measures": found,
        "small, 100 Hz, with measures": found | {"missed while the machine stood still": 3, "updates per second": 2.04},
        "small, 50 Hz, with measures": found
        | {"missed while the host had taken the processor away": 0, "note": "beside two simulations"},
    }
    assert punctuality({"results": results}).splitlines()[2:] == [
        "| small | 50 Hz | with measures, simulations beside | 4 of 12,000 | 0 | 2.0 | 3.0 | 4.0 | 5.0 |  |",
        "| small | 100 Hz | with measures | 4 of 12,000 | 3 | 2.0 | 3.0 | 4.0 | 5.0 | 2.0 |",
        "| small | 20 Hz | without measures | 4 of 12,000 |  | 2.0 | 3.0 | 4.0 | 5.0 |  |",
    ]


def test_a_tick_is_told_by_bundle_threads_and_pace() -> None:
    modes = {"paced 50 Hz": {"tick": DONE, "inference over floor": 1.94}}
    table = ticks({"bundles": [{"name": "small", "threads": 2, "modes": modes}]})
    assert table.splitlines()[2:] == ["| small | 2 | 50 Hz | 12,000 | 1.96 | 3.00 | 4.00 | 5.04 | 1.9 |"]
