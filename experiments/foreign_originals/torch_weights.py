"""Random weights for original agents in PyTorch."""

import torch


@torch.no_grad()
def unsettle(agent: torch.nn.Module) -> None:
    """Move every parameter from its start, once where several share their numbers.

    Heads that start at zero would agree about anything, and so would norms that start at one.
    """
    seen: set[int] = set()
    for parameter in agent.parameters():
        if parameter.data_ptr() not in seen:
            seen.add(parameter.data_ptr())
            parameter.add_(torch.randn_like(parameter) * (0.05 if parameter.ndim > 1 else 0.2))
