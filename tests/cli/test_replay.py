"""`fosp-edge replay` computes with what the run was driven with."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from fosp_edge.bundle.folder import load_bundle
from fosp_edge.cli.replay import controller_of
from fosp_edge.cli.run_recording import settings_of
from fosp_edge.cli.shipped import SHIPPED_FOLDER, shipped_bundle
from fosp_edge.control.controller import Controller
from fosp_edge.control.gate_response import GateSettings
from fosp_edge.control.safety_filter import FilterSettings

pytestmark = pytest.mark.skipif(not SHIPPED_FOLDER.is_dir(), reason="no agent is shipped in this tree yet")


@pytest.fixture
def kept() -> dict[str, Any]:
    """What a recording says of its controller."""
    controller = Controller(
        load_bundle(shipped_bundle()),
        gate_enabled=False,
        settings=FilterSettings(recovery_speed=0.7, patience_ticks=11),
        gate_settings=GateSettings(),
        full_range_s=2.0,
    )
    controller.limits.slow(0.5)
    found: dict[str, Any] = json.loads(json.dumps(settings_of(controller)))
    return found


def replayed(kept: dict[str, Any]) -> Controller:
    flight: Any = SimpleNamespace(meta={"controller": kept})
    return controller_of(flight, shipped_bundle())


def test_every_setting_that_was_kept_comes_back(kept: dict[str, Any]) -> None:
    controller = replayed(kept)
    assert controller.settings == FilterSettings(recovery_speed=0.7, patience_ticks=11)
    assert json.loads(json.dumps(settings_of(controller))) == kept


def test_a_run_from_before_the_speed_of_a_recovery_was_kept_recovered_at_full_speed(kept: dict[str, Any]) -> None:
    del kept["filter"]["recovery_speed"]
    assert replayed(kept).settings == FilterSettings(recovery_speed=1.0, patience_ticks=11)
