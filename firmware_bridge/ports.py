"""Serial ports: names that last, latency timers, and what stands in the way of opening them."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports

UDEV_RULE = (
    "# Serial adapters pass on every byte after 1 ms instead of 16; their group may open them.\n"
    'ACTION=="add", SUBSYSTEM=="usb-serial", DRIVER=="ftdi_sio", ATTR{latency_timer}="1"\n'
    'SUBSYSTEM=="tty", ENV{ID_BUS}=="usb", GROUP="dialout", MODE="0660"\n'
)
"""For /etc/udev/rules.d/99-fosp-serial.rules."""

_PIN_HEADER = "ttyTHS*"
"""Of a Jetson; pyserial does not look for these."""


@dataclass(frozen=True)
class PortInfo:
    """One serial port of this machine."""

    device: str
    """Name that depends on the order of plugging: /dev/ttyUSB0."""
    lasting_name: str
    """Name that stays with the adapter (/dev/serial/by-id/...), or the device where it has none."""
    description: str
    may_open: bool
    latency_timer_ms: int | None
    """How long the adapter sits on received bytes; None where it has no such timer."""

    @property
    def on_board(self) -> bool:
        """Whether it is always there, wired or not."""
        return Path(self.device).match(_PIN_HEADER)

    @property
    def adapter(self) -> str:
        """The adapter's own name, as calibrations are filed under."""
        return Path(self.lasting_name).name


def lasting_name(device: str, by_id: Path = Path("/dev/serial/by-id")) -> str:
    """Return the by-id name that leads to a device, or the device itself."""
    wanted = os.path.realpath(device)
    if by_id.is_dir():
        for link in sorted(by_id.iterdir()):
            if os.path.realpath(link) == wanted:
                return str(link)
    return device


def _timer_file(device: str, sys_root: Path) -> Path:
    return sys_root / "bus/usb-serial/devices" / Path(os.path.realpath(device)).name / "latency_timer"


def latency_timer_ms(device: str, sys_root: Path = Path("/sys")) -> int | None:
    """Return an adapter's latency timer in milliseconds, None where it has none."""
    with contextlib.suppress(OSError, ValueError):
        return int(_timer_file(device, sys_root).read_text())
    return None


def shorten_latency(device: str, sys_root: Path = Path("/sys")) -> bool:
    """Set an adapter's latency timer to 1 ms. False where it has one and this user may not write it (see UDEV_RULE)."""
    if latency_timer_ms(device, sys_root) in (None, 1):
        return True
    try:
        _timer_file(device, sys_root).write_text("1")
    except OSError:
        return False
    return True


def find_ports(devices: Path = Path("/dev")) -> list[PortInfo]:
    """Return the USB and on-board serial ports that have something behind them."""
    found = {port.device: port.description or "" for port in list_ports.comports() if port.hwid != "n/a"}
    found |= {str(path): "on-board serial port" for path in devices.glob(_PIN_HEADER)}
    return [
        PortInfo(
            device,
            lasting_name(device),
            description,
            os.access(device, os.R_OK | os.W_OK),
            latency_timer_ms(device),
        )
        for device, description in sorted(found.items())
    ]
