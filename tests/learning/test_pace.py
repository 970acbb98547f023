"""The learner gives way: its mode by measured time, its pauses by the control loop's own figures."""

import subprocess
import sys

from fosp_edge.control.pulse import Pulse
from fosp_edge.control.telemetry import Telemetry
from fosp_edge.learning.pace import FULL_BELOW_S, HEADS_BELOW_S, Throttle, choose_mode


def test_the_mode_follows_the_measured_time():
    assert choose_mode(0.5 * FULL_BELOW_S) == "full"
    assert choose_mode(0.5 * (FULL_BELOW_S + HEADS_BELOW_S)) == "heads"
    assert choose_mode(2 * HEADS_BELOW_S) == "light"


def test_pauses_grow_while_control_suffers_and_vanish_when_it_does_not():
    telemetry, slept = Telemetry(), []
    pulse = Pulse(telemetry, 0.05)
    seen = [{}]
    throttle = Throttle(lambda: seen[0], sleep=slept.append)
    throttle.breathe()
    assert not slept, "no robot runs"

    def second(latency_s: float, missed: int = 0) -> None:
        for _ in range(20):
            telemetry.add("latency", latency_s)
        telemetry.count("missed deadlines", missed)
        seen[0] = pulse.look() | {"unix_s": seen[0].get("unix_s", 0.0) + 1.0}
        throttle.breathe()
        throttle.breathe()  # the same second counts once

    second(0.004)
    assert throttle.pause_s == 0.0
    second(0.004, missed=1)
    first = throttle.pause_s
    second(0.040)
    assert throttle.pause_s == 2 * first > 0.0
    for _ in range(20):
        second(0.040)
    assert throttle.pause_s == throttle.longest_s and max(slept) <= throttle.longest_s
    for _ in range(60):
        second(0.004)
    assert throttle.pause_s == 0.0


def test_the_learner_s_process_goes_into_the_idle_class():
    code = (
        "import os; from fosp_edge.learning.pace import yield_to_control; words, threads = yield_to_control(); "
        "print(os.sched_getscheduler(0) == os.SCHED_IDLE, threads, words)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "True" and int(found[1]) >= 1
