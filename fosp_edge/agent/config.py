"""One flat configuration for agent and learning. Every field says what it is; presets change fields, not code."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

SCOPES = ("full", "recurrent", "heads", "behaviour")
"""What of the world model learns, from the slowest update to the fastest."""
ACTORS = ("regression", "imagined_return", "imagined_value")
"""What the policy learns by."""
PRECISIONS = ("float32", "bfloat16")
"""What products are computed in while learning."""
IMITATED = ("all", "proven")
"""Which episodes the policy imitates."""


@dataclass(frozen=True)
class Config:
    """What is learnt and how. Defaults are FOSP's (ICLR 2025, appendix) where the paper states them."""

    # What comes in and goes out; read off the data set.
    image_channels: int = 6
    """Three per camera."""
    state_size: int = 9
    action_size: int = 3

    # Size of the network.
    conv_depth: int = 32
    """Channels of the first of four stride-2 convolutions; each following one has twice as many."""
    deterministic: int = 512
    """Width of the recurrent state h."""
    groups: int = 48
    """Categorical variables in the stochastic state s."""
    classes: int = 48
    """Classes of each."""
    hidden: int = 512
    """Width of every hidden layer."""
    head_layers: int = 2
    """Hidden layers of heads, critics and policy."""
    bins: int = 255
    """Two-hot bins over [-20, 20] in symlog space."""
    unimix: float = 0.01
    """Share of the uniform distribution mixed into every categorical."""

    # The architecture of agents that were trained elsewhere (docs/foreign.md). The defaults are this project's own;
    # the learner refuses anything else.
    norm: str = "layer"
    """`layer`, or `rms` (scale without centring)."""
    norm_epsilon: float = 1e-5
    dense_bias: bool = False
    """Whether maps before a norm carry a bias."""
    recurrence: str = "gru"
    """`gru`, or `block_gru`: DreamerV3 of 2024, block-diagonal, starting from zeros in place of a learnt state."""
    blocks: int = 8
    prior_layers: int = 1
    """Hidden layers of the prior."""
    model_head_layers: int | None = None
    """Hidden layers of the heads for reward, cost and continuation; None: `head_layers`."""
    conv_kernel: int = 4
    conv_multiples: tuple[int, ...] = (1, 2, 4, 8)
    """Channels of the four convolutions, in units of `conv_depth`."""
    conv_pooling: bool = False
    """Halve the picture by taking maxima, in place of a stride."""
    state_layers: int = 1
    """Layers of the state's own encoder; 0: the agent does not look at the state vector."""
    state_units: int | None = None
    """Width of the state's own encoder; None: `hidden`."""
    state_scaling: str = "standard"
    """`standard`: mean and deviation of the data set; or `symlog`."""
    bin_spacing: str = "symlog"
    """`symlog`: bins evenly spaced there, where the mean is taken; or `symexp`: the mean is taken of their values."""
    reachability_form: str = "logit"
    """`logit` of a probability, or `two_hot`: a value, cut off at 0 and 1."""
    has_decoder: bool = True
    unknown: tuple[str, ...] = ()
    """Heads that the agent was never given. Reachability then reads 1, certain violation; cost and reward read 0."""

    # World model.
    kl_dynamics: float = 0.5
    kl_representation: float = 0.1
    free_nats: float = 1.0
    violation_weight: float = 10.0
    """Weight of the cost head's loss where the cost is 1 or more."""
    decoded_share: float = 1.0
    """Share of a batch's frames that is decoded for the reconstruction loss."""
    model_learning_rate: float = 1e-4
    model_final_rate: float = 1.0
    """Share of the world model's learning rate that is left when it stops learning, falling linearly; 1: constant."""
    model_epsilon: float = 1e-8
    model_clip: float = 1000.0

    # Critics and reachability.
    discount: float = 1.0 - 1.0 / 333.0
    reward_expectile: float = 0.8
    """Upper expectile of Q_r over the data's actions: V_r."""
    cost_expectile: float = 0.2
    """Lower expectile of Q_c over the data's actions: V_c."""
    reachability_discount: float = 0.99
    reachability_expectile: float = 0.2
    """Lower expectile of the reachability of the data's actions: the best behaviour that the data know."""
    slow_rate: float = 0.02
    """Share of the fast critics that enters their slow copies at each update."""
    slow_regulariser: float = 1.0
    """Weight of staying close to the slow copy."""
    critic_learning_rate: float = 3e-5
    critic_epsilon: float = 1e-5
    critic_clip: float = 100.0
    reachability_learning_rate: float = 3e-5
    horizon: int = 15
    """Imagined steps behind each start state; 0 trains the critics on data alone."""
    imagination_starts: int = 1024
    """Start states of imagination per update, drawn from the batch's posterior states."""
    trace: float = 0.95
    """Lambda of the lambda-return."""

    # Policy.
    inverse_temperature: float = 1.0
    """Advantages are divided by their 5-95 percentile range, multiplied by this, and exponentiated."""
    feasible_cost_weight: float = 0.0
    """Share of the cost advantage that enters the weight of feasible actions too; the paper has none."""
    cost_emphasis: float = 1.0
    """Factor of that share while learning on the robot. A field of its own: going on from what was learnt there sets it
    again and does not multiply once more."""
    weight_limit: float = 20.0
    """Largest exponentiated advantage."""
    imitates: str = "all"
    """Whose actions the policy imitates, by their weights: `all`, or those of `proven` episodes, which reached their
    end without violation. Critics and reachability learn from all in any case."""
    feasible_reachability: float = 0.5
    """Actions of the data above this reachability are not imitated where a feasible one exists."""
    entropy: float = 3e-4
    minimum_deviation: float = 0.1
    maximum_deviation: float = 1.0
    policy_learning_rate: float = 3e-5
    cost_budget: float = 0.0
    """b of the constraint E[(1 - p) C] <= b."""
    multiplier_start: float = 1e-6
    penalty_start: float = 5e-9
    penalty_growth: float = 1e-5

    # What is switched on; the presets of the comparisons.
    safety: bool = True
    """Cost critics, reachability gate and Lagrangian."""
    in_sample: bool = True
    """Critics learn from the data's own actions. False: from imagined trajectories of the policy alone."""
    reachability_guidance: bool = True
    """The policy heeds reachability. False: every state and action counts as feasible, p = 0; it is still learnt, for
    the safety filter."""
    reachability_grounded: bool = True
    """It is grounded in observed violations. False: in the sign of its own output, as the released code has it."""
    lagrangian: bool = True
    """The policy's loss carries the augmented Lagrangian of the cost constraint."""
    actor: str = "regression"
    """What the policy learns by: `regression` onto the data's actions by their weights; `imagined_return`, gradients of
    the lambda-return through imagined trajectories, as DreamerV3; `imagined_value`, of Q_r, as in the released code."""
    advantage_weighting: bool = True
    """False imitates every action of the data alike: behaviour cloning."""

    # Online: safe policy expansion.
    expansion: bool = True
    """Fine-tuning freezes the offline policy and lets a new one learn beside it; False changes the policy itself."""
    expansion_inverse_temperature: float = 5.0
    """One of the proposed actions is drawn by softmax(this * (Q_r - weight * Q_c))."""
    expansion_cost_weight: float = 0.1
    offline_share: float = 0.5
    """Share of every fine-tuning batch that comes from the offline data, so that nothing is unlearned."""
    scope: str = "full"
    """What of the world model goes on learning: `full`; `recurrent`, all but the encoder; `heads`, only those of
    reward, cost and continuation; `behaviour`, nothing. Critics and policy always learn."""
    reachability_learns: bool = True
    """False leaves reachability as it is: who learns from a filter's own deeds sees no violation where the filter
    averted it, and comes to believe that there was none to avert."""

    # Batches and schedule.
    batch_size: int = 16
    batch_length: int = 64
    precision: str = "float32"
    """Of matrix products and convolutions while learning: `float32`, or `bfloat16` (docs/learning.md)."""
    cuda_graphs: bool = True
    """On an NVIDIA GPU: record each kind of update once and replay it, so that no kernel waits to be launched."""
    compiled: bool = False
    """Fuse the steps of the recurrence (`torch.compile`): half a minute of compiling, for long trainings on a GPU."""
    updates: int = 20_000
    behaviour_from: int = 0
    """Critics and policy learn from this update on. They send no gradient into the world model."""
    model_until: int | None = None
    """The world model stops learning at this update; None: never. Later updates then cost a third."""
    critics_until: int | None = None
    """Critics and reachability stop learning at this update, and the policy goes on alone, towards fixed weights."""
    seed: int = 0

    @property
    def feature_size(self) -> int:
        """Width of the latent state as the heads see it."""
        return self.deterministic + self.groups * self.classes

    def __post_init__(self) -> None:
        for what, found, known in (
            ("unknown scope {!r}", self.scope, SCOPES),
            ("unknown precision {!r}", self.precision, PRECISIONS),
            ("unknown choice {!r} of what to imitate", self.imitates, IMITATED),
            ("unknown actor {!r}", self.actor, ACTORS),
        ):
            if found not in known:
                raise ValueError(f"{what.format(found)}; choose one of: {', '.join(known)}")
        if self.horizon < 1 and not (self.in_sample and self.actor == "regression"):
            raise ValueError("without in-sample critics or regression, it takes a horizon of 1 or more")

    def to_dict(self) -> dict[str, Any]:
        """All fields, for a checkpoint's metadata."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Config":
        """Read a configuration back. Raises ValueError naming fields that this version does not know."""
        known = {item.name for item in fields(Config)}
        if unknown := sorted(values.keys() - known):
            raise ValueError(f"the configuration has fields unknown to this version: {', '.join(unknown)}")
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}  # JSON has no tuples
        return Config(**(values | lists))

    @property
    def trained_elsewhere(self) -> list[str]:
        """Names of the architecture's fields that are not this project's own."""
        return [
            item.name
            for item in fields(Config)
            if item.name in _ARCHITECTURE and getattr(self, item.name) != item.default
        ]


_ARCHITECTURE = {
    "norm", "norm_epsilon", "dense_bias", "recurrence", "prior_layers", "model_head_layers", "conv_kernel",
    "conv_multiples", "conv_pooling", "state_layers", "state_units", "state_scaling", "bin_spacing",
    "reachability_form", "has_decoder", "unknown",
}  # fmt: skip


SIZES: dict[str, dict[str, Any]] = {
    # Two CPU cores train it in under an hour; a few megabytes.
    "nano": {
        "conv_depth": 8,
        "deterministic": 256,
        "groups": 24,
        "classes": 16,
        "hidden": 256,
        "decoded_share": 0.5,
        "batch_length": 16,
        "imagination_starts": 32,
        "model_learning_rate": 8e-4,
        "critic_learning_rate": 5e-4,
        "reachability_learning_rate": 3e-4,
        "policy_learning_rate": 8e-4,
        "inverse_temperature": 12.0,
        "weight_limit": 50.0,
        "cost_expectile": 0.5,
        "reachability_expectile": 0.1,
        "feasible_reachability": 0.3,
        "feasible_cost_weight": 0.6,
        "updates": 8_500,
        "behaviour_from": 5_000,
        "model_until": 5_000,
    },
    "small": {},
    # DreamerV3's M, with FOSP's categoricals: for a GPU.
    "medium": {"conv_depth": 48, "deterministic": 1024, "hidden": 640, "head_layers": 3},
}
METHODS: dict[str, dict[str, Any]] = {
    "fosp": {},
    # Where the authors' code departs from their paper: the policy follows -A_r by its gradient and the weights are
    # thrown away; no data set's action enters the critics; both values take the lower expectile; reachability never
    # sees a cost; the two expanded policies are one. (Its values regress on Q of imagined actions, ours on their
    # lambda-return.)
    "fosp-as-released": {
        "actor": "imagined_value",
        "in_sample": False,
        "reward_expectile": 0.2,
        "cost_expectile": 0.2,
        "reachability_grounded": False,
        "expansion": False,
    },
    # Huang et al. 2024, the variant without planning: DreamerV3 with the augmented Lagrangian.
    "safedreamer": {
        "actor": "imagined_return",
        "in_sample": False,
        "reward_expectile": 0.5,
        "cost_expectile": 0.5,
        "reachability_guidance": False,
        "expansion": False,
    },
    "dreamerv3": {
        "safety": False,
        "actor": "imagined_return",
        "in_sample": False,
        "reward_expectile": 0.5,
        "expansion": False,
    },
    "bc": {"safety": False, "advantage_weighting": False, "expansion": False},
    # The settings of the shipped agent, which did best on SafeReach (docs/results/ablations.md): values look 0.8 s on
    # and are learnt from data alone, costs weigh on feasible actions too. Give it demonstrations to imitate.
    "fosp-shipped": {
        "discount": 0.94,
        "inverse_temperature": 12.0,
        "feasible_cost_weight": 3.0,
        "feasible_reachability": 0.1,
        "horizon": 0,
    },
    # Ablations: the method with one part taken out.
    "fosp-minus-in-sample": {"in_sample": False, "reward_expectile": 0.5, "cost_expectile": 0.5},
    "fosp-minus-reachability": {"reachability_guidance": False},
    "fosp-minus-expansion": {"expansion": False},
    "fosp-minus-lagrangian": {"lagrangian": False},
}


def make_config(size: str, method: str, **changes: Any) -> Config:
    """The configuration of a named size and method, with further changes.

    Raises:
        ValueError: unknown size or method; the message lists the known ones.
    """
    if size not in SIZES:
        raise ValueError(f"unknown preset {size!r}; choose one of: {', '.join(SIZES)}")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of: {', '.join(METHODS)}")
    return replace(Config(), **(SIZES[size] | METHODS[method] | changes))
