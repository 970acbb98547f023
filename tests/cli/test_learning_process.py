"""The learner beside a robot: from experience to a proposal, what the gate asks for, and going on after kill -9."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
import torch
from safetensors.torch import load_file, save_file

from export.exporter import export_bundle
from export.reference import recorded_reachability
from export.restore import agent_of_bundle
from export.thresholds import onset_score
from fosp_edge.agent.config import Config
from fosp_edge.bundle.admission import GateThresholds
from fosp_edge.bundle.folder import load_bundle, read_files, write_bundle
from fosp_edge.bundle.manifest import GATE_FILE, GRAPH_FILE, IMAGINATION_FILE, WEIGHTS_FILE, GateThreshold
from fosp_edge.cli.admission import missed_violations
from fosp_edge.cli.calibrate_filter import calibrate_filter, calibrate_gate
from fosp_edge.cli.candidate import make_candidate
from fosp_edge.cli.familiarity import DISTURBANCES, is_normal
from fosp_edge.cli.home import Home, read_json
from fosp_edge.cli.learn import Mode
from fosp_edge.cli.learner_data import OWN_HELD_OUT_EVERY, LearnerData, own_held_out
from fosp_edge.cli.learner_note import LearnerNote
from fosp_edge.cli.learning_process import LearnerProcess, LearnSettings, config_of
from fosp_edge.control.arming import refusals
from fosp_edge.control.controller import Controller
from fosp_edge.control.follow import follow
from fosp_edge.control.gate import Trace, Tracer
from fosp_edge.control.inference import PolicyRuntime
from fosp_edge.control.look_ahead import LookAheadRuntime
from fosp_edge.control.recorder import REASONS, recording_of
from fosp_edge.control.types import Reason
from fosp_edge.experience.episode import EpisodeHeader
from fosp_edge.experience.schema import Steps
from fosp_edge.experience.selection import CameraSelection
from fosp_edge.experience.store import ExperienceStore
from fosp_edge.learning.average import AVERAGE_FILE
from fosp_edge.learning.checkpoint import CHECKPOINT_FILE
from fosp_edge.learning.learner import Learner
from fosp_edge.learning.pace import MODES
from tests.bundle.test_versions import make
from tests.export.agents import make_agent, make_episode
from tests.export.test_exporter import CONTRACT

ROOT = Path(__file__).parents[2]
ANYTHING = GateThresholds(
    benefit=-1e3, latency_share=10.0, latency_ratio=1e3, model_ratio=10.0, missed_more=1.0, noticed_less=1.0,
    value_drop=1e3, cost_rise=1e3, luck=1.0 - 1e-9, imitation_ratio=1e3, one_sided=1.0, shadow_ticks=1,
    shadow_interventions=1.0, shadow_chatter=1e3, shadow_surprise=1e3, shadow_difference=1.0, least_episodes=1,
)  # fmt: skip
"""A gate that weighs nothing: the episodes here are noise."""
QUICK = LearnSettings(
    mode="light", updates_per_candidate=2, episodes_per_candidate=1, compared_episodes=40, offline_rows=200,
    checkpoint_every_s=0.2,
)  # fmt: skip


def plain(seed: int, rows: int = 12, onset: int | None = None) -> Steps:
    """An episode whose pictures are much alike."""
    steps = make_episode(seed, rows, onset)
    steps["image"] = (100 + steps["image"].astype(np.int64) // 16).astype(np.uint8)
    return steps


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tiny agent, with a gate."""
    folder = tmp_path_factory.mktemp("first")
    episodes = [plain(1, onset=8), plain(2), plain(3, onset=6)]
    path = export_bundle(
        make_agent(feasible_cost_weight=0.5), CONTRACT, episodes, name="tiny", miss_rate=0.5, data_sha256="0" * 64,
        provenance={}, parent_folder=folder, storage="float32",
    ).path  # fmt: skip
    bundle = load_bundle(path)
    runtime, traces = PolicyRuntime(bundle), []
    for seed in range(40):
        tracer, steps = Tracer(64, 64), plain(seed)
        ticks = [(tracer(seen), scores.surprise) for seen, scores in follow(runtime, steps, seed)]
        cells, moved = (np.stack([part[index] for part, _ in ticks]) for index in (0, 1))
        surprise = np.array([value for _, value in ticks], np.float32)
        traces.append((f"{seed:06d}", Trace(cells, surprise, steps["state"][:-1].astype(np.float32), moved)))
    found = calibrate_gate(traces, 0.2)
    gate = GateThreshold(
        found.threshold, 0.2, found.sample_size, "2026-01-01T00:00:00+00:00", "0" * 64,
        bundle.manifest.files[GRAPH_FILE], "closed loop",
    )  # fmt: skip
    files = read_files(bundle) | {GATE_FILE: found.parameters.to_bytes()}
    return write_bundle(replace(bundle.manifest, gate=gate), files, folder)


def fill(folder: Path, bundle: Path, count: int, source: str) -> Path:
    with ExperienceStore(folder, "a") as store:
        live(store, bundle, count, source)
    return folder


def live(store: ExperienceStore, bundle: Path, count: int, source: str) -> None:
    recording = recording_of(load_bundle(bundle).manifest)
    driver = bundle.name if source == "bundle" else None
    for seed in range(count):
        header = EpisodeHeader(
            recording, source, scenario="standard", seed=seed, bundle=driver, reasons=tuple(r.name for r in REASONS)
        )
        steps = plain(1000 + seed, onset=8 if seed % 3 == 0 else None)
        steps["reason"] = np.full(12, REASONS.index(Reason.POLICY), np.uint8)
        steps["is_terminal"][-1] = seed % 3 != 0
        store.add(header, steps, "success" if seed % 3 else "time out")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, first: Path) -> Path:
    """A robot that has lived for forty episodes, and offline data beside it; copied for each test."""
    folder = tmp_path_factory.mktemp("template")
    found = Home(folder / "robot")
    found.make()
    found.versions(first).start()
    fill(found.experience, first, 40, "bundle")
    fill(folder / "data", first, 60, "safe")
    return folder


@pytest.fixture
def home(tmp_path: Path, template: Path) -> Home:
    """A robot that has lived for forty episodes."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Home(tmp_path / "robot")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory, template: Path, first: Path) -> tuple[Home, dict[str, Any]]:
    """Such a robot with what the gate said of its first candidate; not to be changed."""
    folder = tmp_path_factory.mktemp("judged")
    shutil.copytree(template, folder, dirs_exist_ok=True)
    found = Home(folder / "robot")
    return found, until_a_verdict(found, first, settings=replace(QUICK, average_rate=1.0), thresholds=ANYTHING)


def learner(home: Home, first: Path, settings: LearnSettings = QUICK, **more: object) -> LearnerProcess:
    say = more.pop("say", lambda _: None)
    return LearnerProcess(
        home,
        first,
        [home.folder.parent / "data"],
        settings,
        stopped=more.pop("stopped", lambda: False),
        say=say,
        **more,
    )  # type: ignore[arg-type]


def until_a_verdict(home: Home, first: Path, **more: object) -> dict[str, Any]:
    learner(home, first, stopped=home.verdicts.exists, **more).run()
    return json.loads(home.verdicts.read_text().splitlines()[0])


def test_what_was_learnt_becomes_a_candidate_with_a_gate_of_its_own_and_is_proposed(
    judged: tuple[Home, dict[str, Any]], first: Path
) -> None:
    home, verdict = judged
    assert verdict["admitted"], verdict["sentence"]
    state = home.versions(first).state
    assert state.proposed == verdict["candidate"] and 0.0 < state.expected["violation"] < 1.0
    candidate = home.versions(first).load(state.proposed)
    gate, running = candidate.manifest.gate, load_bundle(first).manifest.gate
    assert gate is not None and running is not None and gate.level == running.level
    assert gate.sample_size == 40 // OWN_HELD_OUT_EVERY and gate.graph_sha256 == candidate.manifest.files[GRAPH_FILE]
    assert {"one-sided, own", "one-sided, offline"} <= {item["name"] for item in verdict["checks"]}
    line = next(item for item in verdict["checks"] if item["name"] == "out-of-distribution gate")
    count = len(DISTURBANCES) * 40 // OWN_HELD_OUT_EVERY
    noticed = rf"notices (\d+) of {count} disturbed pictures, the better of the running bundle and the chosen one (\d+)"
    seen = re.search(noticed, line["figures"])
    assert seen is not None and seen[1] == seen[2] and int(seen[1]) >= count // 2
    assert candidate.manifest.filter.level == load_bundle(first).manifest.filter.level
    assert not list(home.learner.glob("candidate.*"))


def test_the_filters_judge_is_not_taught_and_its_thresholds_do_not_rise(
    judged: tuple[Home, dict[str, Any]], first: Path
) -> None:
    home, verdict = judged
    running, candidate = load_bundle(first), home.versions(first).load(str(verdict["candidate"]))
    before, after = (agent_of_bundle(bundle).state_dict() for bundle in (running, candidate))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("critics.reach_")} <= same
    assert not {name for name in before if name.startswith("critics.cost_")} <= same
    for name in ("feasible_reachability", "stop_reachability"):
        assert getattr(candidate.manifest.filter, name) <= getattr(running.manifest.filter, name)
    offline = agent_of_bundle(running).config
    # Where the latent states change, it has to learn what they mean.
    taught = {mode: config_of(offline, mode, QUICK, 1.0).reachability_learns for mode in ("light", "heads", "full")}
    assert taught == {"light": False, "heads": False, "full": True}


@pytest.mark.parametrize(("asked", "mode", "warned"), [("auto", "heads", False), ("full", "full", True)])
def test_the_judge_learns_only_where_a_person_asked_for_it_and_is_told_so(
    home: Home, first: Path, asked: str, mode: str, warned: bool
) -> None:
    # Even if a robot had learnt everything before.
    LearnerNote(mode="full").write(home.learner_note)
    said: list[str] = []
    learner(home, first, replace(QUICK, mode=asked, updates=1, updates_per_candidate=1000), say=said.append).run()
    assert LearnerNote.read(home.learner_note).mode == mode
    assert any("the filter's judge learns along" in sentence for sentence in said) == warned
    assert any(sentence.endswith("s here: mode heads") for sentence in said) != warned


def test_a_threshold_from_recordings_alone_would_be_higher_and_is_not_taken(home: Home, first: Path) -> None:
    """With a running bundle stricter than recordings ask for, as one calibrated on a policy's own violations is."""
    running, versions = load_bundle(first), home.versions(first)
    strict = replace(running.manifest.filter, feasible_reachability=1e-3, stop_reachability=2e-3)
    stricter = write_bundle(replace(running.manifest, filter=strict), read_files(running), versions.folder)
    versions.adopt(stricter.name)
    versions.confirm()
    verdict = until_a_verdict(home, first, thresholds=ANYTHING)
    made = versions.load(str(verdict["candidate"])).manifest.filter
    assert (made.feasible_reachability, made.stop_reachability) == (1e-3, 2e-3)


def test_a_candidate_is_the_average_of_what_was_learnt_also_after_a_new_start(home: Home, first: Path) -> None:
    settings = replace(QUICK, average_rate=0.25, updates_per_candidate=3)
    learner(home, first, replace(settings, updates=2)).run()
    (folder,) = (item for item in home.learner.iterdir() if item.is_dir())
    name = "online_policy.head.0.weight"
    before, moved = load_file(folder / AVERAGE_FILE), load_file(folder / CHECKPOINT_FILE)[f"agent/{name}"]
    assert not torch.equal(before[name], moved)
    before[name] += 1.0
    save_file(before, folder / AVERAGE_FILE)
    verdict = until_a_verdict(home, first, settings=settings, thresholds=ANYTHING)
    assert verdict["update"] == 3, "it began again instead of going on"
    made = agent_of_bundle(home.versions(first).load(str(verdict["candidate"]))).state_dict()[name]
    learnt = load_file(folder / CHECKPOINT_FILE)[f"agent/{name}"]
    torch.testing.assert_close(made, 0.75 * before[name] + 0.25 * learnt)


def test_what_was_lived_teaches_the_same_however_long_it_takes(
    home: Home, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("robot", "data"):
        shutil.copytree(tmp_path / name, tmp_path / "slow" / name)
    weights = []
    for place in (home, Home(tmp_path / "slow" / "robot")):
        with ExperienceStore(place.experience, "a") as store:
            updates: list[int] = []

            def go_on_living(*_: object, into: Any = store, done: Any = updates) -> None:
                if len(done) == 5:
                    live(into, first, 8, "bundle")
                done.append(0)

            settings = replace(QUICK, updates_per_candidate=15)
            learner(
                place, first, settings, stopped=place.verdicts.exists, thresholds=ANYTHING, before_update=go_on_living,
                lived=store,
            ).run()  # fmt: skip
        candidate = json.loads(place.verdicts.read_text().splitlines()[0])["candidate"]
        weights.append(place.versions(first).load(candidate).manifest.files[WEIGHTS_FILE])
        clock = iter(range(0, 10**9, 60))  # from here on a minute passes between two looks at the clock
        slow = SimpleNamespace(monotonic=lambda ticks=clock: float(next(ticks)), time=time.time, sleep=time.sleep)
        monkeypatch.setattr("fosp_edge.cli.learning_process.time", slow)
    assert weights[0] == weights[1]


def test_where_the_filter_looks_ahead_that_of_the_candidate_does(home: Home, first: Path, tmp_path: Path) -> None:
    versions = home.versions(first)
    before = {item.name for item in versions.folder.iterdir()}
    calibrate_filter(first, tmp_path / "data", miss_rate=0.4, recorded=True, look_ahead=True, out=versions.folder)
    (ahead,) = (item for item in versions.folder.iterdir() if item.is_dir() and item.name not in before)
    versions.use(ahead.name)
    versions.confirm()
    verdict = until_a_verdict(home, first, thresholds=ANYTHING)
    assert verdict["admitted"], verdict["sentence"]
    candidate = versions.load(str(verdict["candidate"]))
    limits = candidate.manifest.filter
    assert limits.look_ahead_sha256 == candidate.manifest.files[IMAGINATION_FILE]
    assert limits.level == 0.4 and refusals(candidate.manifest, candidate.manifest.files[GRAPH_FILE]) == []
    assert isinstance(Controller(candidate).runtime, LookAheadRuntime)


def test_the_gate_as_it_is_refuses_what_learnt_amiss_and_says_why(home: Home, first: Path) -> None:
    def push(trainer: object, pushed: Learner) -> None:
        with torch.no_grad():
            for policy in pushed.agent.policies:
                policy.head.output.bias[0] += 0.3

    verdict = until_a_verdict(home, first, settings=replace(QUICK, average_rate=1.0), before_update=push)
    assert not verdict["admitted"] and re.search(
        r"one-sided, own: .* lies [\d.]+% of its range", str(verdict["sentence"])
    )
    state = home.versions(first).state
    assert state.proposed is None and verdict["candidate"] in state.refused


def test_with_too_few_normal_episodes_for_a_gate_there_is_no_candidate(home: Home, first: Path) -> None:
    lines = lambda: home.verdicts.read_text().splitlines() if home.verdicts.exists() else []  # noqa: E731
    with ExperienceStore(home.experience, "a") as store:
        for info in store.episodes():
            steps = store.read(info.id)
            steps["reason"] = np.full(12, REASONS.index(Reason.UNFAMILIAR), np.uint8)
            assert not is_normal(info, steps)
            if own_held_out(info):
                store.replace(info.id, steps, "success")

        def go_on_living(*_: object) -> None:
            if len(lines()) == 1 and len(list(store.episodes())) == 40:
                assert home.versions(first).state.proposed is None
                live(store, first, 16, "bundle")

        settings = replace(QUICK, updates_per_candidate=20)
        learner(
            home, first, settings, stopped=lambda: len(lines()) > 1, thresholds=ANYTHING, before_update=go_on_living,
            lived=store,
        ).run()  # fmt: skip
    without, after = map(json.loads, lines())
    assert "the gate needs at least 4 normal episodes" in str(without["sentence"]) and not without["admitted"]
    # It is tried again as soon as there are more episodes, not after as many updates once more.
    assert after["admitted"] and after["update"] - without["update"] < 20, after["sentence"]


def test_a_candidate_s_filter_is_not_calibrated_on_what_the_last_one_let_happen(
    judged: tuple[Home, dict[str, Any]], first: Path
) -> None:
    home, verdict = judged
    found = home.versions(first).load(verdict["candidate"]).manifest.filter
    names = [camera.name for camera in load_bundle(first).manifest.cameras]
    with ExperienceStore(home.experience) as lived, ExperienceStore(home.folder.parent / "data") as data:
        held_out = LearnerData(
            [CameraSelection(data, names)], CameraSelection(lived, names), QUICK.compared_episodes
        ).held_out()
    own, offline = (sum(info.summary.violations > 0 for info, _ in items) for items in (held_out.own, held_out.offline))
    assert own > 0 and offline > 0 and found.sample_size == offline
    (known,) = (item["figures"] for item in verdict["checks"] if item["name"] == "known violations")
    assert f" of {own + offline} known violations" in known  # but it is held against them


def test_what_is_held_out_is_of_all_data_sets_alike(home: Home, first: Path, tmp_path: Path) -> None:
    fill(tmp_path / "other", first, 60, "careful")
    names = [camera.name for camera in load_bundle(first).manifest.cameras]
    with ExitStack() as stack:
        lived, *data = (
            CameraSelection(stack.enter_context(ExperienceStore(folder)), names)
            for folder in (home.experience, tmp_path / "data", tmp_path / "other")
        )
        held_out = LearnerData(data, lived, 4).held_out()
    sources = [info.header.source for info, _ in held_out.offline]
    assert sorted(sources) == ["careful", "careful", "safe", "safe"]
    assert sum(info.summary.violations > 0 for info, _ in held_out.offline) == 2


def test_a_known_violation_counts_as_missed_by_the_share_of_draws_that_miss_it(first: Path) -> None:
    bundle, steps = load_bundle(first), plain(5, onset=8)
    agent, violation = agent_of_bundle(bundle), steps["violation"].astype(np.float32)
    scores = [
        onset_score(recorded_reachability(agent, steps, torch.Generator().manual_seed(seed)), violation)
        for seed in range(1, 101)
    ]

    def missed(threshold: float) -> tuple[list[float], int]:
        thresholds = replace(bundle.manifest.filter, feasible_reachability=float(threshold))
        return missed_violations([(agent, thresholds)], [steps, plain(6), plain(7, onset=1)], lambda: None)

    assert missed(0.0) == ([0.0], 1)  # of the others one has none, and one no time before it
    assert missed(1.0) == ([1.0], 1)
    (share,), _ = missed(np.median(scores))
    assert 0.0 < share < 1.0


def test_small_pushes_add_up_to_one_that_a_person_has_to_choose(home: Home, first: Path) -> None:
    """The running bundle lies aside of the one that was chosen: a candidate that is like it, too."""
    process = learner(home, first)
    running, versions = process.running(), process.versions
    agent = agent_of_bundle(running)
    with torch.no_grad():
        for policy in agent.policies:
            policy.head.output.bias[0] += 0.3
    names = [camera.name for camera in running.manifest.cameras]
    with ExperienceStore(home.experience) as lived, ExperienceStore(home.folder.parent / "data") as data:
        known = LearnerData([CameraSelection(data, names)], CameraSelection(lived, names), QUICK.compared_episodes)
        pushed = make_candidate(agent, running, known.held_out(), known.learnt_from(), versions.folder,
                                scratch_folder=home.learner, update=0)  # fmt: skip
    versions.adopt(pushed.name)
    versions.confirm()
    watchful = replace(ANYTHING, one_sided=0.05)
    verdict = until_a_verdict(home, first, thresholds=watchful)
    assert {item["name"] for item in verdict["checks"] if not item["passed"]} == {
        "one-sided, own",
        "one-sided, offline",
    }
    judged = {item["name"] for item in verdict["checks"]}
    for what in ("value", "cost", "world model"):  # by the chosen bundle's critics and model, too
        assert any(name.startswith(f"{what}, own") and name.endswith("since chosen") for name in judged)
    home.verdicts.unlink()
    shutil.rmtree(home.learner)  # it would wait for further episodes
    home.make()
    versions.use(pushed.name)
    verdict = until_a_verdict(home, first, settings=replace(QUICK, seed=1), thresholds=watchful)
    assert verdict["admitted"], verdict["sentence"]


def test_what_cannot_be_held_against_the_chosen_bundle_is_no_candidate(home: Home, first: Path) -> None:
    versions = home.versions(first)
    other = make(versions.folder, 1)  # of another robot
    versions.use(other)
    versions.adopt(first.name)
    versions.confirm()
    assert versions.state.chosen == other
    verdict = until_a_verdict(home, first, thresholds=ANYTHING)
    assert not verdict["admitted"] and f"held against bundle {other[:12]}" in str(verdict["sentence"])
    assert "`fosp-edge bundles use current`" in str(verdict["sentence"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch sees no NVIDIA GPU")
def test_a_gpu_learns_and_a_candidate_is_made_and_judged_on_the_cpu(home: Home, first: Path) -> None:
    verdict = until_a_verdict(home, first, thresholds=ANYTHING, settings=replace(QUICK, device="cuda"))
    assert verdict["admitted"], verdict["sentence"]
    assert (home.learner / "001-light" / AVERAGE_FILE).exists() and read_json(home.status)["memory_mib"] > 0


def test_a_learner_that_explodes_begins_again_from_what_the_robot_runs(home: Home, first: Path) -> None:
    said: list[str] = []

    def explode(trainer: object, exploding: object) -> None:
        for parameter in exploding.agent.online_policy.parameters():  # type: ignore[attr-defined]
            parameter.data.fill_(float("nan"))

    learner(home, first, stopped=lambda: bool(said), before_update=explode, say=said.append).run()
    assert "learning diverged and begins again" in said[0]
    assert home.versions(first).state.proposed is None and not list(home.learner.glob("*/checkpoint.safetensors"))


def test_costs_weigh_more_than_offline_and_decide_with_their_old_weight_who_acts(home: Home, first: Path) -> None:
    seen: list[Config] = []
    learner(home, first, stopped=lambda: bool(seen), before_update=lambda _, it: seen.append(it.config)).run()
    offline = agent_of_bundle(load_bundle(first)).config
    assert offline.feasible_cost_weight > 0.0
    assert seen[0].cost_emphasis == 4.0 and offline.cost_emphasis == 1.0
    assert seen[0].feasible_cost_weight == offline.feasible_cost_weight
    # Whoever begins anew from a bundle that was learnt so weighs costs as the first one did.
    threshold = load_bundle(first).manifest.filter.feasible_reachability
    assert config_of(seen[0], "light", QUICK, threshold) == config_of(offline, "light", QUICK, threshold) == seen[0]
    assert seen[0].expansion_cost_weight == max(offline.expansion_cost_weight, offline.feasible_cost_weight)


def test_nothing_is_imitated_that_the_filter_would_have_stopped(home: Home, first: Path) -> None:
    seen: list[Config] = []
    learner(home, first, stopped=lambda: bool(seen), before_update=lambda _, it: seen.append(it.config)).run()
    offline, threshold = agent_of_bundle(load_bundle(first)).config, load_bundle(first).manifest.filter
    assert seen[0].feasible_reachability == min(offline.feasible_reachability, threshold.feasible_reachability)
    assert config_of(offline, "light", QUICK, 0.01).feasible_reachability == 0.01
    assert config_of(offline, "light", QUICK, 1.0).feasible_reachability == offline.feasible_reachability


def test_only_what_was_proposed_and_taken_back_counts_as_lost(tmp_path: Path) -> None:
    home = Home(tmp_path / "robot")
    home.make()
    process = LearnerProcess(home, None, [], LearnSettings(), stopped=lambda: True, say=lambda _: None)
    process.versions.start()
    refused, proposed = make(process.versions.folder, 1), make(process.versions.folder, 2)
    process.versions.refuse(refused, "cost, own: expected cost worse by +9 %")
    assert not process._lost(process.versions.state.refused)
    process._remember(proposed)
    process.versions.adopt(proposed)
    assert not process._lost(process.versions.state.refused)
    process.versions.roll_back("a person did not like it")
    assert process._lost(process.versions.state.refused)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
import torch
torch.set_num_threads(1)
from fosp_edge.cli.home import Home
from fosp_edge.cli.learner_note import LearnerNote
from fosp_edge.cli.learning_process import LearnerProcess, LearnSettings
settings = LearnSettings(mode="light", updates_per_candidate=10**6, offline_rows=200, checkpoint_every_s=0.2)
home = Home(Path({home!r}))
say = lambda text: print(text, flush=True)
LearnerProcess(home, Path({first!r}), [Path({data!r})], settings, stopped=lambda: False, say=say).run()
"""


def test_killed_at_any_moment_it_goes_on_from_its_last_checkpoint(home: Home, first: Path) -> None:
    values = {
        "root": str(ROOT),
        "home": str(home.folder),
        "first": str(first),
        "data": str(home.folder.parent / "data"),
    }
    dice, kept = np.random.default_rng(0), 0
    for _ in range(3):
        home.status.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(**values)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 120.0
            while read_json(home.status).get("state") != "learns" or read_json(home.status)["update"] <= kept + 2:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)
            assert read_json(home.status)["update"] > kept, "it went on"
            time.sleep(float(dice.uniform(0.3, 1.0)))
        finally:
            process.send_signal(signal.SIGKILL)
            output = process.communicate()[0]
        assert "of no use" not in output, output
        from fosp_edge.learning.checkpoint import read_header

        header = read_header(home.learner / read_json(home.learner_note)["folder"])
        update = int(header["progress"]["update"])
        assert update > kept
        kept = update


def test_the_modes_of_the_command_line_are_those_that_there_are() -> None:
    assert {mode.value for mode in Mode} == {"auto", *MODES}
