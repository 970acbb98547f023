"""The C core behind the interface of `firmware_bridge.controller.Controller`, so that one test drives both."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

import firmware_bridge
from firmware_bridge.codes import Drive, Fault, State
from firmware_bridge.controller import Feedback, Identity
from firmware_bridge.framing import FramingCounters

FIRMWARE = Path(firmware_bridge.__file__).parent / "firmware"

needs_gcc = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("make")), reason="needs gcc and make to build the C core for this machine"
)
needs_arm_gcc = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("make")), reason="needs gcc-arm-none-eabi and make"
)
needs_qemu = pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="needs qemu-system-arm")


def build(target: str, folder: Path, *options: str) -> None:
    """Run make in the firmware folder; everything it writes goes to `folder`."""
    made = subprocess.run(
        ["make", "-s", "-C", str(FIRMWARE), f"BUILD={folder}", *options, target], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr


@lru_cache(maxsize=1)
def core_library() -> ctypes.CDLL:
    """The C core, built once per test run; FOSP_CORE_LIBRARY names another build of it (coverage, mutants)."""
    if os.environ.get("FOSP_CORE_LIBRARY"):
        return load_library(Path(os.environ["FOSP_CORE_LIBRARY"]))
    folder = Path(mkdtemp(prefix="fosp-core-"))
    build("shared", folder)
    return load_library(folder / "libfosp_core.so")


def load_library(path: Path) -> ctypes.CDLL:
    """Load a build of the core and declare its functions."""
    library = ctypes.CDLL(str(path))
    pointer, text, u32 = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32
    library.shim_new.restype, library.shim_new.argtypes = pointer, [u32, u32, text, text]
    library.shim_free.argtypes = [pointer]
    library.shim_receive.argtypes = [pointer, text, ctypes.c_size_t]
    library.shim_pull.restype, library.shim_pull.argtypes = ctypes.c_size_t, [pointer, text, ctypes.c_size_t]
    library.shim_tick.argtypes = [pointer, u32, ctypes.c_int, *[pointer] * 4, ctypes.c_uint16]
    library.shim_state.argtypes = library.shim_drive.argtypes = [pointer]
    library.shim_faults.restype, library.shim_faults.argtypes = u32, [pointer]
    library.shim_setpoint.restype, library.shim_setpoint.argtypes = ctypes.c_int64, [pointer, u32]
    size = ctypes.c_size_t
    library.shim_decoder_new.restype = pointer
    library.shim_decoder_free.argtypes = [pointer]
    library.shim_decoder_push.argtypes = [pointer, ctypes.c_uint8]
    library.shim_decoder_payload.restype, library.shim_decoder_payload.argtypes = size, [pointer, text]
    library.fosp_crc32.restype, library.fosp_crc32.argtypes = u32, [text, size]
    library.fosp_encode_frame.restype, library.fosp_encode_frame.argtypes = size, [text, size, text]
    library.fosp_cobs_decode.restype, library.fosp_cobs_decode.argtypes = ctypes.c_bool, [text, size, text, pointer]
    library.fosp_wanted_velocity.restype = library.fosp_slew.restype = ctypes.c_int64
    library.fosp_wanted_velocity.argtypes = [pointer, ctypes.c_int32, ctypes.c_int32]
    library.fosp_slew.argtypes = [pointer, ctypes.c_int64, ctypes.c_int64, u32]
    library.fosp_stays_inside.restype = ctypes.c_bool
    library.fosp_stays_inside.argtypes = [pointer, ctypes.c_int64, ctypes.c_int64]
    library.fosp_check_command.restype = ctypes.c_int
    library.fosp_check_command.argtypes = [
        *[ctypes.c_int, pointer, u32, pointer, pointer, pointer, ctypes.c_uint64, ctypes.c_bool, pointer]
    ]
    return library


class FrameEvent(IntEnum):
    """What the C decoder makes of a byte."""

    NONE = 0
    READY = 1
    BROKEN = 2
    DAMAGED = 3
    OVERSIZE = 4


class NativeDecoder:
    """The C frame decoder; `counters` as those of the Python one."""

    def __init__(self) -> None:
        self._c = core_library()
        self._self = self._c.shim_decoder_new()
        self.counters = FramingCounters()

    def __del__(self) -> None:
        self._c.shim_decoder_free(self._self)

    def feed(self, data: bytes) -> list[bytes]:
        self.counters.bytes_received += len(data)
        payloads, room = [], ctypes.create_string_buffer(300)
        for byte in data:
            event = FrameEvent(self._c.shim_decoder_push(self._self, byte))
            if event is FrameEvent.READY:
                self.counters.frames_received += 1
                length = self._c.shim_decoder_payload(self._self, room)
                payloads.append(room.raw[:length])
            self.counters.framing_errors += event is FrameEvent.BROKEN
            self.counters.crc_errors += event is FrameEvent.DAMAGED
            self.counters.oversize_frames += event is FrameEvent.OVERSIZE
        return payloads


class NativeController:
    """One C controller; the same methods and attributes as the Python one."""

    def __init__(self, identity: Identity, library: ctypes.CDLL | None = None) -> None:
        self.identity = identity
        self._c = library or core_library()
        name, serial = identity.name.encode(), identity.serial.encode()
        self._self = self._c.shim_new(identity.joint_count, int(identity.capabilities), name, serial)
        self._pulled = ctypes.create_string_buffer(8192)

    def __del__(self) -> None:
        self._c.shim_free(self._self)

    def receive(self, data: bytes) -> None:
        self._c.shim_receive(self._self, data, len(data))

    def take_output(self) -> bytes:
        length = self._c.shim_pull(self._self, self._pulled, len(self._pulled))
        return self._pulled.raw[:length]

    def tick(self, dt_us: int, feedback: Feedback) -> None:
        count = self.identity.joint_count
        positions = (ctypes.c_int32 * count)(*(now.position_urad for now in feedback.measured))
        velocities = (ctypes.c_int32 * count)(*(now.velocity_urad_s for now in feedback.measured))
        currents = (ctypes.c_int16 * count)(*feedback.currents_ma)
        temperatures = (ctypes.c_int16 * count)(*feedback.temperatures_decidegree)
        self._c.shim_tick(
            self._self, dt_us, int(feedback.valid), positions, velocities, currents, temperatures, feedback.voltage_mv
        )

    @property
    def state(self) -> State:
        return State(self._c.shim_state(self._self))

    @property
    def drive(self) -> Drive:
        return Drive(self._c.shim_drive(self._self))

    @property
    def faults(self) -> Fault:
        return Fault(self._c.shim_faults(self._self))

    @property
    def setpoints(self) -> list[int]:
        return [self._c.shim_setpoint(self._self, joint) for joint in range(self.identity.joint_count)]
