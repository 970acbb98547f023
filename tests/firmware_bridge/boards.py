"""The firmware as a process with a serial line: the host build, and the Cortex-M3 image under QEMU."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.firmware_bridge.native import build


@dataclass
class Board:
    """A running firmware: its serial port, and its process (which the test may kill)."""

    port: str
    process: subprocess.Popen[str]
    monitor: Path | None = None

    def reset(self) -> None:
        """Press the reset button of the emulated board."""
        assert self.monitor is not None
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.monitor))
            talk = line.makefile("rw")
            talk.readline()
            for order in ("qmp_capabilities", "system_reset"):
                talk.write(json.dumps({"execute": order}) + "\n")
                talk.flush()
                while "return" not in json.loads(talk.readline()):
                    pass


@contextmanager
def _running(command: list[str], pattern: str, monitor: Path | None = None) -> Iterator[Board]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(pattern, line)
            if found:
                yield Board(found.group(1), process, monitor)
                return
        raise AssertionError("the firmware named no port")
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def host_board(folder: Path, joints: int = 6, *, wheels: bool = False) -> Iterator[Board]:
    build("host", folder)
    with _running(
        [str(folder / "fosp_host"), str(joints), *(["wheels"] if wheels else [])], r"^(/dev/pts/\d+)"
    ) as board:
        yield board


@contextmanager
def qemu_board(folder: Path) -> Iterator[Board]:
    build("qemu", folder)
    monitor = folder / "qmp.sock"
    command = ["qemu-system-arm", "-M", "lm3s6965evb", "-nographic", "-monitor", "none"]
    command += ["-qmp", f"unix:{monitor},server=on,wait=off", "-chardev", "pty,id=s0", "-serial", "chardev:s0"]
    command += ["-kernel", str(folder / "fosp_qemu.elf")]
    with _running(command, r"redirected to (\S+)", monitor) as board:
        yield board
