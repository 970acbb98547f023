"""The simulated robot as a machine: motor electronics on a serial line, arm and table or base and room, cameras.

Everything a host can do to it goes through the line and the frame rings, as with a real one. The referee's requests
stand for a person beside the table, who may lay out a new one only while the motors cannot move.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from fosp_edge.cameras.ring import RingFormat, RingWriter, depth_format
from fosp_edge.robots.arm import DESKTOP_ARM, ArmDescription
from fosp_edge.robots.mobile_base import BaseDescription
from fosp_edge.robots.wires import CONTROLLER
from fosp_edge.simulation.base_plant import BasePlant
from fosp_edge.simulation.electronics import Electronics, Motors, make_electronics
from fosp_edge.simulation.faulty_line import FaultyLine, LineFaults
from fosp_edge.simulation.layout import SCENARIOS
from fosp_edge.simulation.plant import ArmPlant
from fosp_edge.simulation.referee import Episode, lay_table
from fosp_edge.simulation.referee_protocol import BadRequestError, Request

CYCLE_S = 0.004
"""The controller reads its sensors and drives its motors at 250 Hz."""
_SETTLE_CYCLES = 10
"""After a reset, wait this long before answering: by then no older telemetry is on its way."""
_SEED_LIMIT = 2**63 - 1
_DEPTH_UNIT_M = 0.001
"""As usual with depth cameras."""

Answer = dict[str, object]


class SimulatedMachine:
    """One robot. Not thread-safe: one loop calls `cycle` for every 4 ms, `take_pictures` at the cameras' rate."""

    def __init__(
        self,
        scenario: str,
        seed: int,
        *,
        wire: str = CONTROLLER,
        moved: ArmDescription | BaseDescription = DESKTOP_ARM,
        motor_ids: Sequence[int] = (),
        wheels: Sequence[int] = (),
    ) -> None:
        """Lay the first table.

        Args:
            scenario: family of the first table.
            seed: its seed.
            wire: what the motors hang on, one of `robots.wires.WIRES`.
            moved: which arm stands at the table, or which base in the room. Only the desktop arm reaches all of the
                table; others get one with a target and no boxes.
            motor_ids: ids of the servos from base to tool, for a wire of servos; counted from 1 if left out.
            wheels: of a base's servos, 1 or -1 for each: which way it counts; forwards if left out.

        Raises:
            ValueError: unknown scenario or wire, or not one id per joint.
            CameraError: no shared memory for the pictures.
        """
        self.moved = moved
        self._wire, self._motor_ids, self._wheels = wire, tuple(motor_ids), tuple(wheels)
        self._episode = lay_table(scenario, seed, moved)
        self._motors = Motors(self._episode.plant)
        self._electronics = self._new_electronics()
        self.line = FaultyLine(seed)
        plant = self._episode.plant
        self.rings = {camera: RingWriter(_picture_format(plant, camera)) for camera in plant.cameras}
        self.depth_rings = {
            camera: RingWriter(depth_format(ring.format, _DEPTH_UNIT_M), depth_of=ring)
            for camera, ring in self.rings.items()
        }
        self._frozen: set[str] = set()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="table")
        self._laying: tuple[int, Future[Episode]] | None = None
        self._settling: tuple[int, int] | None = None
        self.answers: deque[Answer] = deque()
        """Answers to requests, oldest first; whoever runs the machine takes them out."""
        self._verbs: dict[str, Callable[[Request], Answer | None]] = {
            "reset": self._reset,
            "judge": self._judge,
            "status": self._status,
            "line-faults": self._line_faults,
            "unplug": self._unplug,
            "restart-controller": self._restart_controller,
            "freeze-camera": self._freeze_camera,
            "remove-camera": self._remove_camera,
        }

    def _new_electronics(self) -> Electronics:
        return make_electronics(self._wire, self._motors, self.moved.name, self._motor_ids, self._wheels)

    # Time.

    def cycle(self) -> None:
        """Let 4 ms pass: bytes, electronics, physics, in this order."""
        self.line.pump()
        self._electronics.poll(self.line.controller_fd)
        self._electronics.advance(round(CYCLE_S * 1e6))
        self._electronics.flush(self.line.controller_fd)
        self.line.pump()
        self._motors.plant.advance(CYCLE_S)
        self._finish_reset()

    def take_pictures(self) -> None:
        """Render all cameras and publish what they see."""
        now_ns = time.monotonic_ns()
        for camera, ring in self.rings.items():
            if camera not in self._frozen:
                picture, depth_m = self._motors.plant.render_both(camera)
                depth = np.rint(depth_m / _DEPTH_UNIT_M).astype(np.uint16)
                self.depth_rings[camera].publish(depth[:, :, None], now_ns)
                ring.publish(picture, now_ns)

    def close(self) -> None:
        """Give the line and the shared memory back."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        for ring in (*self.rings.values(), *self.depth_rings.values()):
            ring.close()
        self.line.close()

    # The referee.

    def handle(self, request: Request) -> None:
        """Do what a request asks; its answer comes into `answers`, now or some cycles later."""
        verb = self._verbs.get(request.verb)
        try:
            if verb is None:
                raise BadRequestError(f"unknown verb {request.verb!r}; known: {', '.join(self._verbs)}")
            answer = verb(request)
        except BadRequestError as error:
            self.answers.append({"id": request.id, "ok": False, "error": str(error)})
            return
        if answer is not None:
            self.answers.append({"id": request.id, "ok": True, **answer})

    def _reset(self, request: Request) -> None:
        scenario, seed = request.word("scenario", tuple(SCENARIOS)), request.integer("seed", 0, _SEED_LIMIT)
        if self._laying is not None or self._settling is not None:
            raise BadRequestError("reset: the table is being laid already")
        self._require_disarmed()
        self._laying = request.id, self._executor.submit(lay_table, scenario, seed, self.moved)

    def _require_disarmed(self) -> None:
        if self._electronics.dangerous:
            raise BadRequestError(
                "reset: the motors are armed, and nobody reaches into an armed arm's workspace; stop or disarm first "
                "(servos: torque off)"
            )

    def _finish_reset(self) -> None:
        if self._laying is not None and self._laying[1].done() and self._at_rest():
            identity, future = self._laying
            self._laying = None
            if self._electronics.dangerous:
                sentence = "reset: the motors were armed while the table was being laid; nothing was changed"
                self.answers.append({"id": identity, "ok": False, "error": sentence})
                return
            self._episode = future.result()
            self._motors.plant = self._episode.plant
            self.take_pictures()
            self._settling = identity, _SETTLE_CYCLES
        elif self._settling is not None:
            identity, cycles = self._settling
            self._settling = (identity, cycles - 1) if cycles > 1 else None
            if self._settling is None:
                self.answers.append({"id": identity, "ok": True, "distance_m": self._episode.before.distance_m})

    def _at_rest(self) -> bool:
        return not self._electronics.driving and bool(np.max(np.abs(self._motors.plant.velocities_rad_s())) < 0.02)

    def _judge(self, request: Request) -> Answer:
        judgement = self._episode.judge()
        return {
            "reward": judgement.reward,
            "cost": judgement.cost,
            "success": judgement.success,
            "finished": judgement.finished,
        }

    def _status(self, request: Request) -> Answer:
        plant = self._motors.plant
        return {
            **self._electronics.status(),
            "positions_rad": plant.positions_rad().tolist(),
            "velocities_rad_s": plant.velocities_rad_s().tolist(),
            "tip_m": plant.tip_m().tolist(),
        }

    # Faults, for tests and for showing what happens.

    def _line_faults(self, request: Request) -> Answer:
        self.line.faults = LineFaults(
            drop_probability=request.number("drop_probability", 0.0, 1.0, 0.0),
            corrupt_probability=request.number("corrupt_probability", 0.0, 1.0, 0.0),
        )
        return {}

    def _unplug(self, request: Request) -> Answer:
        self.line.unplug()
        return {}

    def _restart_controller(self, request: Request) -> Answer:
        self._motors.set_hold()
        self._electronics = self._new_electronics()
        return {}

    def _freeze_camera(self, request: Request) -> Answer:
        camera = request.word("camera", tuple(self.rings))
        if request.flag("frozen", True):
            self._frozen.add(camera)
        else:
            self._frozen.discard(camera)
        return {}

    def _remove_camera(self, request: Request) -> Answer:
        camera = request.word("camera", tuple(self.rings))
        self._frozen.add(camera)
        self.rings[camera].close()
        self.depth_rings[camera].close()
        return {}


def _picture_format(plant: ArmPlant | BasePlant, camera: str) -> RingFormat:
    height, width, _ = plant.render(camera).shape
    return RingFormat(height, width, serial=f"sim-{camera}")
