"""The two packet formats of hobby-grade robot servos, as pure encoders and resynchronising parsers.

Owned here rather than taken from the vendors' kits: dynamixel-sdk 4.1 sends payloads that contain FF FF FD unstuffed
(the servo then sees a header in mid-packet), and both kits assume a 16 ms latency timer and open the port without
exclusivity.

- Dynamixel Protocol 2.0: FF FF FD 00, id, length u16, instruction, parameters, CRC-16 (polynomial 0x8005, initial 0).
- Feetech SCS/STS (the older Dynamixel 1.0 shape): FF FF, id, length u8, instruction, parameters, inverted sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from fastcrc import crc16

BROADCAST = 0xFE
_MAX_BUFFER = 4096


class Instruction(IntEnum):
    """What a packet asks for; the same numbers in both formats."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REBOOT = 0x08
    STATUS = 0x55
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83


@dataclass(frozen=True)
class Packet:
    """One checked packet. `instruction` of a Feetech answer is its error byte, of a Dynamixel one STATUS."""

    motor_id: int
    instruction: int
    error: int
    parameters: bytes


class PacketFormat(Protocol):
    """A packet format: how instructions are written and answers are found in a byte stream."""

    def instruction(self, motor_id: int, instruction: Instruction, parameters: bytes) -> bytes:
        """Return the bytes of an instruction packet."""
        ...

    def answer(self, motor_id: int, error: int, parameters: bytes) -> bytes:
        """Return the bytes of a status packet, as a servo sends it."""
        ...

    def span(self, address: int, length: int) -> bytes:
        """Return an address and a length as this format's parameters."""
        ...

    def read_span(self, parameters: bytes) -> tuple[int, int, bytes]:
        """Return (address, length, rest) from parameters that begin with a span."""
        ...

    def take(self, buffer: bytearray, *, answers: bool) -> tuple[list[Packet], int]:
        """Remove all complete packets from the front of `buffer`; also return how many bytes or packets were bad."""
        ...


class DynamixelFormat:
    """Dynamixel Protocol 2.0, with byte stuffing both ways."""

    _HEADER = b"\xff\xff\xfd\x00"

    def instruction(self, motor_id: int, instruction: Instruction, parameters: bytes) -> bytes:
        """Return the bytes of an instruction packet."""
        return self._packet(motor_id, bytes((instruction,)) + parameters)

    def answer(self, motor_id: int, error: int, parameters: bytes) -> bytes:
        """Return the bytes of a status packet."""
        return self._packet(motor_id, bytes((Instruction.STATUS, error)) + parameters)

    def _packet(self, motor_id: int, body: bytes) -> bytes:
        stuffed = body.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
        head = self._HEADER + bytes((motor_id,)) + (len(stuffed) + 2).to_bytes(2, "little")
        packet = head + stuffed
        return packet + int(crc16.umts(packet)).to_bytes(2, "little")

    def span(self, address: int, length: int) -> bytes:
        """Return an address and a length as this format's parameters."""
        return address.to_bytes(2, "little") + length.to_bytes(2, "little")

    def read_span(self, parameters: bytes) -> tuple[int, int, bytes]:
        """Return (address, length, rest)."""
        return int.from_bytes(parameters[:2], "little"), int.from_bytes(parameters[2:4], "little"), parameters[4:]

    def take(self, buffer: bytearray, *, answers: bool) -> tuple[list[Packet], int]:
        """Remove all complete packets from the front of `buffer`."""
        packets, bad = [], 0
        while True:
            start = buffer.find(self._HEADER)
            if start < 0:
                # Keep what may be the beginning of a header.
                del buffer[: max(0, len(buffer) - 3)]
                break
            bad += start > 0
            del buffer[:start]
            if len(buffer) < 7:
                break
            length = int.from_bytes(buffer[5:7], "little")
            if not 3 <= length <= _MAX_BUFFER // 2:
                bad += 1
                del buffer[:3]
                continue
            if len(buffer) < 7 + length:
                break
            packet = bytes(buffer[: 7 + length])
            if int(crc16.umts(packet[:-2])) != int.from_bytes(packet[-2:], "little"):
                # Only the header is given up: a true packet may begin inside the damaged one.
                bad += 1
                del buffer[:3]
                continue
            del buffer[: 7 + length]
            body = packet[7:-2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")
            is_answer = body[0] == Instruction.STATUS
            if is_answer is not answers or (is_answer and len(body) < 2):
                continue
            packets.append(Packet(packet[4], body[0], body[1] if answers else 0, body[2:] if answers else body[1:]))
        return packets, bad


class FeetechFormat:
    """Feetech SCS/STS: the sum is weak (one in 256 damaged packets passes), so answers are also checked for length."""

    def instruction(self, motor_id: int, instruction: Instruction, parameters: bytes) -> bytes:
        """Return the bytes of an instruction packet."""
        body = bytes((motor_id, len(parameters) + 2, instruction)) + parameters
        return b"\xff\xff" + body + bytes((~sum(body) & 0xFF,))

    def answer(self, motor_id: int, error: int, parameters: bytes) -> bytes:
        """Return the bytes of a status packet: the error stands where the instruction would."""
        body = bytes((motor_id, len(parameters) + 2, error)) + parameters
        return b"\xff\xff" + body + bytes((~sum(body) & 0xFF,))

    def span(self, address: int, length: int) -> bytes:
        """Return an address and a length as this format's parameters."""
        return bytes((address, length))

    def read_span(self, parameters: bytes) -> tuple[int, int, bytes]:
        """Return (address, length, rest)."""
        return parameters[0], parameters[1], parameters[2:]

    def take(self, buffer: bytearray, *, answers: bool) -> tuple[list[Packet], int]:
        """Remove all complete packets from the front of `buffer`."""
        packets, bad = [], 0
        while True:
            start = buffer.find(b"\xff\xff")
            if start < 0:
                del buffer[: max(0, len(buffer) - 1)]
                break
            bad += start > 0
            del buffer[:start]
            if len(buffer) < 4:
                break
            motor_id, length = buffer[2], buffer[3]
            if motor_id == 0xFF or length < 2:
                bad += motor_id != 0xFF
                del buffer[:1]
                continue
            if len(buffer) < 4 + length:
                break
            packet = bytes(buffer[: 4 + length])
            if ~sum(packet[2:-1]) & 0xFF != packet[-1]:
                bad += 1
                del buffer[:1]
                continue
            del buffer[: 4 + length]
            packets.append(Packet(motor_id, packet[4], packet[4] if answers else 0, packet[5:-1]))
        return packets, bad


def sync_write(form: PacketFormat, address: int, length: int, values: Sequence[tuple[int, bytes]]) -> bytes:
    """Return one packet that writes `length` bytes at `address` of each (motor id, bytes)."""
    body = b"".join(bytes((motor_id,)) + data for motor_id, data in values)
    return form.instruction(BROADCAST, Instruction.SYNC_WRITE, form.span(address, length) + body)


def sync_read(form: PacketFormat, address: int, length: int, motor_ids: Sequence[int]) -> bytes:
    """Return one packet that asks each motor for `length` bytes at `address`."""
    return form.instruction(BROADCAST, Instruction.SYNC_READ, form.span(address, length) + bytes(motor_ids))
