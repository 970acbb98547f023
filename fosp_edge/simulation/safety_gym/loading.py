"""Safety-Gymnasium 1.0.0 on present versions of Python, gymnasium, NumPy and MuJoCo.

Its own requirements do not resolve any more, and its `__init__` imports and registers far more than these tasks need.
So the package is imported without running it, with what it asks of older libraries put in place while that happens.
Nothing of other libraries stays changed.
"""

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

VERSION = "1.0.0"
_PACKAGE = "safety_gymnasium"
INSTALL = f"pip install 'fosp-edge[safety-gym]' && pip install --no-deps safety-gymnasium=={VERSION}"


class SafetyGymMissing(ImportError):  # noqa: N818 - a state, not a mistake
    """Safety-Gymnasium is not installed; the message says how it is."""


def package_folder() -> Path:
    """Where the package lies. Raises SafetyGymMissing."""
    spec = importlib.util.find_spec(_PACKAGE) if _PACKAGE not in sys.modules else sys.modules[_PACKAGE].__spec__
    if spec is None or spec.origin is None or importlib.util.find_spec("xmltodict") is None:
        raise SafetyGymMissing(f"the tasks of Safety-Gymnasium are not installed: {INSTALL}")
    return Path(spec.origin).parent


def load_builder() -> Any:
    """The class `safety_gymnasium.builder.Builder`, which makes one environment from a task's name.

    Raises:
        SafetyGymMissing: the package or what it needs is not installed.
    """
    if f"{_PACKAGE}.builder" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            _PACKAGE, package_folder() / "__init__.py", submodule_search_locations=[str(package_folder())]
        )
        assert spec is not None
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)  # made, and not executed
        with _stand_ins(), _dataclasses_with_arrays():
            importlib.import_module(f"{_PACKAGE}.builder")
        _name_joints_by_number(importlib.import_module(f"{_PACKAGE}.bases.base_agent").BaseAgent)
    return importlib.import_module(f"{_PACKAGE}.builder").Builder


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Windows and keyboards, which nothing here opens, are empty while the package is imported."""
    names = {
        "glfw": (),
        "gymnasium.envs.mujoco.mujoco_rendering": ("OffScreenViewer",),
        f"{_PACKAGE}.utils.keyboard_viewer": ("KeyboardViewer",),
    }
    before = {name: sys.modules.get(name) for name in names}
    for name, classes in names.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(dict.fromkeys(classes, object))
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@contextmanager
def _dataclasses_with_arrays() -> Iterator[None]:
    """Since Python 3.11 a dataclass refuses an array as default; here each instance gets a copy of its own."""
    original = dataclasses.dataclass

    def with_arrays(cls: Any = None, /, **options: Any) -> Any:
        def decorate(cls: Any) -> Any:
            for name, value in list(vars(cls).items()):
                if isinstance(value, np.ndarray):
                    setattr(cls, name, dataclasses.field(default_factory=value.copy))
            return original(cls, **options)

        return decorate if cls is None else decorate(cls)

    dataclasses.dataclass = with_arrays
    try:
        yield
    finally:
        dataclasses.dataclass = original


class _Joints:
    """A model whose joints can be asked for by an array of one number, as old versions of MuJoCo and NumPy had it."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def jnt(self, index: Any) -> Any:
        return self._model.jnt(int(np.asarray(index).item()))


def _name_joints_by_number(agent: Any) -> None:
    original: Callable[[Any], None] = agent._init_jnt_sensors

    def init_joint_sensors(self: Any) -> None:
        model = self.engine.model
        self.engine.model = _Joints(model)
        try:
            original(self)
        finally:
            self.engine.model = model

    agent._init_jnt_sensors = init_joint_sensors
