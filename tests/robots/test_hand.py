"""A person's wish: only while a key is held, only beyond the dead zone, and never of somebody who is gone."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fosp_edge.robots.base import RobotError
from fosp_edge.robots.hand import DEAD_ZONE, FIRST_HOLD_S, KEYS, REPEAT_HOLD_S, GamepadHand, KeyboardHand
from tests.robots.gamepads import event


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_key_moves_while_it_is_held_and_no_longer() -> None:
    clock = Clock()
    hand = KeyboardHand(clock=clock)
    np.testing.assert_array_equal(hand.wish(), [0, 0, 0])
    hand.press("i")
    np.testing.assert_array_equal(hand.wish(), [1, 0, 0])
    clock.now_s += FIRST_HOLD_S - 0.01  # by now the terminal repeats it
    hand.press("i")
    clock.now_s += REPEAT_HOLD_S - 0.01
    np.testing.assert_array_equal(hand.wish(), [1, 0, 0])
    clock.now_s += 0.02
    np.testing.assert_array_equal(hand.wish(), [0, 0, 0])


def test_two_axes_at_once_and_the_opposite_key_stops_first() -> None:
    hand = KeyboardHand(clock=Clock())
    for key in "jo":
        hand.press(key)
    np.testing.assert_array_equal(hand.wish(), [0, 1, -1])
    hand.press("l")
    np.testing.assert_array_equal(hand.wish(), [0, 0, -1])
    hand.press("l")
    np.testing.assert_array_equal(hand.wish(), [0, -1, -1])


def test_a_base_has_no_up() -> None:
    hand = KeyboardHand(2, clock=Clock())
    for key in "kuoj":
        hand.press(key)
    np.testing.assert_array_equal(hand.wish(), [-1, 1])


@given(st.lists(st.tuples(st.sampled_from([*KEYS, "v", "x", ""]), st.floats(0.0, 1.0)), max_size=40))
def test_whatever_is_pressed_the_wish_is_a_wish_and_ends(presses: list[tuple[str, float]]) -> None:
    clock = Clock()
    hand = KeyboardHand(clock=clock)
    for key, pause_s in presses:
        hand.press(key)
        assert set(np.unique(hand.wish())) <= {-1.0, 0.0, 1.0} and hand.wish().dtype == np.float32
        clock.now_s += pause_s
    clock.now_s += FIRST_HOLD_S
    assert not hand.wish().any()


class Pad:
    """The far end of a gamepad's device."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.hand_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.descriptor = os.open(path, os.O_WRONLY)
        self.move(1, round(32767 * 0.9 * DEAD_ZONE), kind=0x82)  # how it stands at the start: as good as at rest
        self.move(2, -32767, kind=0x82)  # a trigger, which is at its end when nobody touches it
        self.hand = GamepadHand(path)

    def move(self, axis: int, value: int, kind: int = 2) -> None:
        os.write(self.descriptor, event(kind, axis, value))

    def wish_is(self, wanted: list[float]) -> bool:
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            if np.allclose(self.hand.wish(), wanted, atol=1e-3):
                return True
            time.sleep(0.01)
        return False


@pytest.fixture
def pad(tmp_path: Path) -> Iterator[Pad]:
    pad = Pad(tmp_path / "js0")
    yield pad
    pad.hand.close()
    os.close(pad.hand_end)
    os.close(pad.descriptor)


def test_sticks_are_a_wish_beyond_the_dead_zone(pad: Pad) -> None:
    np.testing.assert_array_equal(pad.hand.wish(), [0, 0, 0])
    pad.move(1, -32767)  # up is forwards
    pad.move(0, 32767)
    pad.move(4, -32768)
    assert pad.wish_is([1, -1, 1])
    pad.move(1, round(-32767 * DEAD_ZONE))
    pad.move(0, round(32767 * (DEAD_ZONE + 0.5 * (1 - DEAD_ZONE))))
    pad.move(4, 0)
    assert pad.wish_is([0, -0.5, 0])
    pad.move(2, 32767)  # a trigger means nothing
    pad.move(1, 32767, kind=1)  # nor does a button of that number
    assert pad.wish_is([0, -0.5, 0])


def test_a_trigger_taken_for_a_stick_drives_nothing(pad: Pad) -> None:
    pad.hand.close()
    pad.move(2, -32767, kind=0x82)
    with pytest.raises(RobotError, match=r"axis 2 of the gamepad does not stand at rest \(-1.00\).*--axes"):
        GamepadHand(pad.path, (1, 0, 2))
    pad.hand = GamepadHand(pad.path, (0, 1, 5))
    pad.move(5, -32767)
    assert pad.wish_is([0, 0, 1])


def test_a_gamepad_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RobotError, match=r"no gamepad at .*plug it in"):
        GamepadHand(tmp_path / "js1")
    with pytest.raises(RobotError, match="cannot be opened"):
        GamepadHand(tmp_path / ("x" * 300))


def test_a_gamepad_that_is_gone_drives_nothing(pad: Pad) -> None:
    pad.move(1, -32767)
    assert pad.wish_is([1, 0, 0])
    pad.hand._joystick.gone = True
    with pytest.raises(RobotError, match="gamepad is gone"):
        pad.hand.wish()
