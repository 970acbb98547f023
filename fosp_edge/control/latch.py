"""A stop that outlives its process: what ended badly, or never ended, is not started again without a person.

The file says `armed` from before the motors are armed for the first time, and how the run ended afterwards. A process
that was killed leaves `armed` behind. Either way the next run on the same motors has to be released first.
"""

import json
import os
import re
import time
from pathlib import Path

from fosp_edge.files import write_atomically


def default_folder() -> Path:
    """Where a user's programs keep state (XDG base directories)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "fosp-edge"


class StopLatch:
    """The latch of the motors behind one port."""

    def __init__(self, port: str, folder: Path | None = None) -> None:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", port).strip("-") or "port"
        self.path = (folder or default_folder()) / f"stopped-{name}.json"
        self._instance = _pseudo_terminal(port)

    @property
    def sentence(self) -> str | None:
        """Why the next run has to be released; None if it need not. A file that cannot be read counts as a stop."""
        try:
            about = json.loads(self.path.read_text())
            state, reason, when = str(about["state"]), str(about["sentence"]), str(about["date_utc"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"the record of the last run, {self.path}, cannot be read ({error})"
        if self._instance is not None and about.get("pseudo_terminal", self._instance) != self._instance:
            return None  # of an emulated robot that is gone; its terminal's number has been given out again
        if state == "armed":
            return f"the run of {when} ended without a word, perhaps in mid-motion"
        return f"the run of {when} was stopped: {reason}"

    def armed(self) -> None:
        """Motors are about to be armed. Raises OSError: it cannot be written down, so they must not be."""
        self._write("armed", "")

    def ended(self, sentence: str | None) -> None:
        """The run is over; `sentence` says what went wrong, None that nothing did. Raises OSError."""
        if sentence is None:
            self.path.unlink(missing_ok=True)
        else:
            self._write("stopped", sentence)

    def release(self) -> bool:
        """An operator's word; True if there was something to release."""
        there = self.path.exists()
        self.path.unlink(missing_ok=True)
        return there

    def _write(self, state: str, sentence: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        content = {"state": state, "sentence": sentence, "date_utc": date, "process": os.getpid()}
        if self._instance is not None:
            content["pseudo_terminal"] = self._instance
        write_atomically(self.path, json.dumps(content).encode())


def _pseudo_terminal(port: str) -> str | None:
    """What tells a pseudo-terminal from others that have had its number: when it was made. None for a real port, whose
    latch holds whatever is plugged in."""
    try:
        path = Path(port).resolve(strict=True)
        return f"made at {path.stat().st_ctime_ns} ns" if path.parent == Path("/dev/pts") else None
    except OSError:
        return None
