"""The ring: nothing lost that was accepted, nothing accepted that does not fit, nothing read that is not whole."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fosp_edge.control.flight.channel import Channel


@settings(max_examples=60)
@given(st.lists(st.one_of(st.binary(max_size=100), st.just(None)), max_size=80))
def test_what_is_accepted_comes_out_once_and_in_order_and_the_rest_is_refused(steps: list[bytes | None]) -> None:
    writer = Channel.create(100, 4)
    reader = Channel.attach(os.dup(writer.descriptor))
    waiting: list[tuple[int, bytes]] = []
    for number, step in enumerate(steps):
        if step is None:
            found = reader.take()
            assert found == (waiting.pop(0) if waiting else None)
            if found is not None:
                reader.drop()
        else:
            accepted = writer.put(number, step)
            assert accepted == (len(waiting) < 4)
            if accepted:
                waiting.append((number, step))
        assert writer.backlog == len(waiting)


def test_a_message_that_is_not_whole_is_not_read() -> None:
    channel = Channel.create(64, 4)
    channel.put(1, b"whole")
    place = channel._memory.find(b"whole")
    channel._memory[place] = ord("h")
    assert channel.take() is None
    channel._memory[place] = ord("w")
    assert channel.take() == (1, b"whole")


def test_a_successor_goes_on_where_the_reader_before_it_died() -> None:
    channel = Channel.create(64, 8)
    for number in range(5):
        channel.put(number, b"")
    first = Channel.attach(os.dup(channel.descriptor))
    assert first.take() == (0, b"")
    first.drop()
    assert first.take() == (1, b"")  # and here it dies
    assert Channel.attach(os.dup(channel.descriptor)).take() == (1, b"")


def test_the_readers_word_and_counts_reach_the_writer() -> None:
    channel = Channel.create(64, 4)
    reader = Channel.attach(os.dup(channel.descriptor))
    assert channel.sentence is None and channel.beat_ns == 0
    reader.beat(123, 7, 2)
    reader.fail("the disk is full")
    reader.fail("and so on")
    assert (channel.beat_ns, channel.stored, channel.lost, channel.sentence) == (123, 7, 2, "the disk is full")


def test_what_is_no_ring_and_what_does_not_fit_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Channel.create(64, 4).put(1, bytes(1000))
    with (tmp_path / "x").open("wb+") as file, pytest.raises(ValueError, match="not a flight channel"):
        file.write(bytes(4096))
        file.flush()
        Channel.attach(file.fileno())
