"""Python runs one thread at a time: how long the control thread waits for another one to hand over.

By default a thread that only computes keeps the interpreter for 5 ms from whoever waits, and a tick asks for it several
times, after each call that had let go of it. Such threads are the live view, and a bundle that is being prepared. What
`fosp_edge.control.realtime` asks for is taken from others; this is not.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_INTERVAL_S = 0.0005


@contextmanager
def handed_over_soon() -> Iterator[None]:
    """While this is entered, no thread keeps the interpreter for longer; afterwards it is as before."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)
