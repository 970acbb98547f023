"""Does a new bundle do as well on the robot as its gate expected? Episodes decide, one after the other.

Each thing that may disappoint is a yes or no per episode with an expected rate p0. Wald's sequential probability ratio
test (1945) weighs p0 against a rate p1 that would be worse by a stated margin; it needs the fewest episodes of all
tests with its error rates, and it may be looked at after each. The bundle is taken back as soon as one of them has
decided for p1, and has passed once all have decided for p0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

_OUTCOMES = ("violation", "failure", "stop")
MONITORS = ("violation", "failure", "stop", "intervention", "surprise", "latency")


@dataclass(frozen=True)
class ProbationSettings:
    """How strict a probation is; each with its reason."""

    tighten_ratio: float = 0.9
    """Share of the feasible threshold that is left: until it is known better, the filter steps in earlier. At 0.7 it
    stepped in twice as often, averted no more, and led to stops that the new bundle was blamed for
    (docs/keep-learning.md)."""
    worse_by: float = 0.2
    """p1 = p0 + this. A smaller difference takes more episodes to see than a probation can last."""
    outcome_worse_by: float = 0.1
    """The same for violations, failures and stops, which cost more than an update that is lost: with 0.2, two bundles
    in a row passed that each did a little worse (experiments/learn_unattended.py)."""
    wrong_return: float = 0.02
    """Chance, per monitor, that a bundle as good as expected is taken back: that costs an update, no more."""
    wrong_pass: float = 0.05
    """Chance, per monitor, that a bundle worse by the margin passes: that costs the robot."""
    least_episodes: int = 10
    """Before that nothing passes, however well it goes."""
    most_episodes: int = 80
    """Then the balance of evidence decides; a probation that never ends would block every later improvement."""
    latency_share: float = 0.5
    """A tick is slow if image in to command out takes more than this share of the period."""
    slow_ticks: float = 0.02
    """An episode is slow if more than this share of its ticks is."""


DEFAULT_PROBATION_SETTINGS = ProbationSettings()


@dataclass(frozen=True)
class Expected:
    """What the gate, or the bundle before, lets one expect of an episode."""

    violation: float = 0.1
    """Share of episodes with any cost."""
    failure: float = 0.5
    """Share of episodes that do not succeed."""
    stop: float = 0.05
    """Share of episodes that end because the filter found no way back to what is safe."""
    intervention_limit: float = 1.0
    """Share of an episode's ticks in which its own filter objects, not exceeded in nine of ten episodes."""
    surprise_limit: float = math.inf
    """Mean surprise of an episode (nats), not exceeded in nine of ten episodes."""

    @staticmethod
    def from_mapping(values: Mapping[str, float]) -> "Expected":
        """Out of what `Versions` keeps; what is missing takes the default."""
        return Expected(**{item.name: float(values[item.name]) for item in fields(Expected) if item.name in values})


@dataclass(frozen=True)
class EpisodeFigures:
    """What one episode showed."""

    ticks: int
    violated: bool
    failed: bool
    intervention_share: float
    """Share of ticks in which the bundle's own filter, not tightened, objects to its policy's choice."""
    mean_surprise: float
    slow_share: float
    """Share of ticks whose latency was above the budget."""
    judged: bool = True
    """Whether anybody could tell violations and success."""
    stopped: bool = False
    """The filter found no way back to what is safe, which the best of bundles is not spared now and then."""


@dataclass(frozen=True)
class Outcome:
    """How a probation ended."""

    passed: bool
    sentence: str


class Sprt:
    """Wald's test of a rate: p0 against p1 > p0."""

    def __init__(self, p0: float, p1: float, wrong_return: float, wrong_pass: float) -> None:
        self.p0, self.p1 = p0, p1
        self._yes, self._no = math.log(p1 / p0), math.log((1.0 - p1) / (1.0 - p0))
        self.upper = math.log((1.0 - wrong_pass) / wrong_return)
        self.lower = math.log(wrong_pass / (1.0 - wrong_return))
        self.evidence, self.count, self.hits = 0.0, 0, 0
        self.passed = False

    def add(self, hit: bool) -> None:
        """Take one observation."""
        self.evidence += self._yes if hit else self._no
        self.count += 1
        self.hits += hit
        self.passed = self.passed or self.evidence <= self.lower

    @property
    def worse(self) -> bool:
        """Whether it has decided for p1."""
        return self.evidence >= self.upper


class Probation:
    """Weighs episodes of a bundle on probation."""

    def __init__(self, expected: Expected, settings: ProbationSettings = DEFAULT_PROBATION_SETTINGS) -> None:
        self.expected, self.settings = expected, settings
        rates = {
            "violation": expected.violation, "failure": expected.failure, "stop": expected.stop,
            # Limits that one in ten episodes exceeds by itself.
            "intervention": 0.1, "surprise": 0.1, "latency": 0.05,
        }  # fmt: skip
        self._tests: dict[str, Sprt] = {}
        for name, rate in rates.items():
            p0 = max(rate, 0.02)
            # Where nearly every episode is expected to fail, none can be worse by the margin: there is nothing to test.
            p1 = p0 + (settings.outcome_worse_by if name in _OUTCOMES else settings.worse_by)
            if p1 <= 0.99:
                self._tests[name] = Sprt(p0, p1, settings.wrong_return, settings.wrong_pass)
        self.episodes = 0

    def add(self, figures: EpisodeFigures) -> Outcome | None:
        """Take one episode; the outcome once there is one."""
        hits = {
            "stop": figures.stopped,
            "intervention": figures.intervention_share > self.expected.intervention_limit,
            "surprise": figures.mean_surprise > self.expected.surprise_limit,
            "latency": figures.slow_share > self.settings.slow_ticks,
        }
        if figures.judged:
            hits |= {"violation": figures.violated, "failure": figures.failed}
        self.episodes += 1
        for name, hit in hits.items():
            if name in self._tests:
                self._tests[name].add(hit)
        watched = {name: self._tests[name] for name in MONITORS if name in self._tests and self._tests[name].count}
        if worse := [name for name, test in watched.items() if test.worse]:
            return Outcome(False, self._sentence(worse[0]))
        if self.episodes >= self.settings.least_episodes and all(test.passed for test in watched.values()):
            return Outcome(True, f"as good as expected over {self.episodes} episodes on the robot")
        if self.episodes >= self.settings.most_episodes:
            doubtful = [name for name, test in watched.items() if test.evidence > 0.0]
            if doubtful:
                return Outcome(False, self._sentence(doubtful[0]))
            return Outcome(True, f"no worse than expected over {self.episodes} episodes on the robot")
        return None

    def line(self) -> str:
        """One line for the live view."""
        parts = [f"{name} {test.hits}/{test.count}" for name, test in self._tests.items() if test.hits]
        return f"probation, episode {self.episodes + 1}" + (f" ({', '.join(parts)})" if parts else "")

    def _sentence(self, name: str) -> str:
        test = self._tests[name]
        what = {
            "violation": "were in violation",
            "failure": "failed",
            "stop": "ended where recovery did not lead back to the feasible set",
            "intervention": f"had the filter object in more than {self.expected.intervention_limit:.0%} of their ticks",
            "surprise": f"surprised the world model by more than {self.expected.surprise_limit:.1f} nats on average",
            "latency": f"were slow in more than {self.settings.slow_ticks:.0%} of their ticks",
        }[name]
        return f"more {name} than expected: {test.hits} of {test.count} episodes {what}, {test.p0:.0%} were expected"
