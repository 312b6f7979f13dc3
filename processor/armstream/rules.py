"""The one table of learning rules: what a name in the settings stands for, and what its formulas come to by themselves.

Law: a name that is not here is an error. A rule and its oracle share nothing but this line.
"""

from dataclasses import dataclass

from armstream.events import BanditSnapshot, WeightVector
from armstream.learning import Exp3IX, Exp4, Learner, LearningSettings, Rule, Tsallis
from armstream.oracle.exp3ix import Exp3IXFormula
from armstream.oracle.exp4 import Exp4Formula
from armstream.oracle.formula import Formula, Settings
from armstream.oracle.tsallis import TsallisFormula


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule, and the class of its formula oracle."""

    rule: Rule
    oracle: type[Formula]


RULES: dict[str, Entry] = {
    "exp3ix": Entry(Exp3IX(), Exp3IXFormula),
    "exp4": Entry(Exp4(), Exp4Formula),
    "tsallis": Entry(Tsallis(), TsallisFormula),
}


class UnknownRule(ValueError):
    """A name that stands for no rule of this version."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no learning rule is called {name!r} here; the rules are {', '.join(sorted(RULES))}")


def rule_named(name: str) -> Rule:
    """Raises UnknownRule."""
    return _entry(name).rule


def new_learner(settings: LearningSettings) -> Learner:
    """One that has seen nothing. Raises UnknownRule, and ValueError where the parameters cannot be."""
    return rule_named(settings.algorithm).new_learner(settings)


def formula_of(settings: Settings) -> Formula:
    """The oracle of a learner that has seen nothing, from settings as the oracle has them. Raises UnknownRule."""
    return _entry(settings["algorithm"]).oracle(settings, settings["arms"])


def clips(published: WeightVector | BanditSnapshot) -> bool:
    """Whether rewards are clipped to reward_bound_bps. Raises UnknownRule."""
    return rule_named(published.algorithm).clips(published.estimator)


def _entry(name: str) -> Entry:
    entry = RULES.get(name)
    if entry is None:
        raise UnknownRule(name)
    return entry
