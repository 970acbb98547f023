"""The reachability critics on a chain whose unavoidable set is known: the update rule against exact iteration."""

import torch

from fosp_edge.agent.rssm import Latent
from fosp_edge.learning.batch import Batch
from fosp_edge.learning.learner import make_learner
from tests.agent.sizes import tiny_config
from tests.learning.batches import CPU

# Places 0 to 3 lie in a row; left of 0 is the goal (4, terminal). From 2, right leads onto a slope (3), from where
# every action ends in the violation (5), which is never left. One action too many in 2, and nothing helps any more.
GOAL, VIOLATION = 4, 5
MOVES = {
    (0, -1): GOAL, (0, 1): 1, (1, -1): 0, (1, 1): 2, (2, -1): 1, (2, 1): 3,
    (3, -1): VIOLATION, (3, 1): VIOLATION, (VIOLATION, -1): VIOLATION, (VIOLATION, 1): VIOLATION,
}  # fmt: skip
UNAVOIDABLE = {3, VIOLATION}
PLACES = (0, 1, 2, 3, VIOLATION)
DISCOUNT, EXPECTILE = 0.99, 0.1


def exact() -> tuple[dict[int, float], dict[tuple[int, int], float]]:
    """Fixed point by plain iteration over a table: p of places and of (place, action)."""
    state = dict.fromkeys([*PLACES, GOAL], 0.0)
    action: dict[tuple[int, int], float] = {}
    for _ in range(500):
        for (place, move), following in MOVES.items():
            ahead = 0.0 if following == GOAL else state[following]
            action[place, move] = max(float(following == VIOLATION), DISCOUNT * ahead)
        for place in PLACES:
            own = sorted(max(float(place == VIOLATION), action[place, move]) for move in (-1, 1))
            # The expectile of two equally likely values: tau (high - v) = (1 - tau) (v - low).
            state[place] = (1.0 - EXPECTILE) * own[0] + EXPECTILE * own[1]
    return state, action


def data(width: int, action_size: int) -> tuple[Batch, Latent]:
    """Every transition once, as pairs of rows; the latent state is the place, one-hot; s never changes."""
    count = len(MOVES)
    places = torch.tensor([[place, following] for (place, _), following in MOVES.items()])
    action = torch.zeros(count, 2, action_size)
    action[:, 0, 0] = torch.tensor([float(move) for _, move in MOVES])
    first = torch.zeros(count, 2, dtype=torch.bool)
    first[:, 0] = True
    zeros = torch.zeros(count, 2)
    batch = Batch(
        image=torch.zeros(count, 2, 1, 1, 1, dtype=torch.uint8),
        state=torch.zeros(count, 2, 1),
        action=action,
        reward=zeros,
        cost=zeros,
        violation=(places == VIOLATION).float(),
        is_first=first,
        is_terminal=places == GOAL,
        proven=torch.ones_like(first),
    )
    deterministic = torch.nn.functional.one_hot(places, width).float()
    return batch, Latent(deterministic, torch.eye(4).expand(count, 2, 4, 4))


def test_the_critics_find_the_unavoidable_set_and_the_values_of_exact_iteration() -> None:
    config = tiny_config(
        horizon=0, slow_rate=0.1, reachability_learning_rate=1e-2, hidden=32,
        reachability_discount=DISCOUNT, reachability_expectile=EXPECTILE,
    )  # fmt: skip
    learner = make_learner(config, CPU)
    batch, latents = data(config.deterministic, config.action_size)
    for _ in range(250):
        learner._update_critics(batch, latents)
    state, action = exact()
    here = latents.features()[:, 0]
    with torch.no_grad():
        found_state = torch.sigmoid(learner.agent.critics.reach_state(here).squeeze(-1))
        pair = torch.cat([here, batch.action[:, 0]], -1)
        found_action = torch.sigmoid(learner.agent.critics.reach_action(pair).squeeze(-1))
    for row, (place, move) in enumerate(MOVES):
        assert abs(float(found_action[row]) - action[place, move]) < 0.05, (place, move)
        assert abs(float(found_state[row]) - state[place]) < 0.05, place
        assert (float(found_state[row]) > 0.5) == (place in UNAVOIDABLE), place
    # The one fatal action in a place from which one can still turn back.
    fatal = list(MOVES).index((2, 1))
    assert float(found_action[fatal]) > 0.9 and float(found_state[fatal]) < 0.5
