"""Which bundle runs: chosen, taken back, remembered, and there after a power cut at any moment."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fosp_edge.bundle.folder import load_bundle, write_bundle
from fosp_edge.bundle.manifest import BundleError
from fosp_edge.bundle.versions import STATE_FILE, Versions
from tests.bundle.manifests import FILES, make_manifest


def make(parent: Path, mark: int) -> str:
    files = FILES | {"weights.safetensors": f"weights {mark}".encode()}
    return write_bundle(replace(make_manifest(), name=f"tiny-{mark}"), files, parent).name


@pytest.fixture
def versions(tmp_path):
    fallback = write_bundle(make_manifest(), FILES, tmp_path / "shipped")
    return Versions(tmp_path / "bundles", fallback)


def test_the_shipped_one_starts_where_nothing_was_learnt_yet(versions):
    bundle, complaints = versions.start()
    assert bundle.id == versions.fallback.name and not complaints
    assert versions.state.current == bundle.id


def test_what_runs_is_kept_when_the_software_ships_another_one(versions, tmp_path):
    before, _ = versions.start()
    newer = write_bundle(replace(make_manifest(), name="newer"), FILES, tmp_path / "newer")
    bundle, complaints = Versions(versions.folder, newer).start()
    assert bundle.id == before.id and not complaints
    shutil.rmtree(versions.folder / before.id)
    bundle, complaints = Versions(versions.folder, newer).start()
    assert bundle.id == newer.name and len(complaints) == 1


def test_a_bundle_is_proposed_adopted_confirmed_and_the_next_one_taken_back_for_good(versions):
    versions.start()
    good, bad = make(versions.folder, 1), make(versions.folder, 2)
    versions.propose(versions.load(good), {"violation": 0.1})
    assert versions.state.proposed == good and versions.state.current == versions.fallback.name
    versions.adopt(good)
    assert versions.state.probation and versions.state.expected == {"violation": 0.1}
    with pytest.raises(BundleError, match="still on probation"):
        versions.propose(versions.load(bad), {})
    versions.confirm()
    versions.propose(versions.load(bad), {})
    versions.adopt(bad)
    assert versions.roll_back("more violations than expected") == good
    state = versions.state
    assert (state.current, state.probation) == (good, False)
    assert state.refused[bad].reason == "more violations than expected"
    with pytest.raises(BundleError, match="more violations than expected"):
        versions.propose(versions.load(bad), {})


def test_the_same_weights_under_another_name_are_refused_too(versions):
    versions.start()
    first = make(versions.folder, 3)
    versions.refuse(first, "quietly worse")
    files = FILES | {"weights.safetensors": b"weights 3"}
    again = write_bundle(replace(make_manifest(), name="tiny-again"), files, versions.folder).name
    assert again != first
    with pytest.raises(BundleError, match="quietly worse"):
        versions.propose(versions.load(again), {})
    versions.use(first)  # a person may still want it
    assert versions.state.current == first and first not in versions.state.refused


def test_what_a_person_chose_is_remembered_while_what_was_learnt_takes_over_and_gives_back(versions):
    first = versions.start()[0].id
    assert versions.state.chosen == first
    learnt, wanted = make(versions.folder, 1), make(versions.folder, 2)
    versions.propose(versions.load(learnt), {})
    versions.adopt(learnt)
    versions.confirm()
    assert versions.start()[0].id == learnt and versions.state.chosen == first
    versions.use(learnt)  # runs already: a person says that it is good
    assert versions.state.chosen == learnt and not versions.state.probation
    versions.use(wanted)
    assert versions.state.chosen == wanted
    versions.roll_back("a person erred")
    assert versions.state.chosen == versions.state.current == learnt


def test_small_steps_are_counted_from_now_on_where_nobody_kept_what_was_chosen(versions):
    versions.start()
    learnt = make(versions.folder, 1)
    versions.adopt(learnt)
    path = versions.folder / STATE_FILE
    older = json.loads(path.read_text())
    del older["chosen"]
    path.write_text(json.dumps(older))
    assert versions.state.chosen is None
    versions.start()
    assert versions.state.chosen == learnt


def test_what_was_chosen_and_does_not_start_is_chosen_no_longer(versions):
    versions.start()
    good, bad = make(versions.folder, 1), make(versions.folder, 2)
    versions.adopt(good)
    versions.confirm()
    versions.use(bad)
    (versions.folder / bad / "step.onnx").write_bytes(b"other bytes")
    assert versions.start()[0].id == versions.state.chosen == good


def test_a_pinned_bundle_stays(versions):
    versions.start()
    pinned, other = make(versions.folder, 1), make(versions.folder, 2)
    versions.pin(pinned)
    with pytest.raises(BundleError, match="pinned"):
        versions.propose(versions.load(other), {})
    assert versions.start()[0].id == pinned
    versions.pin(None)
    versions.confirm()
    versions.propose(versions.load(other), {})


def test_a_damaged_bundle_gives_way_to_the_previous_one_and_is_remembered(versions):
    versions.start()
    good, bad = make(versions.folder, 1), make(versions.folder, 2)
    for name in (good, bad):
        versions.adopt(name)
        versions.confirm()
    (versions.folder / bad / "step.onnx").write_bytes(b"other bytes")
    bundle, complaints = versions.start()
    assert bundle.id == good and "does not start" in complaints[0]
    assert versions.state.current == good and bad in versions.state.refused
    shutil.rmtree(versions.folder / good)
    assert versions.start()[0].id == versions.fallback.name


def test_names_may_be_short_and_have_aliases(versions):
    versions.start()
    name = make(versions.folder, 1)
    assert versions.find(name[:8]) == name
    assert versions.find("shipped") == versions.find("current") == versions.fallback.name
    with pytest.raises(BundleError, match="no previous"):
        versions.find("previous")
    with pytest.raises(BundleError, match="no bundle begins"):
        versions.find("zz")


def test_pruning_spares_what_is_named(versions):
    versions.start()
    names = [make(versions.folder, mark) for mark in range(6)]
    versions.use(names[5])
    for name in names[:2]:
        versions.confirm()
        versions.adopt(name)
    removed = versions.prune(1)
    assert set(removed) < set(names[2:5]) and len(removed) == 2
    assert {names[0], names[1], names[5]} <= set(versions.ids())


def test_a_damaged_state_file_says_what_to_do(versions):
    (versions.folder / STATE_FILE).write_text("{")
    with pytest.raises(BundleError, match="delete it"):
        versions.start()


class Cut(BaseException):
    """The power went."""


def test_a_power_cut_at_every_write_boundary_leaves_a_bundle_that_starts(versions, monkeypatch):
    """Every system call that changes the disk is the last one, in turn, while bundles are written and adopted."""
    versions.start()
    calls = left = 0

    def cutting(call):
        def cut(*arguments, **named):
            nonlocal calls, left
            calls += 1
            left -= 1
            if left == 0:
                raise Cut
            return call(*arguments, **named)

        return cut

    for name in ("fsync", "rename", "replace", "mkdir"):
        monkeypatch.setattr(os, name, cutting(getattr(os, name)))
    cuts = finished = mark = 0
    while not finished:
        cuts += 1
        mark += 1
        left, before = cuts, versions.state.current
        name = None
        try:
            name = make(versions.folder, mark)
            versions.propose(versions.load(name), {})
            versions.adopt(name)
            versions.confirm()
            finished = 1
        except Cut:
            pass
        left = -1
        bundle, complaints = versions.start()
        assert not complaints and bundle.id in (before, name)
        assert load_bundle(versions.path_of(bundle.id)).id == bundle.id
        if versions.state.probation:
            versions.roll_back("tried again", refuse=False)
    assert cuts > 10 and calls > 100


class Shelf(RuleBasedStateMachine):
    """Whatever is done in whatever order: there is a bundle that starts, and none that was refused is proposed."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = Path(tempfile.mkdtemp())
        fallback = write_bundle(make_manifest(), FILES, self.folder / "shipped")
        self.versions = Versions(self.folder / "bundles", fallback)
        self.versions.start()
        self.names = [make(self.versions.folder, mark) for mark in range(3)]

    @rule(index=st.integers(0, 2), verb=st.sampled_from(["propose", "adopt", "use", "pin", "refuse"]))
    def with_bundle(self, index: int, verb: str) -> None:
        name = self.names[index]
        try:
            if verb == "propose":
                self.versions.propose(self.versions.load(name), {})
            elif verb == "refuse":
                if name != self.versions.state.current:
                    self.versions.refuse(name, "test")
            else:
                getattr(self.versions, verb)(name)
        except BundleError:
            pass

    @rule(verb=st.sampled_from(["confirm", "unpin", "roll_back", "start"]))
    def alone(self, verb: str) -> None:
        try:
            if verb == "unpin":
                self.versions.pin(None)
            elif verb == "roll_back":
                self.versions.roll_back("test")
            else:
                getattr(self.versions, verb)()
        except BundleError:
            pass

    @invariant()
    def starts(self) -> None:
        state = self.versions.state
        assert state.current is not None and self.versions.load(state.current)
        assert state.current != state.previous
        assert state.chosen is not None and self.versions.load(state.chosen)
        assert state.proposed is None or state.proposed not in state.refused

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestShelf = Shelf.TestCase
TestShelf.settings = settings(max_examples=15, stateful_step_count=12)
