"""The agent back out of a bundle: for going on learning from it, and for comparing the graph with it."""

import torch

from export.storage import unpack
from fosp_edge.agent.agent import Agent
from fosp_edge.agent.config import Config
from fosp_edge.bundle.folder import Bundle
from fosp_edge.bundle.manifest import WEIGHTS_FILE, BundleError


def agent_of_bundle(bundle: Bundle) -> Agent:
    """The agent that a verified bundle was exported from, on the CPU; its slow critics are fresh copies.

    Raises:
        BundleError: the bundle carries no configuration, or weights that do not fit it.
    """
    raw = bundle.manifest.provenance.get("config")
    if not isinstance(raw, dict):
        raise BundleError(f"{bundle.path} carries no training configuration; export it again from its checkpoint")
    try:
        weights = unpack((bundle.path / WEIGHTS_FILE).read_bytes())
        agent = Agent.with_parts_of(Config.from_dict(raw), weights)
        missing, unexpected = agent.load_state_dict(weights, strict=False)
    except BundleError:
        raise
    except (ValueError, RuntimeError, TypeError) as error:
        raise BundleError(f"the weights of {bundle.path} do not fit its configuration: {error}") from error
    if unexpected or (missing := [name for name in missing if not name.startswith("slow_critics.")]):
        raise BundleError(f"the weights of {bundle.path} lack {missing[:3]} and have unknown {unexpected[:3]}")
    agent.slow_critics.load_state_dict(agent.critics.state_dict())
    with torch.no_grad():
        finite = all(bool(value.isfinite().all()) for value in agent.parameters())
    if not finite:
        raise BundleError(f"the weights of {bundle.path} are not all finite numbers; use another bundle")
    return agent
