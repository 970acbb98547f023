"""The ensemble: learns what can be predicted, and disagrees where it has seen nothing."""

import numpy as np
import pytest
import torch

from export.ensemble import MEMBERS, Ensemble, fit_ensemble
from tests.export.agents import make_agent, make_episode


def test_members_differ_and_the_threshold_is_a_quantile_of_their_disagreement() -> None:
    agent = make_agent()
    arrays = fit_ensemble(agent, [make_episode(seed, rows=10) for seed in range(8)], updates=40)
    assert arrays["first"].shape[:2] == (MEMBERS, agent.config.feature_size + 3)
    assert not np.allclose(arrays["first"][0], arrays["first"][1]) and arrays["threshold"][0] > 0.0
    ensemble = Ensemble(agent.config.feature_size + 3)
    with torch.no_grad():
        for name, parameter in ensemble.named_parameters():
            parameter.copy_(torch.from_numpy(arrays[name]))
        far = ensemble(50.0 * torch.ones(1, agent.config.feature_size + 3)).var(0).mean()
    assert float(far) > float(arrays["threshold"][0])


def test_too_few_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 6 episodes, found 1"):
        fit_ensemble(make_agent(), [make_episode(0)])
