"""The one table of learning rules: what a name in the settings stands for. Law: a name that is not here is an error."""

from armstream.events import BanditSnapshot, WeightVector
from armstream.learning import Exp3IX, Exp4, Learner, LearningSettings, Rule, Tsallis

RULES: dict[str, Rule] = {rule.name: rule for rule in (Exp3IX(), Exp4(), Tsallis())}


class UnknownRule(ValueError):
    """A name that stands for no rule of this version."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no learning rule is called {name!r} here; the rules are {', '.join(sorted(RULES))}")


def rule_named(name: str) -> Rule:
    """Raises UnknownRule."""
    rule = RULES.get(name)
    if rule is None:
        raise UnknownRule(name)
    return rule


def new_learner(settings: LearningSettings) -> Learner:
    """One that has seen nothing. Raises UnknownRule, and ValueError where the parameters cannot be."""
    return rule_named(settings.algorithm).new_learner(settings)


def clips(published: WeightVector | BanditSnapshot) -> bool:
    """Whether rewards are clipped to reward_bound_bps. Raises UnknownRule."""
    return rule_named(published.algorithm).clips(published.estimator)
