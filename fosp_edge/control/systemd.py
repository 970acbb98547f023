"""Telling systemd that the run is ready and alive: its notification protocol, which is one datagram per message."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping


class Notifier:
    """Speaks to the service manager that started this process; silent where there is none."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_s = 0.0
        """Within this time the manager wants a sign of life; 0 if it wants none."""
        with contextlib.suppress(ValueError):
            if environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
                self.watchdog_s = int(environment.get("WATCHDOG_USEC", "0")) * 1e-6
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def send(self, message: str) -> bool:
        """Send one message; False if nobody takes it."""
        if not self._address:
            return False
        # An abstract address is written with an @ in place of its zero byte.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(message.encode(), address)
            return True
        return False

    @property
    def there(self) -> bool:
        """Whether a service manager started this process."""
        return bool(self._address)

    def status(self, line: str) -> bool:
        """What `systemctl status` shows; of several lines the first."""
        return self.send("STATUS=" + line.partition("\n")[0].strip())

    def ready(self, status: str) -> bool:
        """Everything was checked and is at work."""
        return self.send(f"READY=1\nSTATUS={status}")

    def stopping(self, status: str) -> bool:
        """The run is ending."""
        return self.send(f"STOPPING=1\nSTATUS={status}")

    def watch(self, alive: Callable[[], bool]) -> None:
        """Give a sign of life three times per watchdog period, for as long as `alive` says so."""
        if not self._address or self.watchdog_s <= 0.0:
            return

        def work() -> None:
            while not self._done.wait(self.watchdog_s / 3.0):
                if alive():
                    self.send("WATCHDOG=1")

        self._thread = threading.Thread(target=work, name="systemd", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more signs of life."""
        self._done.set()
        if self._thread is not None:
            self._thread.join(2.0)


class Progress:
    """Whether a control loop still goes on: ticks count up, or nothing may move."""

    def __init__(self, ticks: Callable[[], int], may_move: Callable[[], bool]) -> None:
        self._ticks, self._may_move = ticks, may_move
        self._last = -1

    def __call__(self) -> bool:
        """Asked now and then; False if it moves the robot and has not ticked since it was last asked."""
        now, before = self._ticks(), self._last
        self._last = now
        return now != before or not self._may_move()
