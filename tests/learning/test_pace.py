"""The learner gives way: its mode by measured time, its pauses by the control loop's own figures."""

import subprocess
import sys

from fosp_edge.control.pulse import Pulse
from fosp_edge.control.telemetry import Telemetry
from fosp_edge.learning.pace import AUTOMATIC, HEADS_BELOW_S, Throttle, choose_mode


def test_the_mode_follows_the_measured_time():
    assert choose_mode(0.5 * HEADS_BELOW_S) == "heads"
    assert choose_mode(2 * HEADS_BELOW_S) == "light"


def test_no_clock_has_the_judge_of_the_filter_learn():
    assert {choose_mode(full_update_s) for full_update_s in (0.0, 1e-3, 0.1, 1.0, 10.0)} == set(AUTOMATIC)


class Machine:
    """Seconds of a control loop beside a learner whose updates take a quarter of a second."""

    def __init__(self) -> None:
        self.telemetry, self.now_s, self.pauses = Telemetry(), 0.0, []
        self.pulse = Pulse(self.telemetry, 0.05)
        self.seen: dict[str, object] = {}
        self.throttle = Throttle(lambda: self.seen, sleep=self.sleep, clock=lambda: self.now_s)
        self.latency_s = lambda: 0.004

    def sleep(self, pause_s: float) -> None:
        self.now_s += pause_s
        self.pauses.append(pause_s)

    def run(self, seconds: float) -> None:
        end_s, written_s = self.now_s + seconds, self.now_s
        while self.now_s < end_s:
            self.throttle.breathe()
            self.now_s += 0.25
            if self.now_s - written_s >= 1.0:
                written_s = self.now_s
                for _ in range(20):
                    self.telemetry.add("latency", self.latency_s())
                self.seen = self.pulse.look() | {"unix_s": self.now_s}


def test_without_a_robot_nothing_is_waited_for():
    machine = Machine()
    for _ in range(10):
        machine.throttle.breathe()
    assert not machine.pauses


def test_pauses_grow_while_control_suffers_from_the_learner_and_vanish_when_it_does_not():
    machine = Machine()
    machine.run(5.0)
    assert machine.throttle.pause_s == 0.0
    machine.telemetry.count("missed deadlines", 1)
    machine.run(2.0)
    first = machine.throttle.pause_s
    assert first > 0.0
    machine.latency_s = lambda: 0.040 if machine.throttle.pause_s < 0.5 else 0.004  # it is the learner's doing
    machine.run(60.0)
    assert 0.2 < machine.throttle.pause_s <= machine.throttle.longest_s and max(machine.pauses) > first
    machine.latency_s = lambda: 0.004
    machine.run(60.0)
    assert machine.throttle.pause_s == 0.0


def test_where_others_are_to_blame_the_learner_soon_goes_on():
    machine = Machine()
    machine.latency_s = lambda: 0.040
    machine.run(60.0)
    assert max(machine.pauses) > 0.5, "it tried"
    machine.pauses.clear()
    machine.run(120.0)
    assert sum(machine.pauses) < 60.0, "more sleep would help nobody"


def test_the_learner_s_process_goes_into_the_idle_class():
    code = (
        "import os; from fosp_edge.learning.pace import yield_to_control; words, threads = yield_to_control(); "
        "print(os.sched_getscheduler(0) == os.SCHED_IDLE, threads, words)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "True" and int(found[1]) >= 1
