from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import framing

payloads = st.binary(min_size=3, max_size=framing.MAX_DECODED - 4)


def test_crc_check_value_of_the_specification() -> None:
    assert zlib.crc32(b"123456789") == 0xCBF43926


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        (b"\x00", b"\x01\x01"),
        (b"\x00\x00", b"\x01\x01\x01"),
        (b"\x11\x22\x00\x33", b"\x03\x11\x22\x02\x33"),
        (b"\x11\x00\x00\x00", b"\x02\x11\x01\x01\x01"),
        (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255)) + b"\x01"),
        (bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff"),
    ],
)
def test_cobs_known_encodings(plain: bytes, encoded: bytes) -> None:
    assert framing.cobs_encode(plain) == encoded
    assert framing.cobs_decode(encoded) == plain


@given(st.binary(min_size=1, max_size=1200))
def test_cobs_round_trip_without_zeros(data: bytes) -> None:
    encoded = framing.cobs_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= len(data) + len(data) // 254 + 1
    assert framing.cobs_decode(encoded) == data


@given(st.lists(payloads, max_size=5), st.randoms(use_true_random=False))
def test_frames_survive_any_chunking(messages: list[bytes], rng: random.Random) -> None:
    stream = b"".join(map(framing.encode_frame, messages))
    decoder, received = framing.FrameDecoder(), []
    while stream:
        cut = rng.randint(1, len(stream))
        received += decoder.feed(stream[:cut])
        stream = stream[cut:]
    assert received == messages


@given(st.binary(max_size=700), st.lists(payloads, min_size=1, max_size=3))
def test_in_step_again_after_the_next_zero(noise: bytes, messages: list[bytes]) -> None:
    decoder = framing.FrameDecoder()
    received = decoder.feed(noise + b"\x00" + b"".join(map(framing.encode_frame, messages)))
    assert received[-len(messages) :] == messages


@given(payloads, st.data())
def test_one_flipped_bit_is_never_accepted(payload: bytes, data: st.DataObject) -> None:
    frame = bytearray(framing.encode_frame(payload))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    decoder = framing.FrameDecoder()
    assert decoder.feed(bytes(frame) + b"\x00") == []


@given(st.binary(max_size=3000))
def test_any_bytes_are_counted_and_never_raise(noise: bytes) -> None:
    decoder = framing.FrameDecoder()
    for payload in decoder.feed(noise):
        assert len(payload) >= 3
    assert decoder.counters.bytes_received == len(noise)


def test_endless_run_without_zero_costs_bounded_memory_and_one_count() -> None:
    decoder = framing.FrameDecoder()
    for _ in range(100):
        assert decoder.feed(b"\x55" * 1000) == []
    assert len(decoder._partial) <= framing.MAX_ENCODED
    good = framing.encode_frame(b"abc")
    assert decoder.feed(b"\x00" + good) == [b"abc"]
    assert decoder.counters.oversize_frames == 1


def test_too_long_a_payload_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 252"):
        framing.encode_frame(bytes(framing.MAX_DECODED - 3))


@pytest.mark.parametrize("broken", [b"", b"\x05abc", b"\x00", b"\x02a\x00"])
def test_broken_cobs_is_an_error(broken: bytes) -> None:
    with pytest.raises(framing.FramingError):
        framing.cobs_decode(broken)
