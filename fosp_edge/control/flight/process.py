"""The recorder's process: `python -m fosp_edge.control.flight.process`, started by `recording.ProcessRecorder`.

Reads its order from standard input, one line of JSON, answers with one line, then takes ticks out of shared memory and
brings them to the disk until it is told to close or its standard input ends, which happens even if the control loop is
killed; what is in the ring by then is still written.
"""

import contextlib
import gc
import json
import os
import select
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fosp_edge.bundle.manifest import Manifest
from fosp_edge.control.flight.channel import Channel
from fosp_edge.control.flight.log import BEGIN, BUNDLE, CLOSE, END, EVENT, TICK, FlightLog
from fosp_edge.control.flight.row import Names, record_of
from fosp_edge.control.flight.view import ViewServer
from fosp_edge.control.recorder import REASONS, Recorder, Writer, sentence_of
from fosp_edge.control.types import TickRecord
from fosp_edge.experience.episode import EpisodeHeader, Recording, StoreError
from fosp_edge.experience.quota import enforce
from fosp_edge.experience.store import ExperienceStore

POLL_S = 0.01
SYNC_S = 0.5


class Keeper:
    """Takes messages and brings them where they belong."""

    def __init__(self, channel: Channel, order: dict[str, Any]) -> None:
        """Open the files. Raises OSError, StoreError."""
        self.channel, meta = channel, order["meta"]
        self._manifest = Manifest.from_json(json.dumps(meta["manifest"]))
        self._type = np.dtype([tuple(tuple(x) if isinstance(x, list) else x for x in item) for item in meta["row"]])
        self._names = Names(tuple(meta["names"]["reasons"]), tuple(meta["names"]["states"]))
        self._flight: FlightLog | None = None
        if order["flight"] is not None:
            self._flight = FlightLog(Path(order["flight"]), meta, keep_s=order["keep_s"])
        self._store: ExperienceStore | None = None
        self._quota_bytes: int | None = order.get("quota_bytes")
        self._recorder: Recorder | None = None
        if order["experience"] is not None:
            self._recording = Recording.from_raw(order["recording"])
            self._store = ExperienceStore(Path(order["experience"]), "a")
            self._recorder = Recorder(self._open_episode)
            self._recorder.start()
        self.view = ViewServer(order["view_port"], self._manifest) if order["view_port"] is not None else None
        self._bundle, self._episode_open, self._lost = "", False, 0
        self._synced_s, self._unsynced = time.monotonic(), False

    def _open_episode(self, seed: int, scenario: str) -> Writer:
        assert self._store is not None
        if self._quota_bytes is not None:
            enforce(self._store, self._quota_bytes)
        return self._store.writer(
            EpisodeHeader(
                recording=self._recording,
                source="bundle",
                scenario=scenario,
                seed=seed,
                bundle=self._bundle or None,
                reasons=tuple(reason.name for reason in REASONS),
            )
        )

    def drain(self) -> bool:
        """Deal with what waits; False once it was told to close."""
        goes_on = True
        while goes_on and (found := self.channel.take()) is not None:
            kind, payload = found
            goes_on = kind != CLOSE
            self._take(kind, payload)
            self.channel.drop()
            self._beat()
        self._sync()
        self._beat()
        return goes_on

    def _take(self, kind: int, payload: bytes) -> None:
        if self._flight is not None and kind != CLOSE:
            try:
                self._flight.append(kind, payload)
            except OSError as error:
                self._flight = None
                self.channel.fail(
                    f"the flight recording cannot be written ({error}); free some space, or run with --no-flight"
                )
            self._unsynced = True
        if kind == TICK:
            record = record_of(np.frombuffer(payload, self._type)[0], self._names)
            self._experience(record)
            if self.view is not None:
                self.view.show(record)
            return
        about = json.loads(payload)
        if kind == BUNDLE:
            self._bundle = about["id"]
        elif kind == BEGIN and self._recorder is not None:
            self._recorder.begin_episode(about["seed"], about["scenario"], 60.0)
            self._episode_open = True
        elif kind == END and self._recorder is not None and self._episode_open:
            self._recorder.end_episode(about["outcome"], 60.0)
            self._episode_open = False
        elif kind == EVENT and self.view is not None:
            self.view.say(about["sentence"])

    def _experience(self, record: TickRecord) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        if not self._episode_open:  # this process was started in the middle of an episode: the rest is not one
            self._lost += 1
            return
        # Ticks come by the slot and wait there: better to wait for the disk here than to drop one.
        while recorder.failure is None and recorder.backlog > 128:
            self._beat()
            time.sleep(0.005)
        self._lost += not recorder.record(record)

    def _beat(self) -> None:
        recorder = self._recorder
        if recorder is not None and recorder.failure is not None:
            self.channel.fail(recorder.failure)
        self.channel.beat(time.monotonic_ns(), 0 if recorder is None else recorder.written, self._lost)

    def _sync(self) -> None:
        if self._flight is not None and self._unsynced and time.monotonic() - self._synced_s > SYNC_S:
            self._flight.sync()
            self._synced_s, self._unsynced = time.monotonic(), False

    def close(self) -> None:
        """Write what is left."""
        if self._recorder is not None:
            self._recorder.close(60.0)
            self._beat()
        if self._store is not None:
            self._store.close()
        if self._flight is not None:
            self._flight.close()
        if self.view is not None:
            self.view.close()


def main() -> int:
    """Record until told to close. Returns the exit status."""
    source = sys.stdin.fileno()
    order = json.loads(_first_line(source))
    channel = Channel.attach(order["channel"])
    with contextlib.suppress(OSError):  # the ring covers for seconds of waiting; the control loop has nothing to
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        keeper = Keeper(channel, order)
    except (OSError, StoreError) as error:
        _say({"ready": False, "error": sentence_of(error)})
        return 1
    _say({"ready": True, "view": None if keeper.view is None else keeper.view.url})
    gc.freeze()
    try:
        while keeper.drain():
            readable, _, _ = select.select([source], [], [], POLL_S)
            if readable and not os.read(source, 4096):
                keeper.drain()
                break
        keeper.close()
    except Exception as error:  # whatever it is, the control loop has to hear of it
        channel.fail(sentence_of(error))
        return 1
    return 0


def _first_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (data := os.read(descriptor, 1 << 20)):
        line += data
    return line


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
