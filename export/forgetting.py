"""An agent without what it was never taught: heads that say the same of everything, which the graph calls unknown."""

from dataclasses import replace

from fosp_edge.agent.agent import Agent


def forget_reachability(agent: Agent) -> Agent:
    """The same agent without its reachability function, which then calls everything unsafe."""
    return _without(agent, ("reach_action", "reach_state"))


def forget_costs(agent: Agent) -> Agent:
    """The same agent without the critics that learning without safety never touches: of cost, and of reachability."""
    return _without(agent, ("cost_action", "cost_state", "reach_action", "reach_state"))


def _without(agent: Agent, critics: tuple[str, ...]) -> Agent:
    unknown = tuple(dict.fromkeys((*agent.config.unknown, *critics)))
    result = Agent(replace(agent.config, unknown=unknown, reachability_form="logit"))
    forgotten = tuple(f".{name}." for name in critics)
    kept = {name: value for name, value in agent.state_dict().items() if not any(part in name for part in forgotten)}
    result.load_state_dict(result.state_dict() | kept)
    return result.eval()
