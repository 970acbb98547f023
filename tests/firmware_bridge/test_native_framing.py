"""Python's encoder against C's decoder and back: the same frames, and the same verdict on any bytes."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import framing
from firmware_bridge.codes import Capability
from firmware_bridge.controller import Identity
from tests.firmware_bridge.native import NativeController, NativeDecoder, core_library, needs_gcc

pytestmark = needs_gcc
payloads = st.binary(min_size=3, max_size=framing.MAX_DECODED - 4)


def encode_in_c(payload: bytes) -> bytes:
    room = ctypes.create_string_buffer(400)
    length = core_library().fosp_encode_frame(payload, len(payload), room)
    return room.raw[:length]


@given(payloads)
def test_random_payloads_encode_alike_and_decode_crosswise(payload: bytes) -> None:
    wire = framing.encode_frame(payload)
    assert encode_in_c(payload) == wire
    assert NativeDecoder().feed(wire) == [payload]


@settings(max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.binary(max_size=600),
            payloads.map(framing.encode_frame),
            st.tuples(payloads.map(framing.encode_frame), st.integers(0, 10**6), st.integers(0, 255)).map(
                lambda case: case[0][: case[1] % len(case[0])] + bytes((case[2],)) + case[0][case[1] % len(case[0]) :]
            ),
        ),
        max_size=6,
    )
)
def test_random_streams_get_the_same_verdict(pieces: list[bytes]) -> None:
    native, python = NativeDecoder(), framing.FrameDecoder()
    for piece in pieces:
        assert native.feed(piece) == python.feed(piece)
    assert native.counters == python.counters


@pytest.mark.parametrize("length", [3, 249, 250, 252])
def test_long_runs_without_zero(length: int) -> None:
    payload = b"\x55" * length
    assert encode_in_c(payload) == framing.encode_frame(payload)
    assert NativeDecoder().feed(framing.encode_frame(payload)) == [payload]


def test_too_long_a_payload_is_not_encoded() -> None:
    assert encode_in_c(bytes(253)) == b""


@pytest.mark.parametrize(
    "stream",
    [b"\x02a" * 129 + b"\x00", b"\x55" * 259 + b"\x00", b"\x05ab\x00", b"\x01\x00", b"\x02a" * 3 + b"\x00\x00"],
)
def test_odd_streams_get_the_same_verdict(stream: bytes) -> None:
    native, python = NativeDecoder(), framing.FrameDecoder()
    assert native.feed(stream) == python.feed(stream)
    assert native.counters == python.counters


@pytest.mark.parametrize("broken", [b"", b"\x00", b"\x02\x00", b"\x03a"])
def test_broken_cobs_is_refused(broken: bytes) -> None:
    length = ctypes.c_size_t()
    assert not core_library().fosp_cobs_decode(
        broken, len(broken), ctypes.create_string_buffer(300), ctypes.byref(length)
    )


def test_crc_check_value() -> None:
    assert core_library().fosp_crc32(b"123456789", 9) == 0xCBF43926


def test_output_is_handed_out_in_any_portions_and_joints_are_bounded() -> None:
    core = core_library()
    shim = core.shim_new(17, int(Capability(3)), b"name", b"serial")
    room, whole = ctypes.create_string_buffer(8), b""
    while length := core.shim_pull(shim, room, 7):
        whole += room.raw[:length]
    core.shim_free(shim)
    [payload] = framing.FrameDecoder().feed(whole)
    assert payload[13] == 16
    assert NativeController(Identity(16, Capability(3), "name", "serial")).take_output() == whole
