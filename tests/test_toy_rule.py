"""A rule that lives in the tests alone goes all the way, from settings to the proof of what it published."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import armstream
from armstream.codec import decode
from armstream.events import BanditSnapshot, Command, Fill, WeightVector
from armstream.learning import Decision, Observed
from armstream.oracle.comparison import Difference
from armstream.rules import RULES, Entry
from armstream.settings import SettingsError, load
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import TaskState
from tests.learning.test_contract import Logged, Part, numbers
from tests.stages.events import ARMS, START, close, fill
from tests.toy_rule import Leader, LeaderBandit, LeaderFormula
from tests.verify.desk import BANDITS, Desk, latest, settings_of


@pytest.fixture(autouse=True)
def toy() -> Iterator[None]:
    RULES["leader"] = Entry(Leader(), LeaderFormula)
    yield
    del RULES["leader"]


def desk_of() -> Desk:
    return Desk(settings_of(online_learning={"algorithm": "leader", "gamma": 0.3}))


def draw(position_id: str, arm: str, propensity: float, **fields: Any) -> Fill:
    return fill("f1", position_id, arm=arm, propensity=propensity, price=100.0, **fields)


def vector(desk: Desk) -> WeightVector:
    found = decode(latest(desk.topics[desk.names.weights])[b"book"])
    assert isinstance(found, WeightVector)
    return found


def snapshot(desk: Desk) -> BanditSnapshot:
    found = decode(latest(desk.topics[BANDITS])[b"book"])
    assert isinstance(found, BanditSnapshot)
    return found


def test_its_estimates_vector_and_snapshot_are_those_of_its_two_sentences() -> None:
    """mlp: +50 bps of p = .25 is 200; boost: +30 bps of p = .5 is 60. All but gamma goes to mlp."""
    desk = desk_of()
    desk.apply(draw("p1", "mlp", 0.25), close("c1", "p1", price=100.5))
    desk.apply(draw("p2", "boost", 0.5), close("c1", "p2", price=100.3))
    published = vector(desk)
    assert (published.algorithm, published.estimator, published.version) == ("leader", "sums", 2)
    assert [arm.weight for arm in published.arms] == [0.0, 1.0, 0.0]
    assert [arm.probability for arm in published.arms] == pytest.approx([0.1, 0.8, 0.1])
    held = snapshot(desk)
    assert [arm.state[0] for arm in held.arms] == pytest.approx([0.0, 200.0, 60.0])
    assert [arm.state[1] for arm in held.arms] == [0.0, 1.0, 1.0]
    assert list(held.state) == pytest.approx([50.0])
    assert desk.verify().not_checked == []


def test_a_restart_goes_on_with_both_arrays_and_a_command_adds_an_arm_to_it() -> None:
    desk = desk_of()
    desk.apply(draw("p1", "mlp", 0.25), close("c1", "p1", price=100.5))
    state = TaskState(desk.reward_rules, desk.settings.bandit_registry())
    state.restore_bandit(snapshot(desk))
    desk.pipeline = Pipeline(state)
    desk.apply(Command("k1", "book", "ADD_ARM", START, arm="lstm"))
    for number in range(2, 5):
        desk.apply(draw(f"p{number}", "lstm", 0.1), close("c1", f"p{number}", price=100.1))
    assert [arm.weight for arm in vector(desk).arms] == [0.0, 0.0, 0.0, 1.0]  # 3 * 100 are more than 200
    held = snapshot(desk)
    assert list(held.arms[3].state) == pytest.approx([300.0, 3.0])
    assert [held.arms[3].added_version, *held.state] == pytest.approx([2, 50.0])
    desk.apply(Command("k2", "book", "REMOVE_ARM", START, arm="mlp"))
    assert [arm.name for arm in vector(desk).arms] == ["ridge", "boost", "lstm"]
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"], account.counts["commands"]) == ([], 4, 2)


def test_what_it_refuses_is_a_dead_letter_and_verified_as_one() -> None:
    desk = desk_of()
    desk.apply(fill("f1", "p1", arm="mlp"), fill("f1", "p2", contributions={"mlp": 1.0}))
    letters = [decode(source.value) for source in desk.topics[desk.names.dead_letters]]
    assert [letter.error for letter in letters] == [  # type: ignore[union-attr]  # dead letters are all there is
        "the leader needs the propensity of a draw",
        "the leader learns from drawn arms alone",
    ]
    assert desk.verify().counts["dead_letters"] == 2


@pytest.mark.parametrize("by", [1 + 1e-9, 0.0])
def test_verify_finds_a_wrong_number_of_either_array(by: float) -> None:
    def state_off(held: BanditSnapshot) -> dict[str, Any]:
        return {"state": (held.state[0] * by,)}

    def arm_off(held: BanditSnapshot) -> dict[str, Any]:
        ridge, mlp, boost = held.arms
        wrong = type(mlp)(mlp.name, (mlp.state[0] * by, 1.0), mlp.pulls, mlp.cumulative_reward_bps, mlp.added_version)
        return {"arms": (ridge, wrong, boost)}

    for corrupt in (state_off, arm_off):
        desk = desk_of()
        desk.apply(draw("p1", "mlp", 0.25), close("c1", "p1", price=100.5))
        desk.change(BANDITS, 0, **corrupt(snapshot(desk)))
        with pytest.raises(Difference, match="state"):
            desk.verify()


def test_verify_finds_a_fault_of_the_rule_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shadow has the same fault; the oracle does not."""

    def forgetful(self: LeaderBandit, *arguments: Any) -> Any:
        update = learn(self, *arguments)
        self._sums[0] += 1e-3
        return update

    learn = LeaderBandit.learn
    monkeypatch.setattr(LeaderBandit, "learn", forgetful)
    desk = desk_of()
    desk.apply(draw("p1", "mlp", 0.25), close("c1", "p1", price=100.5))
    with pytest.raises(Difference, match="arm 'ridge'"):
        desk.verify()


def test_it_takes_its_own_settings_and_refuses_those_of_others(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("online_learning: {algorithm: leader, gamma: 0.2}")
    assert load(file, {}).online_learning.gamma == 0.2
    file.write_text("online_learning: {algorithm: leader, estimator: importance}")
    with pytest.raises(SettingsError, match="estimator: is not for leader, but for exp3ix, exp4"):
        load(file, {})


def test_it_learns_from_all_arms_that_a_draw_revealed_and_takes_a_part_back() -> None:
    """Seen with .5 and .25: +10 bps are 20, -4 bps are -16."""
    learner, part = LeaderBandit(ARMS, 0.1), Part(10.0, 1.0)
    before = numbers(learner)
    decision = Decision(0, Logged("ridge", 0.5), is_whole=False, asleep=())
    learner.learn(decision, part, True, [Observed(0, 10.0, 0.5), Observed(2, -4.0, 0.25)])
    assert [state[0] for state in learner.learned().arm_states] == [20.0, 0.0, -16.0]
    alone = LeaderBandit(ARMS, 0.1)
    update = alone.learn(decision, part, True)
    alone.take_back(decision, part, True, update)
    alone.take_back_decision(decision, update)
    assert [state[0] for state in alone.learned().arm_states] == [0.0, 0.0, 0.0]
    assert numbers(alone)[-1] == before[-1]


def test_no_file_of_the_package_knows_it() -> None:
    for path in Path(armstream.__file__).parent.rglob("*.py"):
        assert not re.search(r"""["']leader["']|LeaderBandit|toy""", path.read_text(encoding="utf-8")), path
