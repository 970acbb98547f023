from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge import JointLimits, messages, units
from firmware_bridge.codes import Capability, Drive, Fault, Mode, Reaction, Refusal, Result, State, Torque
from firmware_bridge.motion_messages import BOUND_OF_MODE, Command, TelemetryFrame

int32 = st.integers(-(2**31), 2**31 - 1)
uint32 = st.integers(0, 2**32 - 1)
int16 = st.integers(-(2**15), 2**15 - 1)
uint16 = st.integers(0, 2**16 - 1)
ascii_text = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=16)


@st.composite
def wire_limits(draw: st.DrawFn) -> messages.WireLimits:
    low, high = sorted(
        draw(
            st.lists(
                st.integers(-units.POSITION_MAX_URAD, units.POSITION_MAX_URAD), min_size=2, max_size=2, unique=True
            )
        )
    )
    return messages.WireLimits(
        low,
        high,
        draw(st.integers(1, units.VELOCITY_MAX_URAD_S)),
        draw(st.integers(units.ACCELERATION_MIN_URAD_S2, units.ACCELERATION_MAX_URAD_S2)),
        draw(st.integers(1, units.EFFORT_MAX_MNM)),
        draw(st.integers(1, units.POSITION_MAX_URAD)),
        draw(st.integers(1, units.TEMPERATURE_MAX_DECIDEGREE)),
        draw(st.integers(1, units.CURRENT_MAX_MA)),
    )


@st.composite
def commands(draw: st.DrawFn) -> Command:
    mode = draw(st.sampled_from(Mode))
    bound = BOUND_OF_MODE[mode]
    return Command(mode, tuple(draw(st.lists(st.integers(-bound, bound), min_size=1, max_size=16))))


@st.composite
def telemetry_frames(draw: st.DrawFn) -> TelemetryFrame:
    count = draw(st.integers(1, 16))

    def column(values: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(st.lists(values, min_size=count, max_size=count)))

    return TelemetryFrame(
        draw(st.integers(0, 2**64 - 1)),
        draw(st.sampled_from(State)),
        draw(st.sampled_from(Drive)),
        draw(st.sampled_from(Refusal)),
        draw(uint16),
        draw(uint16),
        Fault(draw(st.integers(0, 63))),
        draw(uint32),
        column(int32),
        column(int32),
        column(int16),
        column(int16),
        column(uint16),
    )


any_message = st.one_of(
    st.builds(messages.Hello, st.integers(1, 2**32 - 1)),
    st.builds(
        messages.HelloReply, uint32, st.integers(1, 16), st.integers(0, 127).map(Capability), ascii_text, ascii_text
    ),
    st.builds(messages.SetLimits, st.integers(0, 15), wire_limits()),
    st.builds(messages.LimitsReport, st.integers(0, 15), wire_limits()),
    st.builds(messages.GetLimits, st.integers(0, 15)),
    st.builds(messages.SetWatchdog, st.integers(5_000, 1_000_000), st.sampled_from(Reaction)),
    st.builds(messages.SetTelemetry, st.integers(1_000, 1_000_000)),
    st.builds(messages.Disarm, st.sampled_from(Torque)),
    st.builds(messages.ClearFaults, uint32),
    st.builds(messages.Ack, st.integers(0, 255), st.sampled_from(Result), uint32),
    st.lists(uint32, min_size=21, max_size=21).map(lambda values: messages.Counters(*values)),
    commands(),
    telemetry_frames(),
)


@given(any_message, uint16)
def test_what_is_packed_is_unpacked(message: messages.Message, sequence: int) -> None:
    kind, number, body = messages.split_payload(messages.payload(message, sequence))
    assert (kind, number) == (message.type, sequence)
    assert type(message).unpack(body) == message  # type: ignore[attr-defined]
    assert len(body) <= 249


@given(any_message, st.integers(-3, 3).filter(bool))
def test_another_length_is_malformed(message: messages.Message, change: int) -> None:
    body = message.pack()
    other = body[:change] if change < 0 else body + bytes(change)
    with pytest.raises(messages.MalformedBodyError):
        type(message).unpack(other)  # type: ignore[attr-defined]


@given(any_message, st.binary(max_size=260))
def test_any_body_is_read_or_refused_with_value_error(message: messages.Message, body: bytes) -> None:
    with contextlib.suppress(ValueError):
        type(message).unpack(body)  # type: ignore[attr-defined]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 50.1, -51.0])
def test_numbers_that_do_not_fit_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="velocity of joint 1"):
        units.to_wire_each([0.0, bad], units.PER_MICRO, units.VELOCITY_MAX_URAD_S, "velocity")


@pytest.mark.parametrize(
    "message",
    [
        Command(Mode.VELOCITY, (50_000_001,)),
        Command(Mode.POSITION, (0, -100_000_001)),
        Command(Mode.EFFORT, (1_000_001,)),
        Command(Mode.VELOCITY, ()),
        Command(Mode.VELOCITY, (0,) * 17),
        messages.Hello(0),
        messages.SetWatchdog(4_999, Reaction.STOP),
        messages.SetWatchdog(1_000_001, Reaction.STOP),
        messages.SetTelemetry(999),
        messages.GetLimits(16),
        messages.ClearFaults(-1),
        messages.HelloReply(1, 0, Capability(0), "a", "b"),
        messages.HelloReply(1, 6, Capability(0), "a" * 25, "b"),
    ],
)
def test_packing_refuses_what_is_out_of_range(message: messages.Message) -> None:
    with pytest.raises(ValueError):
        message.pack()


@pytest.mark.parametrize(
    "change",
    [
        {"position_min_rad": 1.0},
        {"position_max_rad": 101.0},
        {"velocity_max_rad_s": 0.0},
        {"velocity_max_rad_s": -1.0},
        {"velocity_max_rad_s": math.nan},
        {"acceleration_max_rad_s2": math.inf},
        {"acceleration_max_rad_s2": 0.0001},
        {"effort_max_nm": 0.0},
        {"distance_max_rad": 0.0},
        {"temperature_max_c": 121.0},
        {"current_max_a": 1e9},
    ],
)
def test_limits_out_of_range_are_refused(change: dict[str, float]) -> None:
    good = {
        "position_min_rad": -1.0,
        "position_max_rad": 1.0,
        "velocity_max_rad_s": 1.0,
        "acceleration_max_rad_s2": 5.0,
    }
    JointLimits(**good).to_wire()
    with pytest.raises(ValueError):
        JointLimits(**(good | change)).to_wire()
