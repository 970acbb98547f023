"""Questions and the emergency stop share one keyboard: each key goes where it belongs, no stop is ever swallowed."""

import os
import pty
import threading
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from fosp_edge.cli.keyboard import Keyboard
from fosp_edge.control.emergency import EmergencyStop


class Motors:
    def __init__(self) -> None:
        self.orders = 0

    def stop(self, timeout_s: float) -> bool:
        self.orders += 1
        return True


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.person, self.terminal = pty.openpty()
        self.motors, self.passed_on = Motors(), list[str]()
        self.button = EmergencyStop(self.motors, lambda _: None, lambda _: None)
        watch = self.button.watch_keyboard
        monkeypatch.setattr(self.button, "watch_keyboard", lambda others: watch(self.terminal, others=others))
        self.keyboard = Keyboard(Console(quiet=True), self.button, self.passed_on.append)
        assert self.keyboard.watch()
        time.sleep(0.1)

    def answer_to(self, keys: bytes) -> bool:
        """What comes of a question at which these keys are pressed."""
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(self.keyboard.confirm("May it move?")))
        thread.start()
        time.sleep(0.2)
        os.write(self.person, keys)
        thread.join(5.0)
        assert not thread.is_alive()
        return found[0]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(monkeypatch)
    yield bench
    bench.button.close()
    os.close(bench.person)
    os.close(bench.terminal)


def test_enter_is_yes_and_any_other_key_is_no_again_and_again(bench: Bench) -> None:
    assert bench.answer_to(b"\n")
    assert not bench.answer_to(b"n")
    assert bench.answer_to(b"\n")
    assert not bench.button.pressed and bench.passed_on == []


@pytest.mark.parametrize("key", [b" ", b"q", b"\x1b"])
def test_the_emergency_stop_works_while_a_question_waits_and_answers_no(bench: Bench, key: bytes) -> None:
    assert not bench.answer_to(key)
    latest = time.monotonic() + 5.0  # the order goes out in a thread of its own, which nothing may wait for
    while not bench.motors.orders and time.monotonic() < latest:
        time.sleep(0.01)
    assert bench.button.pressed and bench.motors.orders == 1
    assert not bench.keyboard.confirm("And now?")  # nobody is asked any more


def test_keys_from_before_a_question_do_not_answer_it(bench: Bench) -> None:
    os.write(bench.person, b"\n\nx")
    time.sleep(0.3)
    assert bench.passed_on == ["\n", "\n", "x"]
    assert not bench.answer_to(b"n")


def test_between_questions_the_stop_works_too(bench: Bench) -> None:
    assert bench.answer_to(b"\n")
    os.write(bench.person, b" ")
    deadline = time.monotonic() + 5.0
    while not bench.motors.orders and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bench.motors.orders == 1
