import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.simulation.referee_protocol import BadRequestError, LineBuffer, Request, parse_request

words = st.text(min_size=1, max_size=20)
values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), words)


@given(st.integers(), words, st.dictionaries(words.filter(lambda w: w not in ("id", "verb")), values, max_size=5))
def test_a_request_survives_its_line(identity, verb, arguments):
    line = Request(identity, verb, arguments).to_line()
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert parse_request(line) == Request(identity, verb, arguments)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_sentence(line):
    try:
        parse_request(line)
    except BadRequestError as error:
        assert str(error)


@pytest.mark.parametrize("line", [b"[]", b"{}", b'{"id": true, "verb": "x"}', b'{"id": 1, "verb": 2}', b"[" * 100_000])
def test_what_is_not_a_request_is_refused(line):
    with pytest.raises(BadRequestError):
        parse_request(line)


@given(st.lists(st.binary(min_size=1, max_size=30).filter(lambda b: b.strip() and b"\n" not in b)), st.integers(1, 9))
def test_lines_come_out_whole_however_the_stream_is_cut(lines, size):
    stream = b"".join(line + b"\n" for line in lines)
    buffer = LineBuffer()
    found = [line for start in range(0, len(stream), size) for line in buffer.feed(stream[start : start + size])]
    assert found == lines


def test_a_line_without_end_is_skipped_and_the_next_one_is_read():
    buffer = LineBuffer(limit=100)
    assert all(buffer.feed(b"x" * 64) == [] for _ in range(10))
    assert len(buffer._pending) <= 164
    assert buffer.feed(b"tail\nnext\n") == [b"next"]


def test_arguments_are_checked():
    request = Request(1, "v", {"n": 3, "x": float("nan"), "b": True, "w": "blue"})
    assert request.number("n", 0, 5) == 3.0 and request.integer("n", 0, 5) == 3 and request.flag("b", False) is True
    assert request.word("w", ("blue", "red")) == "blue" and request.number("absent", 0, 1, 0.5) == 0.5
    for call in (
        lambda: request.number("x", 0, 5),
        lambda: request.number("b", 0, 5),
        lambda: request.number("n", 4, 5),
        lambda: request.integer("w", 0, 5),
        lambda: request.integer("b", 0, 5),
        lambda: request.word("w", ("red",)),
        lambda: request.flag("n", True),
        lambda: request.number("absent", 0, 5),
    ):
        with pytest.raises(BadRequestError, match="expected"):
            call()


def test_a_line_is_one_object_of_json():
    assert json.loads(Request(7, "reset", {"seed": 3}).to_line()) == {"id": 7, "verb": "reset", "seed": 3}
