"""Which bundle a robot runs: current, previous, proposed, pinned, and those it must not try again.

One folder holds the bundles and one small JSON file says what each is for. The file is replaced as a whole (written
aside, synced, renamed), and a bundle is only ever named in it after its own folder is on the disk: a power cut at any
moment leaves the file of before or of after, and either names a bundle that starts. If even that one is damaged, the
previous one starts, and then the one that came with the software.

Several processes change the file (the run, the learner, a person at a shell), each under an exclusive lock.
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fosp_edge.bundle.folder import Bundle, load_bundle
from fosp_edge.bundle.manifest import WEIGHTS_FILE, BundleError
from fosp_edge.bundle.validation import SHA256
from fosp_edge.files import locked, write_atomically

STATE_FILE, LOCK_FILE = "versions.json", "versions.lock"
SCHEMA_VERSION = 1
_LEFT_AFTER_S = 3600.0
"""No bundle takes an hour to write."""


@dataclass(frozen=True)
class Refusal:
    """Why a bundle is not to be tried again."""

    reason: str
    date_utc: str
    weights_sha256: str = ""
    """Recognises the same weights exported a second time."""


@dataclass(frozen=True)
class State:
    """What the bundles of a robot are for. Bundles are named by their SHA-256."""

    current: str | None = None
    """The one that runs, or will at the next start."""
    previous: str | None = None
    """The one to return to: the last that ran before the current one and did not disappoint."""
    probation: bool = False
    """Whether the current one has yet to prove itself."""
    proposed: str | None = None
    """Passed the gate and waits for a safe moment."""
    expected: dict[str, float] = field(default_factory=dict)
    """What the gate saw the proposed or current bundle do: probation compares with it."""
    pinned: str | None = None
    """A person wants this one and no other, until they say otherwise."""
    chosen: str | None = None
    """The one that a person chose last, or that the robot began with: small steps away from it must not add up."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


class Versions:
    """The bundles of one robot. Any number of processes may use the same folder.

    Args:
        folder: holds the bundles, each in a folder named by its hash; made if it is not there.
        fallback: folder of a bundle that starts whatever happened to the others.
    """

    def __init__(self, folder: Path, fallback: Path) -> None:
        self.folder, self.fallback = folder, fallback
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def state(self) -> State:
        """What the file says; the default if there is none yet.

        Raises:
            BundleError: the file is damaged, which no power cut does.
        """
        path = self.folder / STATE_FILE
        try:
            return _from_json(path.read_text())
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise BundleError(
                f"{path} cannot be read ({error}); delete it to begin again with the bundle that was shipped"
            ) from error

    def path_of(self, bundle_id: str) -> Path:
        """Folder of a bundle, among the robot's own or the fallback."""
        return self.fallback if bundle_id == self.fallback.name else self.folder / bundle_id

    def load(self, bundle_id: str) -> Bundle:
        """A verified bundle. Raises BundleError."""
        return load_bundle(self.path_of(bundle_id))

    def find(self, prefix: str) -> str:
        """The id that begins with `prefix`, or an alias: `current`, `previous`, `shipped`.

        Raises:
            BundleError: none, or several.
        """
        state = self.state
        aliases = {
            "current": state.current or self.fallback.name, "previous": state.previous, "shipped": self.fallback.name
        }  # fmt: skip
        if prefix in aliases:
            if (named := aliases[prefix]) is None:
                raise BundleError(f"there is no {prefix} bundle yet")
            return named
        found = [name for name in self.ids() if name.startswith(prefix)]
        if len(found) != 1:
            what = "no bundle begins" if not found else f"{len(found)} bundles begin"
            raise BundleError(f"{what} with {prefix!r}; `fosp-edge bundles versions --home HOME` lists them")
        return found[0]

    def ids(self) -> list[str]:
        """Every bundle at hand, the fallback first, then by name."""
        own = sorted(entry.name for entry in self.folder.iterdir() if SHA256.fullmatch(entry.name))
        return [self.fallback.name, *(name for name in own if name != self.fallback.name)]

    def start(self) -> tuple[Bundle, list[str]]:
        """The bundle to start with, verified, and a sentence for each that should have started and could not.

        In this order: pinned, current, previous, fallback. What could not start is refused from then on. A proposal
        that waits becomes the current one, on probation: there is no safer moment than before the motors are armed.

        Raises:
            BundleError: not even the fallback starts.
        """
        state, complaints = self.state, list[str]()
        if state.proposed is not None and not state.probation and state.pinned is None:
            self.adopt(state.proposed)
            state = self.state
        wanted = [name for name in (state.pinned, state.current, state.previous) if name is not None]
        for name in dict.fromkeys(wanted):
            try:
                bundle = self.load(name)
            except BundleError as error:
                complaints.append(f"bundle {name[:12]} does not start: {error}")
                self.refuse(name, str(error))
                continue
            self._keep(bundle)
            if name not in (state.pinned, state.current):
                self._start_with(name)
            elif state.chosen is None:  # a file from before this was kept
                self._change(lambda before, name=name: replace(before, chosen=name))
            return bundle, complaints
        bundle = load_bundle(self.fallback)
        self._keep(bundle)
        self._start_with(bundle.id)
        return bundle, complaints

    def _keep(self, bundle: Bundle) -> None:
        """Copy a bundle into the folder: where it came from, the next version of the software may have another."""
        kept = self.folder / bundle.id
        if kept.exists():
            return
        temporary = self.folder / f".{bundle.id[:12]}.{secrets.token_hex(4)}"
        try:
            shutil.copytree(bundle.path, temporary)
            for entry in temporary.iterdir():
                _sync(entry)
            temporary.rename(kept)
            _sync(self.folder)
        except OSError as error:
            raise BundleError(f"the bundle cannot be copied to {self.folder} ({error}); free some space") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _start_with(self, name: str) -> None:
        def change(before: State) -> State:
            lost = before.chosen is None or before.chosen in before.refused
            return replace(before, current=name, previous=None, probation=False, expected={},
                           chosen=name if lost else before.chosen)  # fmt: skip

        self._change(change)

    def is_refused(self, bundle: Bundle) -> Refusal | None:
        """Why this bundle, or one of the same weights, is not to be tried again; None if it may be."""
        weights = bundle.manifest.files.get(WEIGHTS_FILE, "")
        for name, refusal in self.state.refused.items():
            if name == bundle.id or (refusal.weights_sha256 and refusal.weights_sha256 == weights):
                return refusal
        return None

    def propose(self, bundle: Bundle, expected: dict[str, float]) -> None:
        """Offer a bundle that passed the gate to whoever drives the robot.

        Raises:
            BundleError: it was refused before, another one is pinned, or one is still on probation.
        """
        if (refusal := self.is_refused(bundle)) is not None:
            raise BundleError(f"bundle {bundle.id[:12]} was refused on {refusal.date_utc}: {refusal.reason}")

        def change(before: State) -> State:
            if before.pinned is not None:
                raise BundleError(f"bundle {before.pinned[:12]} is pinned; `fosp-edge bundles pin --off` lets go of it")
            if before.probation:
                raise BundleError(f"bundle {(before.current or '')[:12]} is still on probation")
            return replace(before, proposed=bundle.id, expected=dict(expected))

        self._change(change)

    def adopt(self, bundle_id: str) -> None:
        """The bundle runs from now on, on probation; the one before becomes the one to return to."""

        def change(before: State) -> State:
            back = before.previous if before.current == bundle_id else before.current
            return replace(before, current=bundle_id, previous=back, probation=True, proposed=None)

        self._change(change)

    def confirm(self) -> None:
        """The current bundle has proven itself."""
        self._change(lambda before: replace(before, probation=False))

    def roll_back(self, reason: str, *, refuse: bool = True) -> str:
        """Return to the previous bundle, or to the fallback if there is none; the present one is not tried again.

        Returns:
            The id of the bundle that runs from now on.
        """
        back = self.fallback.name

        def change(before: State) -> State:
            nonlocal back
            back = before.previous or self.fallback.name
            if before.current is not None and back == before.current:
                raise BundleError("there is no other bundle to return to")
            after = replace(before, current=back, previous=None, probation=False, proposed=None, expected={})
            if refuse and before.current is not None:
                after = replace(after, refused=before.refused | {before.current: self._refusal(before.current, reason)})
            return replace(
                after,
                pinned=None if after.pinned == before.current else after.pinned,
                chosen=back if after.chosen == before.current else after.chosen,
            )

        self._change(change)
        return back

    def refuse(self, bundle_id: str, reason: str) -> None:
        """Remember not to try a bundle again; if it was proposed, it is no longer."""

        def change(before: State) -> State:
            return replace(
                before,
                proposed=None if before.proposed == bundle_id else before.proposed,
                refused=before.refused | {bundle_id: self._refusal(bundle_id, reason)},
            )

        self._change(change)

    def use(self, bundle_id: str) -> None:
        """A person's choice: it runs from now on, on probation unless it ran already; an earlier refusal of it is
        forgotten, and what is learnt is held against it."""
        bundle = self.load(bundle_id)

        def change(before: State) -> State:
            refused = {name: item for name, item in before.refused.items() if name != bundle.id}
            if before.current == bundle.id:
                return replace(before, refused=refused, chosen=bundle.id)
            return replace(before, current=bundle.id, previous=before.current or self.fallback.name, probation=True,
                           proposed=None, expected={}, refused=refused, chosen=bundle.id)  # fmt: skip

        self._change(change)

    def pin(self, bundle_id: str | None) -> None:
        """Keep to one bundle, whatever the learner proposes; None lets go of it."""
        if bundle_id is not None:
            self.use(bundle_id)
        self._change(lambda before: replace(before, pinned=bundle_id, proposed=None))

    def prune(self, keep: int) -> list[str]:
        """Delete the oldest bundles that nothing refers to, down to `keep`; returns their ids."""
        with locked(self.folder / LOCK_FILE):
            state = self.state
            named = {
                state.current, state.previous, state.proposed, state.pinned, state.chosen, self.fallback.name
            }  # fmt: skip
            loose = [name for name in self.ids() if name not in named]
            loose.sort(key=lambda name: (self.folder / name).stat().st_mtime_ns)
            removed = loose[: max(0, len(loose) - keep)]
            for name in removed:
                _remove(self.folder / name)
            for left in self.folder.glob(".*"):  # half a bundle, of a process that was killed
                if left.is_dir() and time.time() - left.stat().st_mtime > _LEFT_AFTER_S:
                    shutil.rmtree(left, ignore_errors=True)
            return removed

    def _refusal(self, bundle_id: str, reason: str) -> Refusal:
        weights = ""
        with contextlib.suppress(BundleError):  # damaged: its name is all there is to know it by
            weights = self.load(bundle_id).manifest.files.get(WEIGHTS_FILE, "")
        return Refusal(reason, datetime.now(timezone.utc).isoformat(timespec="seconds"), weights)

    def _change(self, action: Any) -> None:
        with locked(self.folder / LOCK_FILE):
            before = self.state
            after = action(before)
            if after != before:
                write_atomically(self.folder / STATE_FILE, (json.dumps(asdict(after), indent=1) + "\n").encode())
                _sync(self.folder)


def _from_json(text: str) -> State:
    raw = json.loads(text)
    if raw.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"schema {raw.get('schema_version')!r}, this version reads {SCHEMA_VERSION}")
    if unknown := raw.keys() - {item.name for item in fields(State)}:
        raise ValueError(f"unknown entries {', '.join(sorted(unknown))}")
    names = ("current", "previous", "proposed", "pinned", "chosen")
    if bad := [name for name in names if raw.get(name) is not None and not SHA256.fullmatch(raw[name])]:
        raise ValueError(f"{bad[0]} is not the id of a bundle")
    refused = {str(name): Refusal(**item) for name, item in raw.get("refused", {}).items()}
    return State(**raw | {"refused": refused})


def _remove(folder: Path) -> None:
    """Delete a bundle so that half of it is never taken for one: away from its name first."""
    hidden = folder.with_name(f".{folder.name[:12]}.old")
    folder.rename(hidden)
    for entry in hidden.iterdir():
        entry.unlink()
    hidden.rmdir()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
