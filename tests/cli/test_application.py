"""The tree of verbs: quick, lazy, and every error a sentence."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer

from fosp_edge.cli import application, verbs
from fosp_edge.cli.application import LazyCommand, build
from fosp_edge.cli.extras import EXTRAS, MissingExtra, missing_extra, require
from fosp_edge.cli.failures import DEBUG_VARIABLE, explain
from fosp_edge.cli.verbs import ONLY_WITH, PANELS, VERBS, Verb
from tests.cli.tree import run_verb

ROOT = Path(__file__).parents[2]
ROOMS = ("fosp_edge", "export", "firmware_bridge", "calib")
PROBE = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None  # importing it fails from here on
sys.path.insert(0, {root!r})
sys.argv = {argv!r}
import fosp_edge.cli
try:
    fosp_edge.cli.main()
finally:
    print("heavy:", sorted(name for name in {heavy!r} if sys.modules.get(name) is not None), file=sys.stderr)
"""
HEAVY = ("torch", "mujoco", "matplotlib", "onnxruntime", "gymnasium", "cv2", "numpy", "lmdb")


def command_line(*arguments, blocked=(), env=None):
    code = PROBE.format(root=str(ROOT), argv=["fosp-edge", *arguments], heavy=HEAVY, blocked=list(blocked))
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | (env or {}),
    )


def test_help_needs_nothing_heavy_and_nothing_that_may_be_missing():
    found = command_line("--help", blocked=HEAVY)
    assert found.returncode == 0
    assert "heavy: []" in found.stderr
    assert "doctor" in found.stdout
    assert "data" in found.stdout


def test_help_of_a_group_imports_none_of_its_verbs():
    found = command_line("data", "--help", blocked=HEAVY)
    assert found.returncode == 0, found.stderr
    assert "heavy: []" in found.stderr
    assert "verify" in found.stdout


def test_completion_knows_verbs_below_groups_without_importing_them():
    env = {"_FOSP_EDGE_COMPLETE": "complete_bash", "COMP_WORDS": "fosp-edge data ", "COMP_CWORD": "2"}
    found = command_line(env=env, blocked=HEAVY)
    assert "verify" in found.stdout.split()
    assert "heavy: []" in found.stderr


def every_verb():
    root = build()
    for name, command in root.commands.items():
        if hasattr(command, "commands"):
            yield from ([name, inner] for inner in command.commands)
        else:
            yield [name]


def test_every_verb_that_is_there_loads_and_its_help_has_an_example():
    seen = list(every_verb())
    assert ["doctor"] in seen
    for path in seen:
        result = run_verb(*path, "--help")
        assert result.exit_code == 0, (path, result.output)
        assert f"fosp-edge {' '.join(path)}" in result.output
        assert "Example" in result.output


@pytest.mark.parametrize("path", [["run"], ["data", "record"]])
def test_options_of_a_verb_that_has_many_stand_under_headings(path):
    shown, heading, under = run_verb(*path, "--help").output.splitlines(), "", {}
    for line in shown:
        if line.startswith("╭─"):
            heading = line.strip("╭─╮ ")
        elif line.startswith("│ --"):
            under[line.split()[1]] = heading
    assert (under["--help"], under["--seed"]) == ("Options", "Options")
    assert (under["--port"], under["--camera"], under["--estop-file"]) == ("The robot", "Cameras", "Safety")


def test_every_heading_is_of_an_option_that_there_is():
    commands = [LazyCommand(path, VERBS[path]).load() for path in ("run", "data record")]
    assert set(PANELS) <= {parameter.name for command in commands for parameter in command.params}


def explained() -> None:
    """Explain at length.

    This paragraph was broken at the columns of the source, which are more than a terminal has, and the terminal has
    to break it anew.

    - a list
    - stays one
    """


@pytest.mark.parametrize(
    ("arguments", "alone", "needed"),
    [
        (("run", "--dataset", "data"), "--dataset", "--learn"),
        (("run", "--view-port", "9000"), "--view-port", "--view"),
        (("run", "--ids", "1-6"), "--ids", "--port"),
        (("data", "record", "out", "--calibration", "c.json"), "--calibration", "--port"),
    ],
)
def test_an_option_that_says_nothing_alone_is_refused(arguments, alone, needed):
    found = run_verb(*arguments)
    assert found.exit_code == 2
    said = " ".join(found.output.replace("│", " ").split())
    assert f"Invalid value for '{alone}': says nothing without {needed}" in said


def test_every_option_that_says_nothing_alone_is_one_that_there_is():
    for path, verb in VERBS.items():
        name = path.rpartition(" ")[2]
        known = {parameter.name for parameter in LazyCommand(name, verb).load().params}
        assert {needed for option, needed in verb.only_with.items() if option in known} <= known, path
    assert set(ONLY_WITH) <= {parameter.name for parameter in LazyCommand("run", VERBS["run"]).load().params}


def test_help_is_broken_at_the_columns_of_the_terminal(monkeypatch):
    monkeypatch.setattr(verbs, "explained", explained, raising=False)
    monkeypatch.setitem(application.VERBS, "explained", Verb("fosp_edge.cli.verbs:explained", "Explain.", "fosp-edge"))
    shown = [line.strip() for line in run_verb("explained", "--help", columns=80).output.splitlines()]
    begin = next(index for index, line in enumerate(shown) if line.startswith("This paragraph"))
    assert shown[begin + 1 : begin + 3] == ["terminal has, and the terminal has to break it anew.", ""]
    assert "- a list" in shown and "- stays one" in shown


def fail_with(monkeypatch, error):
    def verb():
        raise error

    monkeypatch.setattr(verbs, "explode", verb, raising=False)
    monkeypatch.setitem(
        application.VERBS, "explode", Verb("fosp_edge.cli.verbs:explode", "Explode.", "fosp-edge explode")
    )
    return run_verb("explode")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ValueError("the moon is not a camera; use another"), 1, "the moon is not a camera"),
        (FileNotFoundError(2, "No such file or directory", "some.png"), 1, "some.png"),
        (OSError(28, "No space left on device"), 1, "the disk is full"),
        (KeyError("x"), 70, "of fosp-edge's own"),
        (RuntimeError("unforeseen"), 70, "unforeseen"),
        (ModuleNotFoundError("No module named 'mujoco.viewer'", name="mujoco.viewer"), 1, "fosp-edge[simulation]"),
        (ModuleNotFoundError("No module named 'nowhere'", name="nowhere"), 70, "nowhere"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Exit(4), 4, ""),
    ],
)
def test_every_error_is_a_sentence_and_a_status(monkeypatch, error, status, words):
    monkeypatch.delenv(DEBUG_VARIABLE, raising=False)
    result = fail_with(monkeypatch, error)
    assert result.exit_code == status
    assert words in result.output
    assert "Traceback" not in result.output


def test_errors_of_the_rooms_are_sentences(monkeypatch):
    from fosp_edge.bundle.manifest import BundleError
    from fosp_edge.cameras.base import CameraLost
    from fosp_edge.robots.base import RobotLost

    for error in (BundleError("wrong hash"), CameraLost("the camera is gone"), RobotLost("the arm is gone")):
        result = fail_with(monkeypatch, error)
        assert (result.exit_code, str(error) in result.output) == (1, True)


def test_debugging_lets_the_error_itself_through(monkeypatch):
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    error = ValueError("look inside")
    assert fail_with(monkeypatch, error).exception is error


def test_a_mistyped_verb_is_a_usage_error():
    result = run_verb("doctr")
    assert result.exit_code == 2
    assert "doctr" in result.output


def test_verbs_whose_module_is_not_there_are_left_out(monkeypatch):
    monkeypatch.setitem(application.VERBS, "dance", Verb("fosp_edge.cli.dance:dance", "Dance.", "fosp-edge dance"))
    assert "dance" not in build().commands


def test_an_extra_that_is_missing_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(EXTRAS, "simulation", ("a_module_that_nobody_has",))
    with pytest.raises(MissingExtra, match=r"pip install 'fosp-edge\[simulation\]'"):
        require("simulation")
    assert missing_extra(ModuleNotFoundError(name="unheard_of")) is None


def test_the_table_of_extras_is_that_of_the_package():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared, always = project["optional-dependencies"], {entry.split(">")[0] for entry in project["dependencies"]}
    packages = {
        "cv2": "opencv-python-headless", "PIL": "Pillow", "yaml": "PyYAML",
        "mcap_ros2": "mcap-ros2-support", "mcap_protobuf": "mcap-protobuf-support",
    }  # fmt: skip
    for extra, modules in EXTRAS.items():
        names = {entry.split(">")[0] for entry in declared[extra]} - always
        assert {packages.get(module, module) for module in modules} == names


def _named_commands():
    """Commands that documents show and messages advise: (where, words)."""
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "firmware_bridge").glob("*.md")]
    modules = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    for path in (*documents, *modules):
        text = re.sub(r'"\s*\n\s*f?"', "", path.read_text())  # a message over several lines of source
        shown = re.findall(r"^    (fosp-edge .*)$", text, re.MULTILINE) if path.suffix == ".md" else []
        for command in (*shown, *re.findall(r"`(fosp-edge [^`]*)`", text)):
            yield path.relative_to(ROOT), re.split(r" -- | #|\||\.\.\.", command)[0].split()[1:]


def test_every_command_that_documents_and_messages_name_is_one_that_there_is():
    root, seen = build(), 0
    for path, words in _named_commands():
        command, used = root, 0
        while used < len(words) and words[used] in getattr(command, "commands", {}):
            command, used = command.commands[words[used]], used + 1
            command = command.load() if isinstance(command, LazyCommand) else command
        flags = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        known = {"--help", *(flag for item in command.params for flag in (*item.opts, *item.secondary_opts))}
        assert flags <= known, (path, words)
        if hasattr(command, "commands"):  # of all verbs, or of a group's
            assert not any(re.fullmatch(r"[a-z-]+", word) for word in words[used:]), (path, words)
        seen += 1
    assert seen > 100


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("fosp_edge.control.inference", "NotFinite"),
        ("fosp_edge.simulation.safety_gym.loading", "SafetyGymMissing"),
        ("fosp_edge.simulation.safety_gym.pictures", "PicturesError"),
        ("fosp_edge.learning.trainer", "TrainingDivergedError"),
    ],
)
def test_what_already_is_a_sentence_for_a_person_is_no_error_of_our_own(module: str, name: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("mujoco")
    assert explain(getattr(import_module(module), name)("install it")) == ("install it", 1)
