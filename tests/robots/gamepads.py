"""What Linux's joystick interface says, for the far end of a gamepad's device."""

import struct

AXIS = 0x02


def event(kind: int, number: int, value: int) -> bytes:
    return struct.pack("<IhBB", 1, value, kind, number)
