"""The shared test vectors: the committed files are what this code writes, and C gives the same answers."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from typing import Any

import pytest

from firmware_bridge import framing, messages
from firmware_bridge.codes import Drive, Fault, MessageType, State
from firmware_bridge.controller import Controller, Feedback
from firmware_bridge.motion_messages import Command, TelemetryFrame
from firmware_bridge.safety import Measured
from firmware_bridge.vectors import generate
from tests.firmware_bridge.native import NativeController, NativeDecoder, core_library, needs_gcc

UNPACK: dict[int, Callable[[bytes], object]] = {
    MessageType.HELLO: messages.Hello.unpack,
    MessageType.HELLO_REPLY: messages.HelloReply.unpack,
    MessageType.SET_LIMITS: messages.SetLimits.unpack,
    MessageType.LIMITS_REPORT: messages.LimitsReport.unpack,
    MessageType.GET_LIMITS: messages.GetLimits.unpack,
    MessageType.SET_WATCHDOG: messages.SetWatchdog.unpack,
    MessageType.SET_TELEMETRY: messages.SetTelemetry.unpack,
    MessageType.DISARM: messages.Disarm.unpack,
    MessageType.CLEAR_FAULTS: messages.ClearFaults.unpack,
    MessageType.COMMAND: Command.unpack,
    MessageType.ACK: messages.Ack.unpack,
    MessageType.COUNTERS: messages.Counters.unpack,
    MessageType.TELEMETRY: TelemetryFrame.unpack,
}


def rows(name: str) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = json.loads((generate.FOLDER / name).read_text())
    return table


def test_the_committed_files_are_up_to_date() -> None:
    for name, text in generate.render().items():
        assert (generate.FOLDER / name).read_text() == text, f"run python -m firmware_bridge.vectors.generate ({name})"


def test_frames_are_decoded_to_the_messages_they_came_from() -> None:
    for row, message in zip(rows("frames.json"), generate.example_messages(), strict=True):
        [payload] = framing.FrameDecoder().feed(bytes.fromhex(row["wire"]))
        kind, sequence, body = messages.split_payload(payload)
        assert (kind, sequence, repr(message)) == (row["type"], row["sequence"], row["message"])
        if kind in UNPACK:
            assert UNPACK[kind](body) == message


def test_every_type_has_a_frame() -> None:
    assert {row["type"] for row in rows("frames.json")} == {int(kind) for kind in MessageType} - {MessageType.BOOT}


@needs_gcc
def test_c_writes_and_reads_the_same_frames() -> None:
    core = core_library()
    for row in rows("frames.json"):
        wire = bytes.fromhex(row["wire"])
        [payload] = framing.FrameDecoder().feed(wire)
        encoded = ctypes.create_string_buffer(300)
        length = core.fosp_encode_frame(payload, len(payload), encoded)
        assert encoded.raw[:length] == wire
        decoder = NativeDecoder()
        assert decoder.feed(wire) == [payload]


@needs_gcc
def test_c_gives_the_oracles_answers() -> None:
    core = core_library()
    limits = (ctypes.c_int32 * 8)(*generate.LIMITS.values())
    for row in rows("safety.json"):
        target, measured = ctypes.c_int32(row["target"]), (ctypes.c_int32 * 2)(*row["measured"])
        memory, joint = (ctypes.c_int64 * 4)(*row["memory"]), ctypes.c_uint32()
        refusal = core.fosp_check_command(
            *(row["mode"], ctypes.byref(target), 1, limits, measured, memory),
            *(row["elapsed_us"], row["mode_changed"], ctypes.byref(joint)),
        )
        assert (refusal, list(memory)) == (row["refusal"], row["memory_after"]), row


@pytest.mark.parametrize("make", [Controller, pytest.param(NativeController, marks=needs_gcc)])
def test_the_conversation_is_the_same(make: Callable[..., Any]) -> None:
    replay(make)


def replay(make: Callable[..., Any]) -> None:
    """Hold both conversations with a controller."""
    for name, identity in (("conversation.json", generate.IDENTITY), ("conversation_16.json", generate.LARGEST)):
        hold_conversation(name, make(identity))


def hold_conversation(name: str, controller: Any) -> None:
    for number, row in enumerate(rows(name)):
        measured, currents, temperatures, voltage_mv, valid = row["feedback"]
        reading = Feedback(tuple(Measured(*now) for now in measured), currents, temperatures, voltage_mv, valid)
        controller.receive(bytes.fromhex(row["receive"]))
        controller.tick(row["dt_us"], reading)
        assert controller.take_output().hex() == row["send"], f"step {number}"
        condition = (State(row["state"]), Drive(row["drive"]), Fault(row["faults"]), row["setpoints"])
        assert (controller.state, controller.drive, controller.faults, controller.setpoints) == condition, (
            f"step {number}"
        )
