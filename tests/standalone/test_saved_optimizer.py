"""An optimizer in a file: saved each interval and at the end, gone on with bit for bit, never over what it refuses."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from armstream.learning import EnsembleWeightOptimizer, TradeResult, update_after_trade
from armstream.standalone.persistence import read_json, write_atomic_json
from armstream.standalone.saved_optimizer import SavedOptimizer

FAMILIES, HORIZONS = ["ridge", "mlp", "gru"], ["1d", "5d"]

DOCUMENTED: Mapping[str, Any] = {
    "n_arms": 3,
    "arm_names": FAMILIES,
    "gamma": 0.05,
    "eta": 0.05,
    "eta_auto": False,
    "weights": [4, 1, 1],
    "total_steps": 7,
    "arm_pulls": [4, 2, 1],
    "cumulative_rewards": [12.5, 0, -3.0],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "bandit_state.json"


def optimizer(**parameters: Any) -> EnsembleWeightOptimizer:
    return EnsembleWeightOptimizer(FAMILIES, HORIZONS, **{"seed": 5, **parameters})


def test_it_is_saved_each_interval_and_at_the_end(path: Path) -> None:
    with SavedOptimizer(optimizer(), path, save_interval=3) as saved:
        assert saved.loaded is None
        steps_on_disk = []
        for number in range(7):
            if number % 2:
                saved.update("ridge", "1d", 10.0, 0.5)
            else:
                saved.update_many({"ridge": 0.5, "mlp": 0.5}, 10.0, "undivided")
            steps_on_disk.append(read_json(path)["total_steps"] if path.exists() else 0)
    assert steps_on_disk == [0, 0, 3, 3, 3, 6, 6]
    assert read_json(path) == saved.optimizer.to_dict()
    assert read_json(path)["total_steps"] == 7


def test_by_default_it_is_saved_each_100_updates(path: Path) -> None:
    saved = SavedOptimizer(optimizer(), path)
    for _ in range(99):
        saved.update("ridge", None, 1.0)
    assert not path.exists()
    saved.update("ridge", None, 1.0)
    assert read_json(path)["total_steps"] == 100


@pytest.mark.parametrize("mode", ["family", "family_horizon"])
@pytest.mark.parametrize("estimator", ["importance", "implicit"])
def test_it_goes_on_bit_for_bit_as_one_that_never_stopped(path: Path, estimator: str, mode: str) -> None:
    """The generator too; a new seed does not count."""
    never_stopped = optimizer(estimator=estimator, mode=mode)
    for seed in range(4):
        made = optimizer(estimator=estimator, mode=mode, seed=seed if path.exists() else 5)
        with SavedOptimizer(made, path, save_interval=7) as saved:
            for _ in range(10):
                selected = never_stopped.select()
                assert saved.optimizer.select() == selected
                for each in (never_stopped, saved):
                    each.update(selected.family or "ridge", selected.horizon, 5.0, selected.propensity)
    assert saved.optimizer.to_dict() == never_stopped.to_dict()


def test_the_optimizer_given_is_the_one_that_learns(path: Path) -> None:
    for run in (1, 2):
        given = optimizer()
        with SavedOptimizer(given, path) as saved:
            saved.update("ridge", "1d", 10.0)
        assert saved.optimizer is given
        assert given.total_steps == run


def test_what_was_learned_when_an_error_ends_the_block_is_kept(path: Path) -> None:
    def day() -> None:
        with SavedOptimizer(optimizer(), path) as saved:
            saved.update("ridge", "1d", 10.0)
            saved.update("xgboost", "1d", 10.0)

    with pytest.raises(ValueError, match="unknown arm"):
        day()
    assert read_json(path)["total_steps"] == 1


def test_trades_are_taught_and_saved(path: Path) -> None:
    with SavedOptimizer(optimizer(), path, save_interval=1) as saved:
        update_after_trade(saved, TradeResult(150.0, 150.5, 1.0, 5.0, {"ridge": 0.6, "mlp": 0.4}))
        assert read_json(path)["cumulative_rewards"] == pytest.approx([16.4, 164 / 15, 0.0])


def test_parameters_are_the_optimizers_and_learning_is_the_files(path: Path) -> None:
    with SavedOptimizer(optimizer(eta=0.01, gamma=0.05), path) as saved:
        saved.update("ridge", "1d", 50.0)
    learned = saved.optimizer.bandit.state
    changed = SavedOptimizer(optimizer(eta=0.5, gamma=0.2), path).optimizer
    assert changed.bandit.state == learned
    assert (changed.bandit.eta, changed.bandit.gamma, changed.total_steps) == (0.5, 0.2, 1)


def test_a_bound_that_sets_itself_goes_on_from_the_file_and_another_parameter_begins_anew(path: Path) -> None:
    """1 to 100 bps in two runs: B = 95.05; an optimizer made with 50 takes its own."""
    for sizes in (range(1, 61), range(61, 101)):
        with SavedOptimizer(optimizer(estimator="implicit", reward_bound_bps="auto"), path) as saved:
            for size in sizes:
                saved.update("ridge", "1d", float(size))
    again = SavedOptimizer(optimizer(estimator="implicit", reward_bound_bps="auto"), path).optimizer.bandit
    assert not again.is_warming
    assert again.reward_bound_bps == pytest.approx(95.05)
    fixed = SavedOptimizer(optimizer(estimator="implicit", reward_bound_bps=50.0), path).optimizer.bandit
    assert fixed.reward_bound_bps == 50.0


@pytest.mark.parametrize("estimator", ["importance", "implicit"])
def test_the_documented_layout_is_read(path: Path, estimator: str) -> None:
    """Weights 4, 1, 1 are 2/3, 1/6, 1/6, by either estimator; it has no generator, so that the seed serves."""
    write_atomic_json(path, DOCUMENTED)
    with SavedOptimizer(optimizer(estimator=estimator), path) as saved:
        weights = saved.optimizer.get_blending_weights()
        assert weights == pytest.approx({"ridge": 2 / 3, "mlp": 1 / 6, "gru": 1 / 6}, rel=1e-12)
        assert (saved.optimizer.total_steps, saved.optimizer.bandit.arm_pulls) == (7, [4, 2, 1])
        twin = EnsembleWeightOptimizer.from_dict(
            {**saved.optimizer.to_dict(), "generator": optimizer().to_dict()["generator"]}
        )
        assert [saved.optimizer.select() for _ in range(20)] == [twin.select() for _ in range(20)]
    assert list(read_json(path))[:9] == list(DOCUMENTED)


def test_a_spoiled_file_falls_back_to_its_backup_and_the_optimizer_shows_it(path: Path) -> None:
    with SavedOptimizer(optimizer(), path, save_interval=1) as saved:
        for _ in range(3):
            saved.update("ridge", "1d", 1.0)
    os.truncate(path, path.stat().st_size // 2)
    saved = SavedOptimizer(optimizer(), path)
    assert saved.loaded is not None
    assert len(saved.loaded.passed_over) == 1
    assert saved.optimizer.total_steps == 3, "the first backup: the save at the end had nothing new"


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"mode": "horizon"}, "has mode 'family'"),
        ({"mode": "family_horizon"}, "has mode 'family'"),
        ({"families": ["ridge", "mlp"]}, "arm_names"),
        ({"families": ["mlp", "ridge", "gru"]}, "arm_names"),
        ({"estimator": "implicit"}, "has estimator 'importance', the optimizer 'implicit'"),
    ],
)
def test_a_file_of_another_optimizer_is_refused_and_left_alone(path: Path, other: dict[str, Any], why: str) -> None:
    with SavedOptimizer(optimizer(), path):
        pass
    before = path.read_bytes()
    with pytest.raises(ValueError, match=why):
        SavedOptimizer(EnsembleWeightOptimizer(**{"families": FAMILIES, "horizons": HORIZONS, **other}), path)
    assert path.read_bytes() == before


def test_an_arm_added_while_it_ran_is_read_back_by_an_optimizer_made_as_the_file_is(path: Path) -> None:
    with SavedOptimizer(optimizer(), path) as saved:
        saved.optimizer.bandit.add_arm("xgboost")
    with SavedOptimizer(EnsembleWeightOptimizer.from_dict(read_json(path)), path) as saved:
        saved.update("xgboost", None, 1.0)
    assert read_json(path)["arm_pulls"] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {**DOCUMENTED, "weights": [1, 1]},
        {**DOCUMENTED, "unheard_of": 1},
        {key: value for key, value in DOCUMENTED.items() if key != "arm_names"},
    ],
)
def test_json_that_is_no_state_is_refused_with_the_files_name_and_left_alone(
    path: Path, content: dict[str, Any]
) -> None:
    write_atomic_json(path, content)
    with pytest.raises(ValueError, match=r"bandit_state\.json"):
        SavedOptimizer(optimizer(), path)
    assert json.loads(path.read_text()) == content


def test_where_every_file_is_spoiled_nothing_is_begun_anew(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(ValueError, match="no good state"):
        SavedOptimizer(optimizer(), path)
    assert path.read_text() == "{"


def test_a_save_that_fails_says_so_and_the_update_stays_learned(path: Path) -> None:
    """The folder's place is taken by a file."""
    saved = SavedOptimizer(optimizer(), path, save_interval=1)
    path.parent.write_text("in the way")
    with pytest.raises(OSError, match="state"):
        saved.update("ridge", "1d", 1.0)
    assert saved.optimizer.total_steps == 1
    path.parent.unlink()
    saved.save()
    assert read_json(path)["total_steps"] == 1


def test_an_interval_below_1_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="save_interval"):
        SavedOptimizer(optimizer(), path, save_interval=0)
