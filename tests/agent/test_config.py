import json
from dataclasses import fields

import pytest

from fosp_edge.agent.config import METHODS, SIZES, Config, make_config


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", METHODS)
def test_a_configuration_survives_json(size: str, method: str) -> None:
    config = make_config(size, method, seed=3)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.seed == 3


def test_presets_change_what_they_say() -> None:
    known = {item.name for item in fields(Config)}
    for changes in (*SIZES.values(), *METHODS.values()):
        assert changes.keys() <= known
    assert make_config("small", "fosp") == Config()
    assert make_config("nano", "bc").advantage_weighting is False
    assert make_config("nano", "fosp", conv_depth=2).conv_depth == 2


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ValueError, match="unknown to this version: colour, taste"):
        Config.from_dict({"seed": 1, "taste": 2, "colour": 3})


def test_unknown_presets_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown preset 'huge'; choose one of: nano, small, medium"):
        make_config("huge", "fosp")
    with pytest.raises(ValueError, match="unknown method 'magic'; choose one of: fosp, fosp-as-released"):
        make_config("nano", "magic")


def test_features_are_as_wide_as_h_and_s_together() -> None:
    assert Config(deterministic=10, groups=3, classes=4).feature_size == 22
