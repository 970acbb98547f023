"""The recorder's process, and what a replay makes of what it kept."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from fosp_edge.bundle.manifest import Manifest
from fosp_edge.control.controller import Controller
from fosp_edge.control.flight.log import FlightError
from fosp_edge.control.flight.recording import ProcessRecorder
from fosp_edge.control.flight.replay import compare, open_flight, verify
from fosp_edge.control.flight.row import fill, record_of, row_type
from fosp_edge.control.loop import ControlLoop
from fosp_edge.control.machine import Machine
from fosp_edge.control.pacing import Pacer
from fosp_edge.control.recorder import recording_of
from fosp_edge.control.session import AutomaticOperator, Plan, RunSummary, Session
from fosp_edge.control.types import Reason, TickRecord
from fosp_edge.experience.store import ExperienceStore
from tests.control.fakes import FakeCamera, FakeClock, FakeReferee, FakeRobot, make_graph, make_manifest


@dataclass
class NamedBundle:
    manifest: Manifest = field(default_factory=make_manifest)
    graph_bytes: bytes = field(default_factory=make_graph)
    gate_bytes: bytes | None = None
    id: str = "b" * 64


def drive(
    folder: Path,
    *,
    episodes: int = 2,
    at_tick: dict[int, Callable[[ProcessRecorder], object]] | None = None,
    experience: bool = True,
    **options: object,
) -> tuple[RunSummary, ProcessRecorder, list[TickRecord]]:
    """A run on fakes, kept by the real process."""
    clock, records, bundle = FakeClock(), list[TickRecord](), NamedBundle()
    recording = recording_of(bundle.manifest) if experience else None
    recorder = ProcessRecorder(folder, bundle.manifest, bundle.id, experience=recording, **options)  # type: ignore[arg-type]
    robot, danger = FakeRobot(clock), np.random.default_rng(3)

    def live() -> None:
        robot.state[:5] = danger.random(5) * 0.6
        robot.state[5:8] = danger.uniform(-1, 1, 3)

    robot.on_read = live

    def observe(record: TickRecord, insight: object) -> None:
        records.append(record)
        act = (at_tick or {}).get(len(records))
        if act is not None:
            act(recorder)

    loop = ControlLoop(
        robot,
        [FakeCamera(clock, "fixed"), FakeCamera(clock, "wrist")],
        Controller(bundle),
        Machine(clock),
        referee=FakeReferee(length=12),
        recorder=recorder,
        observer=observe,
        pacer=Pacer(0.05, clock, clock.sleep),
        clock=clock,
        sleep=clock.sleep,
    )
    summary = Session(loop, AutomaticOperator(), clock).run(Plan("standard", first_seed=7, episodes=episodes))
    return summary, recorder, records


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary, list[TickRecord]]:
    folder = tmp_path_factory.mktemp("run")
    summary, _, records = drive(folder)
    return folder, summary, records


def equal(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)  # type: ignore[arg-type]
    if hasattr(a, "__dataclass_fields__"):
        return all(equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)
    return a == b


def test_every_tick_is_kept_with_nothing_rounded_and_experience_beside_it(recorded) -> None:
    folder, summary, records = recorded
    assert summary.reason is Reason.RUN_COMPLETE and (summary.recorded, summary.dropped) == (26, 0)
    flight = open_flight(folder)
    kept = [tick.record for tick in flight.ticks()]
    assert len(kept) == len(records) == 26
    for mine, theirs in zip(kept, records, strict=True):
        assert equal(mine, replace(theirs, bundle=""))
    assert flight.bundles[0]["id"] == "b" * 64 and flight.scenarios == {0: "standard", 1: "standard"}
    with ExperienceStore(folder / "experience") as store:
        assert [episode.summary.rows for episode in store.episodes()] == [13, 13]
        assert all(episode.header.bundle == "b" * 64 and episode.summary.finished for episode in store.episodes())


def test_a_replay_agrees_to_the_last_bit(recorded) -> None:
    found = verify(open_flight(recorded[0]), {0: Controller(NamedBundle())})
    assert found.difference is None and (found.equal, found.without_decision, found.episodes) == (24, 2, 2)
    assert verify(open_flight(recorded[0]), {0: Controller(NamedBundle())}, episode=1).equal == 12


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("surprise", lambda item: item.__setitem__("surprise", item["surprise"] + 1)),
        ("reachability[2]", lambda item: item["reachability"].__setitem__(2, item["reachability"][2] + 1e-7)),
        ("executed action[1]", lambda item: item["action"].__setitem__(1, 0.123)),
        ("candidates[1, 0]", lambda item: item.__setitem__("seed", 99)),
        ("reason", lambda item: item.__setitem__("reason", 0 if item["reason"] else 1)),
        ("reward_value[0]", lambda item: item["image"].__setitem__((0, 0, 0), 255 - item["image"][0, 0, 0])),
    ],
)
def test_a_replay_names_the_first_difference(
    recorded, name: str, spoil: Callable[[object], object], monkeypatch
) -> None:
    flight = open_flight(recorded[0])
    ticks = list(flight.ticks())
    row = np.zeros(1, row_type(flight.manifest))
    # The first tick of an episode, so that its seed decides; and of the second, so that one comes before it.
    at = next(i for i, tick in enumerate(ticks) if tick.episode == 1)
    fill(row, ticks[at].record, 1, 0)
    spoil(row[0])
    ticks[at] = replace(ticks[at], record=record_of(row[0]))
    monkeypatch.setattr(type(flight), "ticks", lambda self: iter(ticks))
    found = verify(flight, {0: Controller(NamedBundle())})
    assert found.difference is not None and found.equal == 12
    assert found.difference.name == name and (found.difference.episode, found.difference.step) == (1, 0)
    assert name in found.difference.sentence() and "was" in found.difference.sentence()


def test_a_tick_that_is_missing_is_bridged_by_what_was_remembered(recorded, monkeypatch) -> None:
    flight = open_flight(recorded[0])
    ticks = list(flight.ticks())
    del ticks[3:6], ticks[0]
    monkeypatch.setattr(type(flight), "ticks", lambda self: iter(ticks))
    found = verify(flight, {0: Controller(NamedBundle())})
    assert found.difference is None and found.equal == 20


def test_another_bundle_is_shown_the_same_pictures(recorded) -> None:
    flight = open_flight(recorded[0])
    same = compare(flight, Controller(NamedBundle()))
    assert (same.ticks, same.episodes, same.same_reason) == (24, 2, 24) and same.largest_action_change == 0.0
    strict = make_manifest()
    strict = replace(strict, filter=replace(strict.filter, feasible_reachability=0.01))
    other = compare(flight, Controller(NamedBundle(strict)))
    assert other.other_interventions > same.interventions and other.largest_action_change > 0.0
    assert len(other.points) == 24
    narrow = replace(strict, state=strict.state[:-1])
    with pytest.raises(FlightError, match="state vector"):
        compare(flight, type("Other", (), {"manifest": narrow})())  # type: ignore[arg-type]


def test_mcap_reads_back_with_foxgloves_schemas(recorded, tmp_path: Path) -> None:
    reader_module = pytest.importorskip("mcap.reader")
    import base64

    from fosp_edge.control.flight.mcap_export import export_mcap

    path = tmp_path / "run.mcap"
    assert export_mcap(open_flight(recorded[0]), path) == 26
    with path.open("rb") as file:
        messages = list(reader_module.make_reader(file).iter_messages())
    topics = {channel.topic: schema.name for schema, channel, _ in messages}
    assert topics == {
        "/camera/fixed": "foxglove.CompressedImage",
        "/camera/wrist": "foxglove.CompressedImage",
        "/tick": "fosp_edge.Tick",
        "/log": "foxglove.Log",
    }
    schemas = {schema.name: json.loads(schema.data) for schema, _, _ in messages}
    for schema, _, message in messages:
        found = json.loads(message.data)
        assert set(found) <= set(schemas[schema.name]["properties"])
        if schema.name == "foxglove.CompressedImage":
            assert base64.b64decode(found["data"]).startswith(b"\x89PNG") and found["format"] == "png"
    assert [path.name for path in tmp_path.iterdir()] == ["run.mcap"]


def test_png_is_what_an_imaging_library_reads() -> None:
    image_module = pytest.importorskip("PIL.Image")
    import io

    from fosp_edge.control.flight.png import png

    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(image_module.open(io.BytesIO(png(image)))), image)


def kill(recorder: ProcessRecorder) -> None:
    assert recorder.pid is not None
    os.kill(recorder.pid, signal.SIGKILL)


def wait_for_restart(recorder: ProcessRecorder) -> None:
    deadline = time.monotonic() + 30.0
    while (recorder.restarts == 0 or recorder.backlog) and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_recorder_that_is_killed_is_started_again_and_no_tick_is_lost(tmp_path: Path) -> None:
    summary, recorder, records = drive(tmp_path, episodes=3, at_tick={5: kill, 15: wait_for_restart})
    assert summary.reason is Reason.RUN_COMPLETE, summary.detail
    assert recorder.restarts == 1
    kept = [tick.record.tick for tick in open_flight(tmp_path).ticks()]
    # The one that it was working on may be there twice: it was written, and then not ticked off.
    assert sorted(set(kept)) == sorted({record.tick for record in records}) and len(kept) <= len(records) + 1
    with ExperienceStore(tmp_path / "experience") as store:
        assert all(problem is None for _, problem in store.verify())
        assert store.episodes()[-1].summary.rows == 13
    assert verify(open_flight(tmp_path), {0: Controller(NamedBundle())}).difference is None


def test_a_control_loop_that_is_killed_leaves_its_last_ticks_to_the_recorder(tmp_path: Path) -> None:
    manifest = make_manifest()
    recorder = ProcessRecorder(tmp_path, manifest, "b" * 64)
    recorder.start()
    recorder._closing.set()  # nobody watches any more, as after kill -9
    recorder.begin_episode(1, "standard")
    row = np.zeros(1, row_type(manifest))
    for number in range(20):
        row[0]["tick"] = number
        recorder.record(replace(record_of(row[0]), bundle="b" * 64))
    process = recorder._process
    assert process is not None and process.stdin is not None
    process.stdin.close()
    assert process.wait(20.0) == 0
    assert [tick.record.tick for tick in open_flight(tmp_path).ticks()] == list(range(20))
    assert not (tmp_path / "experience").exists()


def test_a_place_that_cannot_be_written_stops_the_run_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "flight").write_text("in the way")
    summary, _, records = drive(tmp_path)
    assert summary.reason is Reason.RECORDER_FAILED and not records
    assert "--no-" in summary.detail


def test_the_view_shows_the_newest_tick_to_this_computer_only(tmp_path: Path) -> None:
    seen: dict[str, bytes | int] = {}

    def look(recorder: ProcessRecorder) -> None:
        url = recorder.view_url
        assert url is not None and url.startswith("http://127.0.0.1:")
        deadline = time.monotonic() + 20.0
        while "tick" not in json.loads(get(url + "state.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        seen.update(state=get(url + "state.json"), page=get(url), frame=get(url + "frame.png"))
        for key, path, headers in (("strange", "", {"Host": "evil.example:80"}), ("nothing", "x", {})):
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=10)
            seen[key] = refusal.value.code

    def get(url: str) -> bytes:
        return urllib.request.urlopen(url, timeout=10).read()  # type: ignore[no-any-return]

    summary, _, _ = drive(tmp_path, view_port=0, at_tick={10: look}, experience=False, flight=False)
    assert summary.reason is Reason.RUN_COMPLETE
    assert json.loads(seen["state"])["state"] in ("running", "recovering")
    assert b"<svg" in seen["page"] and seen["frame"].startswith(b"\x89PNG")  # type: ignore[operator,union-attr]
    assert (seen["strange"], seen["nothing"]) == (403, 404)
    assert list(tmp_path.iterdir()) == []
