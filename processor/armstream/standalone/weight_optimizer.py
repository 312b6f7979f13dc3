"""Ensemble weights, learned over families, horizons or pairs of both. Law: what is given out is normalised."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from armstream.learning.blending import normalised
from armstream.learning.contract import Update
from armstream.learning.exp3ix import Exp3IXBandit

MODES = ("family", "horizon", "family_horizon")


class Selection(NamedTuple):
    """An arm drawn: its family, its horizon (None for what the mode leaves out) and its probability when drawn."""

    family: str | None
    horizon: str | None
    propensity: float


class EnsembleWeightOptimizer:
    """One Exp3-IX learner over model families ("family"), horizons ("horizon") or "family:horizon" ("family_horizon").

    What the mode leaves out is never looked at: `horizons` may be empty in mode family. In family_horizon no name holds
    a colon. `bandit_parameters` are those of `Exp3IXBandit`: gamma, eta, estimator, seed, ...
    Every refusal is a ValueError raised before anything changes.
    """

    __slots__ = ("bandit", "mode")

    def __init__(
        self, families: Sequence[str], horizons: Sequence[str], mode: str = "family", **bandit_parameters: Any
    ) -> None:
        names = _arm_names(families, horizons, mode)
        self.mode = mode
        self.bandit = Exp3IXBandit(len(names), names, **bandit_parameters)
        """The learner: its arms come and go by `add_arm` and `remove_arm`, named as the mode names them."""

    @property
    def families(self) -> list[str]:
        """Those of the arms, in their order; none in mode horizon."""
        return list(dict.fromkeys(family for family, _ in self._arms() if family is not None))

    @property
    def horizons(self) -> list[str]:
        """Those of the arms, in their order; none in mode family."""
        return list(dict.fromkeys(horizon for _, horizon in self._arms() if horizon is not None))

    @property
    def total_steps(self) -> int:
        """T, the decisions counted."""
        return self.bandit.total_steps

    def select(self) -> Selection:
        """Draw an arm by exactly one number of the generator; counts nothing."""
        probabilities = self.bandit.read().probabilities
        arm = self.bandit.select_arm()
        return Selection(*self._arms()[arm], probabilities[arm])

    def update(
        self,
        family: str | None,
        horizon: str | None,
        reward: float,
        propensity: float | None = None,
        weight: float = 1.0,
        new_decision: bool = True,
    ) -> Update:
        """Learn what one arm earned, in net basis points; the rest as `Exp3IXBandit.update`."""
        if self.mode == "family_horizon":
            arm_name: str | None = f"{family}:{horizon}"
        else:
            arm_name = family if self.mode == "family" else horizon
        if arm_name is None:
            raise ValueError(f"an update in mode {self.mode} needs a {self.mode}")
        return self.bandit.update(self.bandit.get_arm_index(arm_name), reward, propensity, weight, new_decision)

    def update_many(
        self,
        contributions: Mapping[str, float],
        reward: float,
        attribution: str = "simultaneous",
        *,
        propensities: Mapping[str, float] | None = None,
        weight: float = 1.0,
        new_decision: bool = True,
    ) -> Update:
        """Learn what a blend earned, by names of arms (family, horizon or "family:horizon"); as the bandit's."""
        return self.bandit.update_many(
            contributions, reward, attribution, propensities=propensities, weight=weight, new_decision=new_decision
        )

    def get_blending_weights(self, horizon: str | None = None) -> dict[str, float]:
        """Family to weight; in family_horizon renormalised within `horizon`, in mode horizon it is horizon to weight.

        ValueError in family_horizon for a horizon that no arm has.
        """
        weights = self.bandit.get_weights_dict()
        if self.mode != "family_horizon":
            return weights
        within = {
            family: weight
            for (family, its_horizon), weight in zip(self._arms(), weights.values(), strict=True)
            if family is not None and its_horizon == horizon
        }
        if not within:
            raise ValueError(f"unknown horizon {horizon!r}; the horizons are {', '.join(self.horizons)}")
        return normalised("learned", within)

    def get_stats(self) -> dict[str, Any]:
        """The bandit's, and the mode."""
        return {**self.bandit.get_stats(), "mode": self.mode}

    def to_dict(self) -> dict[str, Any]:
        """The bandit's, and the mode: everything `from_dict` needs to go on bit for bit; JSON types only."""
        return {**self.bandit.to_dict(), "mode": self.mode}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], seed: int | None = None) -> Self:
        """From `to_dict`, or from the bandit's nine plain keys alone: mode family, unless a `mode` stands beside
        them. `seed` serves where the state has no generator. ValueError for what no optimizer could hold.
        """
        kept = dict(state)
        mode = kept.pop("mode", "family")
        bandit = Exp3IXBandit.from_dict(kept, seed)
        if mode not in MODES:
            raise _unknown_mode(mode)
        optimizer = object.__new__(cls)
        optimizer.mode, optimizer.bandit = mode, bandit
        if mode == "family_horizon" and not all(name.count(":") == 1 for name in bandit.arm_names):
            raise ValueError(f"arms of mode family_horizon must be 'family:horizon', got {bandit.arm_names}")
        return optimizer

    def _arms(self) -> list[tuple[str | None, str | None]]:
        """Family and horizon of each arm, None for what the mode leaves out."""
        names = self.bandit.arm_names
        if self.mode == "family":
            return [(name, None) for name in names]
        if self.mode == "horizon":
            return [(None, name) for name in names]
        return [(family, horizon) for family, _, horizon in (name.partition(":") for name in names)]


def _arm_names(families: Sequence[str], horizons: Sequence[str], mode: str) -> list[str]:
    for given in (families, horizons):
        if isinstance(given, str):
            raise ValueError(f"families and horizons are sequences of names, got {given!r}")
    if mode == "family":
        return list(families)
    if mode == "horizon":
        return list(horizons)
    if mode != "family_horizon":
        raise _unknown_mode(mode)
    for name in (*families, *horizons):
        if not name or ":" in name:
            raise ValueError(
                f"a family or a horizon must not be empty, nor hold the colon that parts them, got {name!r}"
            )
    return [f"{family}:{horizon}" for family in families for horizon in horizons]


def _unknown_mode(mode: object) -> ValueError:
    return ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
