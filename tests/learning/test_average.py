"""The moving average of what learns: its closed form, and going on from what was written down."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch

from fosp_edge.learning.average import AVERAGE_FILE, MovingAverage
from tests.export.agents import make_agent


def set_to(agent: torch.nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.fill_(value)


def values_of(agent: torch.nn.Module) -> set[float]:
    return {round(item, 6) for each in agent.parameters() for item in each.detach().unique().tolist()}


def values(average: MovingAverage) -> set[float]:
    return values_of(average.agent)


def test_it_is_the_exponential_average_and_the_agent_is_left_alone(tmp_path: Path) -> None:
    agent = make_agent()
    set_to(agent, 1.0)
    average = MovingAverage(agent, 0.25, tmp_path)
    assert values(average) == {1.0}
    for value, expected in ((3.0, 1.5), (3.0, 1.875), (-1.0, 1.15625)):
        set_to(agent, value)
        average.update()
        assert values(average) == {expected}
    assert values_of(agent) == {-1.0}
    assert average.on_cpu() is average.agent  # nothing to copy


def test_it_goes_on_from_what_was_written_down(tmp_path: Path) -> None:
    agent = make_agent()
    set_to(agent, 1.0)
    average = MovingAverage(agent, 0.5, tmp_path)
    set_to(agent, 3.0)
    average.update()
    average.save()
    assert [path.name for path in tmp_path.iterdir()] == [AVERAGE_FILE]
    again = MovingAverage(agent, 0.5, tmp_path)
    assert values(again) == {3.0} and again.resume() and values(again) == {2.0}
    again.update()
    assert values(again) == {2.5}


@pytest.mark.parametrize("what", ["nothing", "cut off", "another agent", "not a number"])
def test_what_does_not_fit_is_left_where_it_is(what: str, tmp_path: Path) -> None:
    agent = make_agent()
    other = make_agent(action_size=4) if what == "another agent" else agent
    average = MovingAverage(other, 0.5, tmp_path)
    if what == "not a number":
        set_to(average.agent, float("nan"))
    if what != "nothing":
        average.save()
    if what == "cut off":
        file = tmp_path / AVERAGE_FILE
        file.write_bytes(file.read_bytes()[:-100])
    fresh = MovingAverage(agent, 0.5, tmp_path)
    assert not fresh.resume()
    for name, value in agent.state_dict().items():
        assert torch.equal(fresh.agent.state_dict()[name], value)


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.5, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a rate in \(0, 1\]"):
        MovingAverage(make_agent(), rate, tmp_path)
