"""What of a run is kept, and who may look on: the options of `fosp-edge run` around the recorder's process."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.processor import processor_name
from fosp_edge.cameras.policy_camera import PolicyCamera
from fosp_edge.control.controller import Controller
from fosp_edge.control.flight.recording import ProcessRecorder
from fosp_edge.control.recorder import recording_of


@dataclass(frozen=True)
class RecordingOptions:
    """As the command line gives them."""

    experience: bool
    flight: bool
    keep_s: float
    view_port: int | None
    store: Path | None = None
    """Where the experience goes, if not into the run's own folder."""
    quota_bytes: int | None = None
    """What the episodes may take; before each new one the least telling of the old ones go."""

    def open(
        self,
        folder: Path,
        bundle: Bundle,
        controller: Controller,
        cameras: Sequence[PolicyCamera],
        bundle_path: Callable[[str], Path] | None = None,
    ) -> ProcessRecorder | None:
        """The recorder of a run in `folder`, not started yet; None if nothing is to be kept and nobody looks on.

        `bundle_path` says where the bundle of an id lies, if not beside the first one.
        """
        where = bundle_path or (lambda identity: bundle.path.parent / identity)
        if not (self.experience or self.flight or self.view_port is not None):
            return None
        return ProcessRecorder(
            folder,
            bundle.manifest,
            bundle.id,
            flight=self.flight,
            experience=recording_of(bundle.manifest, cameras) if self.experience else None,
            keep_s=self.keep_s,
            view_port=self.view_port,
            about={"controller": settings_of(controller), "machine": machine()},
            bundle_path=lambda identity: str(where(identity)),
            store=self.store,
            quota_bytes=self.quota_bytes,
        )


def settings_of(controller: Controller) -> dict[str, object]:
    """What beside the bundle decides how a controller decides: kept for `fosp-edge replay`."""
    return {
        "filter_enabled": controller.filter_enabled,
        "gate_enabled": controller.gate_enabled,
        "filter": asdict(controller.settings),
        "gate": asdict(controller.gate_settings),
        "execution": asdict(controller.runtime.execution),
        "provider": controller.runtime.device.provider,
        "full_range_s": controller.full_range_s,
        "speed": controller.limits.part,
    }


def machine() -> dict[str, object]:
    """What a recomputation has to share to agree bit for bit."""
    return {
        "processor": processor_name(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "onnxruntime": ort.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
