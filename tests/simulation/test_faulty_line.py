import os
import tty

import pytest

from fosp_edge.simulation.faulty_line import FaultyLine, LineFaults


@pytest.fixture
def line():
    line = FaultyLine(seed=3)
    yield line
    line.close()


@pytest.fixture
def host(line):
    descriptor = os.open(line.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(descriptor)
    yield descriptor
    os.close(descriptor)


def through(line, source, sink, data):
    """What arrives of `data`, in small pieces, so that nothing overflows."""
    arrived = b""
    for start in range(0, len(data), 500):
        os.write(source, data[start : start + 500])
        line.pump()
        try:
            arrived += os.read(sink, 4096)
        except BlockingIOError:
            continue
    return arrived


DATA = bytes(range(256)) * 40


def test_a_sound_line_carries_every_byte_both_ways(line, host):
    assert through(line, host, line.controller_fd, DATA) == DATA
    assert through(line, line.controller_fd, host, DATA) == DATA


def test_bytes_are_lost_at_the_rate_asked_for(line, host):
    line.faults = LineFaults(drop_probability=0.1)
    assert 0.07 < 1 - len(through(line, host, line.controller_fd, DATA)) / len(DATA) < 0.13


def test_bytes_are_damaged_in_one_bit_at_the_rate_asked_for(line, host):
    line.faults = LineFaults(corrupt_probability=0.2)
    arrived = through(line, line.controller_fd, host, DATA)
    assert len(arrived) == len(DATA)
    differences = [a ^ b for a, b in zip(arrived, DATA, strict=True) if a != b]
    assert 0.16 < len(differences) / len(DATA) < 0.24
    assert all(bin(difference).count("1") == 1 for difference in differences)


def test_a_silent_line_carries_nothing(line, host):
    line.faults = LineFaults(drop_probability=1.0)
    assert through(line, host, line.controller_fd, DATA) == b""


def test_with_nobody_at_either_end_pumping_is_harmless(line):
    line.pump()
    os.write(line.controller_fd, b"x" * 100)
    line.pump()


def test_after_unplugging_the_host_sees_the_port_gone_and_the_controller_lives_on(line, host):
    line.unplug()
    assert not line.plugged
    for _ in range(300):  # far more than any buffer between them holds
        try:
            os.write(line.controller_fd, b"x" * 4096)
        except BlockingIOError:
            pytest.fail("the controller's output piles up")
        line.pump()
    with pytest.raises(OSError):
        os.write(host, b"x")


def test_a_probability_is_a_probability():
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError):
            LineFaults(drop_probability=wrong)
