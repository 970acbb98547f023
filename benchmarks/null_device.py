"""A robot that answers and shows pictures but has no physics: the far end of the wires for measuring the near one.

`python -m benchmarks.null_device WIDTH HEIGHT CAMERA...` says on its standard output where everything is, and ends
with its standard input. Joints stand still, pictures are noise.
"""

import json
import select
import sys
import time
from collections.abc import Sequence

import numpy as np

from firmware_bridge.emulator import ControllerEmulator, PseudoTerminal
from fosp_edge.cameras.ring import RingFormat, RingWriter
from fosp_edge.robots.arm import DESKTOP_ARM

CYCLE_S = 0.002
PICTURE_EVERY_CYCLES = 10


class StillPlant:
    """Six joints at home that follow nothing."""

    def joint_count(self) -> int:
        return len(DESKTOP_ARM.joints)

    def positions_rad(self) -> Sequence[float]:
        return DESKTOP_ARM.home_rad

    def velocities_rad_s(self) -> Sequence[float]:
        return (0.0,) * len(DESKTOP_ARM.joints)

    def set_velocity_targets(self, velocity_rad_s: Sequence[float]) -> None:
        pass

    def set_hold(self) -> None:
        pass


def main() -> None:
    width, height, names = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    rings = {name: RingWriter(RingFormat(height, width, serial=f"null-{name}")) for name in names}
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (8, height, width, 3), dtype=np.uint8)
    emulator = ControllerEmulator(StillPlant(), name="null-device", serial="NULL0001")
    with PseudoTerminal() as line:
        try:
            cycle, last_ns = 0, time.monotonic_ns()
            for ring in rings.values():
                ring.publish(pictures[0], time.monotonic_ns())
            print(json.dumps({"port": line.path, "rings": {n: ring.name for n, ring in rings.items()}}), flush=True)
            while not select.select([sys.stdin], [], [], 0.0)[0]:
                select.select([line.fd], [], [], CYCLE_S)
                emulator.poll(line.fd)
                now_ns = time.monotonic_ns()
                if now_ns - last_ns < CYCLE_S * 1e9:
                    continue
                emulator.advance((now_ns - last_ns) // 1000)
                emulator.flush(line.fd)
                last_ns, cycle = now_ns, cycle + 1
                if cycle % PICTURE_EVERY_CYCLES == 0:
                    for ring in rings.values():
                        ring.publish(pictures[cycle // PICTURE_EVERY_CYCLES % len(pictures)], time.monotonic_ns())
        finally:
            for ring in rings.values():
                ring.close()


if __name__ == "__main__":
    main()
