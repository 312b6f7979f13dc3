"""What verify makes of commands and of settings that changed: right histories are right, one wrong thing is found."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from armstream.codec import decode
from armstream.events import BanditSnapshot, Command, CommandApplied, PositionPage, PositionSnapshot
from armstream.oracle.comparison import Difference
from armstream.stages.pipeline import Pipeline
from armstream.stages.state import TaskState
from tests.stages.events import START, close, fill
from tests.verify.desk import BANDITS, POSITIONS, Desk, latest, settings_of, topic_named


def command(action: Any, command_id: str, **fields: Any) -> Command:
    return Command(command_id, "book", action, START + 3, **fields)


def changed_desk(**learning: Any) -> Desk:
    """Audit: 1 a reward, 2 ADD_ARM, 3 and 4 rewards, 5 REMOVE_ARM, 6 a reward not applied, 7 PAUSE, 8 not applied,
    9 RESUME, 10 RESET, 11 a reward, 12 REMOVE_ARM refused."""
    desk = Desk(settings_of(online_learning=learning))
    desk.apply(fill("f1", "p1", propensity=0.4), close("c1", "p1"))
    desk.apply(command("ADD_ARM", "k1", arm="lstm", value=2.0, reason="new"))
    desk.apply(fill("f1", "p2", arm="lstm", propensity=0.3), close("c1", "p2"), fill("f1", "p3"), close("c1", "p3"))
    desk.apply(fill("f1", "p4", arm="mlp"))
    desk.apply(command("REMOVE_ARM", "k2", arm="mlp"), close("c1", "p4"))
    desk.apply(command("PAUSE", "k3"), fill("f1", "p5"), close("c1", "p5"), command("RESUME", "k4"))
    desk.apply(command("RESET", "k5"), command("RESET", "k5"))
    desk.apply(fill("f1", "p6", contributions={"lstm": 0.5, "boost": 0.5}), close("c1", "p6"))
    desk.apply(command("REMOVE_ARM", "k6", arm="mlp"))
    return desk


@pytest.mark.parametrize(
    "learning",
    [
        {},
        {"estimator": "importance", "gamma": 0.05, "eta_max": 0.07, "attribution": "simultaneous"},
        {"eta": 0.1, "eta_auto": False, "fixed_share": 0.001},
    ],
    ids=("implicit", "importance", "shared"),
)
def test_commands_between_rewards_are_derived_again(learning: dict[str, Any]) -> None:
    account = changed_desk(**learning).verify()
    assert account.not_checked == []
    counts = {name: account.counts[name] for name in ("commands", "rewards", "withheld", "duplicates", "not_placed")}
    assert counts == {"commands": 6, "rewards": 6, "withheld": 2, "duplicates": 1, "not_placed": 0}


def changed(at: int, **fields: Any) -> Callable[[Desk], None]:
    return lambda desk: desk.change(desk.names.rewards, at, **fields)


def lost(at: int) -> Callable[[Desk], None]:
    return lambda desk: desk.topics[desk.names.rewards].__delitem__(at)


def twice(desk: Desk) -> None:
    """As a second transaction would, under the next version."""
    desk.repeat(desk.names.rewards, 11)
    desk.change(desk.names.rewards, 12, version=13)


def state_of_the_new_arm(desk: Desk) -> None:
    """The arm came with another weight than it was given."""
    name = desk.names.commands
    desk.change(name, 0, value=2.0 + 1e-6)


WRONG: dict[str, tuple[Callable[[Desk], None], str]] = {
    "an outcome": (changed(1, outcome="REFUSED"), "outcome 'REFUSED'"),
    "another outcome": (changed(11, outcome="APPLIED"), "outcome 'APPLIED'"),
    "an action": (changed(6, action="RESUME"), "action 'RESUME'"),
    "a reason": (changed(1, detail="old"), "detail 'old'"),
    "a refusal without a reason": (changed(11, detail=""), "detail ''"),
    "a command's id": (changed(1, command_id="k9"), "command_id 'k9'"),
    "a lost outcome": (lost(11), "no such CommandApplied"),
    "a command twice": (twice, "what became of command 'k6'"),
    "a version": (changed(1, version=3), "version 3"),
    "the new arm's weight": (state_of_the_new_arm, "arm "),
    "a reward applied while paused": (changed(7, applied=True, counted=True, detail=""), "applied True"),
    "a reward of a removed arm": (changed(5, applied=True, counted=True, detail=""), "applied True"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_thing_that_is_wrong_with_a_command_is_found(name: str) -> None:
    corrupt, says = WRONG[name]
    desk = changed_desk()
    corrupt(desk)
    with pytest.raises(Difference) as difference:
        desk.verify()
    assert says in str(difference.value)


def test_a_command_without_any_record_of_what_became_of_it_is_found() -> None:
    desk = changed_desk()
    desk.next_offset[desk.names.commands] += 1
    desk.send(command("PAUSE", "k9"))
    desk.apply(fill("f1", "p9"))
    with pytest.raises(Difference):
        desk.verify()


def test_where_the_command_is_no_longer_kept_what_it_changed_is_not_known_and_said() -> None:
    desk = changed_desk()
    desk.delete_before(desk.names.commands, 8)
    account = desk.verify()
    assert any("no longer kept" in what for what in account.not_checked)
    assert account.counts["rewards"] == 6


def restarted_under(desk: Desk, **sections: Any) -> Desk:
    """The same topics, other settings, state restored from the snapshots."""
    other = Desk(settings_of(**sections), desk.reward_rules, desk.topics)
    state = TaskState(desk.reward_rules, other.settings.bandit_registry())
    for topic in (BANDITS, POSITIONS):
        for value in latest(desk.topics[topic]).values():
            snapshot = decode(value)
            if isinstance(snapshot, BanditSnapshot):
                state.restore_bandit(snapshot)
            elif isinstance(snapshot, PositionSnapshot):
                state.restore_position(snapshot)
            elif isinstance(snapshot, PositionPage):
                state.restore_page(snapshot)
    other.pipeline, other.next_offset, other.ends = Pipeline(state), desk.next_offset, desk.ends
    return other


def desk_that_was_reset() -> Desk:
    """Audit: 1 a reward, 2 the change of settings, 3 a reward under the new ones."""
    desk = Desk(settings_of(online_learning={"gamma": 0.2}))
    desk.apply(fill("f1", "p1", propensity=0.4), close("c1", "p1"))
    changed = {"online_learning": {"families": ["ridge", "new"]}, "bandits": {"on_settings_change": "reset"}}
    other = restarted_under(desk, **changed)
    other.apply(fill("f1", "p2", arm="new", propensity=0.4), close("c1", "p2"))
    return other


def test_a_change_of_settings_is_derived_again_on_both_sides_of_it() -> None:
    desk = desk_that_was_reset()
    applied = desk.event(desk.names.rewards, 1, CommandApplied)
    assert (applied.version, applied.action) == (2, "RESET")
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"], account.counts["settings_changes"]) == ([], 2, 1)


def test_what_was_learned_under_the_old_settings_is_checked_by_them() -> None:
    desk = desk_that_was_reset()
    detail = desk.event(desk.names.rewards, 1, CommandApplied).detail
    desk.change(desk.names.rewards, 1, detail=detail.replace('"gamma": 0.2', '"gamma": 0.21'))
    with pytest.raises(Difference, match=r"settings '.*0\.2.*follows .*0\.21"):
        desk.verify()


def test_a_kept_learner_is_checked_by_the_settings_it_was_made_under() -> None:
    desk = Desk(settings_of(online_learning={"gamma": 0.2}))
    desk.apply(fill("f1", "p1"), close("c1", "p1"))
    other = restarted_under(desk, online_learning={"gamma": 0.4}, bandits={"on_settings_change": "keep"})
    other.apply(fill("f1", "p2"), close("c1", "p2"))
    assert (other.verify().not_checked, other.verify().counts["weight_vectors"]) == ([], 2)


def desk_with_automatic_bound() -> Desk:
    """103 rewards: a hundred that the bound is found from, two that teach, SET_BOUND between them, and one more."""
    desk = Desk(settings_of(online_learning={"reward_bound_bps": "auto", "warm_start_steps": 0}))
    for number in range(103):
        if number == 101:
            desk.apply(command("SET_BOUND", "k1", value=30.0))
        price = 150.0 + (7 * number % 20 - 10) / 10
        desk.apply(fill("f", f"p{number}", propensity=0.4), close("c", f"p{number}", price=price))
    return desk


def test_an_automatic_bound_is_found_again() -> None:
    account = desk_with_automatic_bound().verify()
    assert account.not_checked == []
    assert (account.counts["rewards"], account.counts["withheld"], account.counts["commands"]) == (103, 100, 1)


@pytest.mark.parametrize(
    ("topic", "at", "fields", "says"),
    [
        ("rewards", 50, {"applied": True, "counted": True, "detail": ""}, "applied True"),
        ("weights", 100, {"reward_bound_bps": 65.0}, "reward_bound_bps 65.0"),
        ("weights", 50, {"phase": "LIVE", "blend_alpha": 0.3}, ""),
        ("bandit_snapshots", 100, {"warm_up_rewards_bps": ()}, "how many numbers in warm_up_rewards_bps 0"),
    ],
)
def test_one_thing_that_is_wrong_about_the_bound_is_found(
    topic: str, at: int, fields: dict[str, Any], says: str
) -> None:
    desk = desk_with_automatic_bound()
    desk.change(topic_named(desk, topic), at, **fields)
    if says:
        with pytest.raises(Difference) as difference:
            desk.verify()
        assert says in str(difference.value)
    else:
        assert "may have been others then" in desk.verify().not_checked[0]  # blend settings are not in the log


@pytest.mark.parametrize("rate", [{}, {"eta_auto": False, "eta": 0.1, "fixed_share": 0.01}])
def test_an_arm_that_joins_tsallis_before_anything_was_learned_is_derived_again(rate: dict[str, Any]) -> None:
    """Its loss is the difference of two numbers of size 2 sqrt(K) / eta, which leaves a rounding alone."""
    desk = Desk(settings_of(online_learning={"algorithm": "tsallis", "reward_bound_bps": "auto", **rate}))
    desk.apply(fill("f1", "p1", propensity=0.5), close("c1", "p1"), command("ADD_ARM", "k1", arm="new"))
    desk.apply(command("RESET", "k2"), command("ADD_ARM", "k3", arm="newer"))
    assert desk.verify().not_checked == []


@pytest.mark.parametrize(
    "learning",
    [
        {},
        {"estimator": "importance", "gamma": 0.05, "fixed_share": 0.01},
        {"algorithm": "tsallis"},
        {"algorithm": "exp4", "experts": {"bandit": "exp3ix", "uniform": "uniform"}},
    ],
)
def test_decisions_that_left_arms_out_are_derived_again(learning: dict[str, Any]) -> None:
    """In parts too, and from a vector before the arms changed."""
    desk = Desk(settings_of(online_learning=learning))
    advice = {"bandit": 0.6, "uniform": 0.5} if "experts" in learning else {}
    masked = {
        "propensity": 0.75,
        "probabilities": (0.75, 0.25, 0.0),
        "eta": 0.4,
        "weights_version": 1,
        "advice": advice,
    }
    desk.apply(fill("f1", "p1", order_quantity=150.0, **masked), close("c1", "p1", quantity=60.0))
    desk.apply(close("c2", "p1", quantity=40.0, price=149.0))
    desk.apply(fill("f1", "p2", **masked))
    desk.apply(command("REMOVE_ARM", "k1", arm="mlp"), command("ADD_ARM", "k2", arm="lstm"), close("c1", "p2"))
    desk.apply(fill("f1", "p3", **{**masked, "weights_version": 5}), close("c1", "p3", price=151.0))
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"]) == ([], 4)
    snapshot = desk.event(BANDITS, -2, BanditSnapshot)  # the task's own is the last
    assert [arm.added_version for arm in snapshot.arms] == [1, 1, 4]
    arms = (*snapshot.arms[:2], replace(snapshot.arms[2], added_version=3))
    desk.change(BANDITS, -2, arms=arms)
    with pytest.raises(Difference, match="added_version 3"):
        desk.verify()


def test_what_tsallis_learned_is_derived_again_and_a_wrong_loss_is_found() -> None:
    desk = Desk(settings_of(online_learning={"algorithm": "tsallis"}))
    whole = {"propensity": 0.5, "probabilities": (0.5, 0.25, 0.25), "eta": 0.4}
    desk.apply(fill("f1", "p1", **whole), close("c1", "p1"))
    desk.apply(fill("f1", "p2", propensity=0.4, order_quantity=150.0), close("c1", "p2", quantity=30.0))
    desk.apply(command("ADD_ARM", "k1", arm="lstm", value=0.5), close("c2", "p2", quantity=70.0))
    desk.apply(fill("f1", "p3", **{**whole, "probabilities": (0.5, 0.2, 0.2, 0.1)}), close("c1", "p3", price=149.0))
    desk.apply(fill("f1", "p4", contributions={"lstm": 0.5, "boost": 0.5}), close("c1", "p4"))
    desk.apply(command("REMOVE_ARM", "k2", arm="mlp"))
    account = desk.verify()
    assert (account.not_checked, account.counts["rewards"], account.counts["commands"]) == ([], 5, 2)
    snapshot = desk.event(BANDITS, 0, BanditSnapshot)
    other = replace(snapshot.arms[1], state=(snapshot.arms[1].state[0] + 1e-8,))  # not the drawn one: its b
    desk.change(BANDITS, 0, arms=(snapshot.arms[0], other, snapshot.arms[2]))
    with pytest.raises(Difference, match="arm 'mlp'"):
        desk.verify()
