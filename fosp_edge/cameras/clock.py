"""A sensor's own clock mapped onto the host's monotonic clock."""

from collections import deque


class SensorClock:
    """Learns how far the sensor's clock is ahead from when its frames arrive.

    A frame arrives some time after it was taken: the transfer, plus waiting that varies. The smallest difference
    between arrival and stamp within a window belongs to the frame that waited least; with it, the other stamps are
    mapped without their jitter. The window lets the mapping follow two clocks that drift apart. What stays unknown is
    the shortest transfer itself, so a mapped time is late by that much, and never later than the arrival.
    """

    def __init__(self, window_ns: int = 10_000_000_000, jump_ns: int = 1_000_000_000) -> None:
        self._window_ns, self._jump_ns = window_ns, jump_ns
        self._smallest: deque[tuple[int, int]] = deque()
        """(arrival, difference), differences rising: the running minimum of a sliding window."""
        self._last_ns = -1

    def to_monotonic_ns(self, sensor_ns: int, arrival_ns: int) -> int:
        """When the frame was taken, on the host's monotonic clock. Call once per frame, in order of arrival.

        The result never exceeds `arrival_ns`, and rises from call to call as long as arrivals do. A sensor clock that
        jumps by more than a second (a restart of the camera) is learnt anew.
        """
        difference = arrival_ns - sensor_ns
        if self._smallest and abs(difference - self._smallest[0][1]) > self._jump_ns:
            self._smallest.clear()
        while self._smallest and self._smallest[-1][1] >= difference:
            self._smallest.pop()
        self._smallest.append((arrival_ns, difference))
        while self._smallest[0][0] < arrival_ns - self._window_ns:
            self._smallest.popleft()
        taken_ns = min(arrival_ns, max(sensor_ns + self._smallest[0][1], self._last_ns + 1))
        self._last_ns = max(self._last_ns, taken_ns)
        return taken_ns
