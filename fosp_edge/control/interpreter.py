"""Python runs one thread at a time: how long the control thread waits until it is the one.

By default a thread that only computes keeps the interpreter for 5 ms from whoever waits, and a tick asks for it several
times, after each call that had let go of it. Such threads are the live view, and a bundle that is being prepared. And
now and then whichever thread allocates looks through all objects there are for garbage, those of every imported module
among them: that takes 15 to 50 ms, and whoever waits waits for it. What `fosp_edge.control.realtime` asks for is taken
from others; this is not.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_INTERVAL_S = 0.0005


@contextmanager
def prompt_interpreter() -> Iterator[None]:
    """While this is entered, no thread keeps the interpreter for longer, and garbage is looked for only among what came
    since; afterwards both are as before."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before_s)
