"""The five simulation tasks of the FOSP paper (section 5.1): their robots, and how they are recorded."""

from dataclasses import dataclass

from fosp_edge.bundle.manifest import Channel
from fosp_edge.experience.episode import Camera, Recording

CAMERAS = ("vision", "vision_back")
ACTION_REPEAT = 4
PIXELS = 64


@dataclass(frozen=True)
class Task:
    """One task, and what its robot is."""

    name: str
    robot: str
    step_s: float
    """One step of Safety-Gymnasium; an action lasts `ACTION_REPEAT` of them."""
    action: tuple[str, ...]


def _point(name: str) -> Task:
    return Task(name, "Point", 0.02, ("forward", "turn"))


TASKS = {
    task.name: task
    for task in (
        _point("SafetyPointGoal1"), _point("SafetyPointGoal2"), _point("SafetyPointButton1"),
        _point("SafetyPointPush1"), Task("SafetyCarGoal2", "Car", 0.04, ("left_wheel", "right_wheel")),
    )
}  # fmt: skip


def task_named(name: str) -> Task:
    """Raises ValueError if there is no such task; the message lists the known ones."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; choose one of: {', '.join(TASKS)}")
    return TASKS[name]


def recording(task: Task) -> Recording:
    """How recordings of a task are described. The paper's agents see pictures alone: there is no state."""
    return Recording(
        robot=f"safety-gymnasium-{task.robot.lower()}",
        rate_hz=1.0 / (ACTION_REPEAT * task.step_s),
        cameras=tuple(Camera(name, PIXELS, PIXELS) for name in CAMERAS),
        state=(),
        action=tuple(Channel(name, "1", -1.0, 1.0) for name in task.action),
    )
