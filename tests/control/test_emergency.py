"""The emergency stop: wherever it is pressed the motors are told at once, and a person hears whether they heard."""

import io
import os
import pty
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fosp_edge.control.emergency import EmergencyStop


@dataclass
class Motors:
    answers: list[object] = field(default_factory=lambda: [True])
    orders: int = 0

    def stop(self, timeout_s: float) -> bool:
        self.orders += 1
        answer = self.answers[min(self.orders, len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)


def button(motors: Motors) -> tuple[EmergencyStop, list[str], list[str]]:
    told: list[str] = []
    said: list[str] = []
    return EmergencyStop(motors, told.append, said.append), told, said


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_pressing_tells_the_motors_and_the_loop_and_confirms_once() -> None:
    motors = Motors()
    stop, told, said = button(motors)
    stop.press("test")
    stop.press("again")
    stop.close()
    assert motors.orders == 1 and told == ["emergency stop: test"]
    assert len(said) == 1 and "the motors confirmed it after" in said[0]
    assert stop.confirmation is not None and stop.confirmation.acknowledged


def test_it_does_not_wait_for_a_control_thread_that_hangs() -> None:
    motors, gate = Motors(), threading.Event()
    stop = EmergencyStop(motors, lambda detail: None, lambda sentence: None)
    hanging = threading.Thread(target=gate.wait)
    hanging.start()
    stop.press("test")
    wait_for(lambda: stop.confirmation)
    gate.set()
    hanging.join()
    stop.close()
    assert motors.orders == 1


def test_it_tries_again_until_the_motors_answer() -> None:
    motors = Motors([False, OSError("the cable"), False, True])
    stop, _, said = button(motors)
    stop.press("test")
    stop.close()
    assert motors.orders == 4 and "confirmed it" in said[0]


def test_a_stop_that_nobody_acknowledges_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fosp_edge.control.emergency._REPEAT_S", 0.1)
    stop, _, said = button(Motors([False]))
    stop.press("test")
    stop.close()
    assert "NOT confirmed" in said[0] and "cut the power" in said[0]


@pytest.mark.parametrize(
    "act",
    [
        lambda path: path.write_text("1\n"),
        lambda path: path.unlink(),
        lambda path: path.write_text(""),
        lambda path: path.write_text("maybe"),
    ],
)
def test_a_switch_that_is_pressed_or_cannot_be_understood_stops(tmp_path: Path, act: Callable[[Path], object]) -> None:
    path, motors = tmp_path / "value", Motors()
    path.write_text("0\n")
    stop, _, _ = button(motors)
    stop.watch_file(path)
    time.sleep(0.1)
    assert not stop.pressed
    act(path)
    wait_for(lambda: motors.orders)
    stop.close()


def test_a_switch_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    stop, _, _ = button(Motors())
    with pytest.raises(FileNotFoundError):
        stop.watch_file(tmp_path / "value")


@pytest.mark.parametrize(("keys", "pressed"), [(b" ", True), (b"\x1b", True), (b"xyzq", True), (b"xyz\n", False)])
def test_keys(keys: bytes, pressed: bool) -> None:
    person, terminal = pty.openpty()
    motors = Motors()
    stop, _, _ = button(motors)
    assert stop.watch_keyboard(terminal)
    time.sleep(0.05)
    os.write(person, keys)
    if pressed:
        wait_for(lambda: motors.orders)
    else:
        time.sleep(0.3)
    stop.close()
    assert stop.pressed == pressed
    os.close(person)
    os.close(terminal)


@pytest.mark.parametrize("standard_input", [None, io.StringIO(" ")])
def test_a_standard_input_that_is_no_file_is_no_keyboard(
    monkeypatch: pytest.MonkeyPatch, standard_input: io.StringIO | None
) -> None:
    monkeypatch.setattr("sys.stdin", standard_input)
    assert not button(Motors())[0].watch_keyboard()


def test_no_keyboard_is_no_error(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w") as file:
        assert not button(Motors())[0].watch_keyboard(file.fileno())
