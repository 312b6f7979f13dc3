"""An optimizer that lives in a file. Law: it is saved each interval and at the end, or an error says so."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from armstream.learning.contract import Update
from armstream.learning.exp3ix import Exp3IXBandit
from armstream.standalone.persistence import StateFile, newest_state, write_atomic_json
from armstream.standalone.weight_optimizer import EnsembleWeightOptimizer

_LEARNED = ("weights", "total_steps", "arm_pulls", "cumulative_rewards", "log_weights", "losses", "generator")


class SavedOptimizer:
    """An optimizer that goes on from `state_file` and is saved to it: each `save_interval` updates, and at the end.

        with SavedOptimizer(EnsembleWeightOptimizer(families, horizons), "state/bandit_state.json") as saved:
            saved.update("ridge", "1d", 12.0)

    What was learned comes from the file (its own layout or the nine plain keys), parameters from the optimizer
    given, which gets a new bandit in the file's state. What is done to `optimizer` itself is in the next save. `loaded`
    is the file read, None where there was none.

    ValueError where the file's mode, arms or estimator are not the optimizer's, or where no good state is in it; then
    no file is touched. An update whose save fails has been learned: the OSError says that it is not yet on disk.
    """

    __slots__ = ("_state_file", "_unsaved", "loaded", "optimizer", "save_interval")

    def __init__(
        self,
        optimizer: EnsembleWeightOptimizer,
        state_file: str | os.PathLike[str] = "state/bandit_state.json",
        save_interval: int = 100,
    ) -> None:
        if save_interval < 1:
            raise ValueError(f"save_interval must be at least 1, got {save_interval}")
        self.save_interval = save_interval
        self._state_file = Path(state_file)
        self._unsaved = 0
        self.loaded: StateFile | None = None
        self.optimizer = optimizer
        try:
            self.loaded = newest_state(self._state_file)
        except FileNotFoundError:  # the first run; a file that cannot be read is another error
            return
        optimizer.bandit = _bandit_with_learning_of(self.loaded, optimizer)

    def update(
        self,
        family: str | None,
        horizon: str | None,
        reward: float,
        propensity: float | None = None,
        weight: float = 1.0,
        new_decision: bool = True,
    ) -> Update:
        """As the optimizer's."""
        update = self.optimizer.update(family, horizon, reward, propensity, weight, new_decision)
        self._count()
        return update

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
        """As the optimizer's; one update, however many arms it moves."""
        update = self.optimizer.update_many(
            contributions, reward, attribution, propensities=propensities, weight=weight, new_decision=new_decision
        )
        self._count()
        return update

    def save(self) -> None:
        """Write the state now."""
        write_atomic_json(self._state_file, self.optimizer.to_dict())
        self._unsaved = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Save, whatever ended the block: what was learned until then holds."""
        self.save()

    def _count(self) -> None:
        self._unsaved += 1
        if self._unsaved >= self.save_interval:
            self.save()


def _bandit_with_learning_of(file: StateFile, optimizer: EnsembleWeightOptimizer) -> Exp3IXBandit:
    """The optimizer's parameters with what the file says was learned; nine plain keys say no mode and estimator."""
    given = optimizer.to_dict()
    try:
        kept = EnsembleWeightOptimizer.from_dict(
            {"mode": given["mode"], "estimator": given["estimator"], **file.state}
        ).to_dict()
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from error
    for key in ("mode", "arm_names", "estimator"):
        if kept[key] != given[key]:
            raise ValueError(
                f"{file.path} has {key} {kept[key]!r}, the optimizer {given[key]!r}: "
                "make the optimizer as the file is (EnsembleWeightOptimizer.from_dict), or move the file away"
            )
    parameters = {key: value for key, value in given.items() if key not in _LEARNED or key == "generator"}
    learned = {key: file.state[key] for key in _LEARNED if key in file.state}
    if "reward_bound" in file.state and file.state.get("reward_bound_bps") == given["reward_bound_bps"]:
        learned["reward_bound"] = file.state["reward_bound"]  # as far as it got; another parameter begins anew
    return EnsembleWeightOptimizer.from_dict({**parameters, **learned}).bandit
