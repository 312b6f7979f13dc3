"""A decision as it was logged, over the arms of now: who was asleep, whether it is whole, what its draw revealed.

Law: what teaches more than the drawn arm is a whole distribution over today's arms that fits the signals. Whatever else
was logged teaches the drawn arm alone.
"""

from collections.abc import Mapping, Sequence
from math import fsum

from armstream.events import DecisionSnapshot, Side
from armstream.learning import Decision, Observed
from armstream.learning.feedback import SIDES, groups_of, mirrored, observing
from armstream.learning.refusals import SUM_TOLERANCE
from armstream.stages.matching import Segment
from armstream.stages.state import Bandit

MIN_LOGGED_ETA, MAX_LOGGED_ETA = 1e-9, 1e6

_new = tuple.__new__  # a NamedTuple in half the time of calling its class
_NOTHING_MORE: Sequence[Observed] = ()


def drawn(bandit: Bandit, logged: DecisionSnapshot, arm: int, reads_distribution: bool) -> Decision:
    """Its distribution is looked at where the rule reads it, or an arm has 0."""
    asleep: Sequence[int] = _later(bandit, logged, arm)
    probabilities = logged.probabilities
    has_zero = not asleep and 0.0 in probabilities
    is_whole = (reads_distribution or has_zero) and _is_whole_distribution(bandit, logged, arm)
    if has_zero and is_whole:
        asleep = [index for index, each in enumerate(probabilities) if each == 0.0]
    if logged.signals:
        silent = [index for index in _silent(bandit, logged) if index != arm]
        is_whole = is_whole and not any(probabilities[index] for index in silent)
        asleep = sorted({*asleep, *silent})
    return _new(Decision, (arm, logged, is_whole, asleep, (), ()))


def terms_of(bandit: Bandit, terms: Mapping[str, float]) -> Sequence[float]:
    """What the parts so far added to each arm of now; none where there are no terms."""
    return [terms.get(name, 0.0) for name in bandit.arm_index] if terms else ()


def grown(bandit: Bandit, terms: Mapping[str, float], by: Sequence[float]) -> Mapping[str, float]:
    """Terms by name, those of the arms of now that are not 0."""
    after = {name: terms.get(name, 0.0) + more for name, more in zip(bandit.arm_index, by, strict=True)}
    return {name: term for name, term in after.items() if term}


def revealed(
    bandit: Bandit, logged: DecisionSnapshot, decision: Decision, side: Side, segment: Segment
) -> tuple[Decision, Sequence[Observed]]:
    """What a draw of `side` revealed beside the drawn arm, and how probable that was; nothing more where the settings
    take no more, or the decision does not say it whole."""
    settings, signals = bandit.settings, logged.signals
    assert settings is not None  # its learner was made by them
    if settings.feedback == "drawn" or not signals or not decision.is_whole:
        return decision, _NOTHING_MORE
    groups = groups_of(list(bandit.arm_index), signals, settings.feedback, by_horizon=settings.reveals_by_horizon)
    for index in decision.asleep:
        groups[index] = None
    chances = observing(groups, logged.probabilities)
    seen = [index for index, group in enumerate(groups) if group is not None and group == groups[decision.arm]]
    return decision._replace(observing=chances), _observed(
        bandit, signals, side, segment, [(i, chances[i]) for i in seen]
    )


def revealed_by_blend(bandit: Bandit, logged: DecisionSnapshot, side: Side, segment: Segment) -> Sequence[Observed]:
    """Every arm that had a side, where the settings take both: nothing was drawn, so that each was seen for sure. Where
    arms have horizons, those of the horizons that contributed, which decided when to close."""
    settings, signals = bandit.settings, logged.signals
    assert settings is not None  # as above
    if settings.feedback != "both" or not signals:
        return _NOTHING_MORE
    by_horizon, shares = settings.reveals_by_horizon, logged.contributions.items()
    groups = groups_of(list(bandit.arm_index), signals, settings.feedback, by_horizon)
    for index in _later(bandit, logged):
        groups[index] = None
    played = {groups[bandit.arm_index[name]] for name, share in shares if share}
    seen = [
        (index, 1.0) for index, group in enumerate(groups) if group is not None and (group in played or not by_horizon)
    ]
    return _observed(bandit, signals, side, segment, seen)


def _observed(
    bandit: Bandit,
    signals: Mapping[str, str],
    side: Side,
    segment: Segment,
    seen: Sequence[tuple[int, float]],
) -> list[Observed]:
    names, other = list(bandit.arm_index), mirrored(segment.reward_bps, segment.costs_bps)
    return [
        Observed(index, segment.reward_bps if signals[names[index]] == side else other, chance)
        for index, chance in seen
    ]


def _silent(bandit: Bandit, logged: DecisionSnapshot) -> list[int]:
    """The arms that had no side."""
    return [index for name, index in bandit.arm_index.items() if logged.signals.get(name) not in SIDES]


def _later(bandit: Bandit, decision: DecisionSnapshot, arm: int | None = None) -> Sequence[int]:
    """The arms that were added after the vector that the decision was made from, where it says from which."""
    version = decision.weights_version
    if version is None or version >= bandit.choices_version:
        return ()
    known = max(version, 1)  # 0: there was no vector yet
    later = [index for name, index in bandit.arm_index.items() if bandit.added_versions[name] > known]
    return [index for index in later if index != arm]


def _is_whole_distribution(bandit: Bandit, decision: DecisionSnapshot, arm: int) -> bool:
    """Whether what was logged is a distribution over today's arms, with its rate, that gives `arm` the propensity."""
    probabilities, propensity, eta = decision.probabilities, decision.propensity, decision.eta
    if eta is None or propensity is None or len(probabilities) != len(bandit.arm_index):
        return False
    version = 1 if decision.weights_version is None else decision.weights_version  # who does not say knew the first
    if version < bandit.choices_version:
        return False
    if not MIN_LOGGED_ETA <= eta < MAX_LOGGED_ETA or not all(0.0 <= one <= 1.0 for one in probabilities):
        return False
    tolerance = SUM_TOLERANCE / 2
    return (
        abs(fsum(probabilities) - 1.0) <= tolerance and abs(probabilities[arm] - propensity) <= tolerance * propensity
    )
