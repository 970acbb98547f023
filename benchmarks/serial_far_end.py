"""What stands at the far end of the line while the near end is measured: `python -m benchmarks.serial_far_end KIND`.

KIND is `controller` (the emulated controller), `dynamixel` or `feetech` (a chain of six emulated servos). Prints the
port and serves it until its standard input ends.
"""

import select
import sys
import time
from collections.abc import Callable, Sequence

from firmware_bridge.buses.emulator import ServoChainEmulator
from firmware_bridge.buses.families import FAMILIES
from firmware_bridge.emulator import ControllerEmulator, PseudoTerminal

JOINTS = 6
MODELS = {"dynamixel": 1020, "feetech": 777}


class StillPlant:
    """Joints that stand still and follow nothing: the wire is measured, not physics."""

    def joint_count(self) -> int:
        return JOINTS

    def positions_rad(self) -> Sequence[float]:
        return (0.25,) * JOINTS

    def velocities_rad_s(self) -> Sequence[float]:
        return (0.0,) * JOINTS

    def set_velocity_targets(self, velocity_rad_s: Sequence[float]) -> None:
        pass

    def set_hold(self) -> None:
        pass


def main(kind: str) -> int:
    poll: Callable[[int], object]
    if kind == "controller":
        board = ControllerEmulator(StillPlant())
        poll, advance = board.poll, lambda dt_s: board.advance(max(1, round(dt_s * 1e6)))
    else:
        chain = ServoChainEmulator(FAMILIES[kind], range(1, JOINTS + 1), StillPlant(), MODELS[kind])
        poll, advance = chain.poll, chain.advance
    with PseudoTerminal() as line:
        sys.stdout.write(line.path + "\n")
        sys.stdout.flush()
        last_s = time.monotonic()
        while sys.stdin not in (ready := select.select([line.fd, sys.stdin], [], [], 0.005)[0]):
            if ready:
                poll(line.fd)
            now_s = time.monotonic()
            if now_s - last_s >= 0.002:
                advance(now_s - last_s)
                poll(line.fd)
                last_s = now_s
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
