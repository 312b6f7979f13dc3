"""Records folded into histories: sums by hand, nothing twice, nothing without a limit."""

import pytest
from msgspec.structs import replace

from armstream.events import Action, BanditSnapshot, Command, Header, TaskSettings, TaskSnapshot
from armstream.stages.facts import DAY_MICROS, HOUR_MICROS, SETTINGS_CHANGE
from armstream.watch import history as kept
from armstream.watch.earned import BaseWeights
from armstream.watch.history import BanditHistory, History, Limits
from armstream.watch.views import bandit_of, mark_text, row_of
from tests.watch.records import NOON, SECOND, letter, obeyed, reward, vector


def history_of(**limits: int) -> History:
    return History(Limits(**limits), BaseWeights({}, {}))


@pytest.fixture
def history() -> History:
    return history_of()


def book(history: History) -> BanditHistory:
    return history.bandits["book"]


def snapshot_of(version: int, *, paused: bool) -> BanditSnapshot:
    return BanditSnapshot("book", version, 0, (), "exp3ix", "implicit", "{}", paused=paused)


def test_a_version_that_is_not_above_the_last_one_changes_nothing(history: History) -> None:
    history.take_vector(0, vector(version=3, weights=(0.7, 0.3)), NOON)
    history.take_audit(0, reward(version=3, reward_bps=5.0), NOON)
    history.changed.clear()
    for version in (2, 3):
        history.take_vector(0, vector(version=version), NOON + 1)
        history.take_audit(0, reward(version=version, reward_bps=100.0), NOON + 1)
    assert history.changed == set()
    assert book(history).ever.sum_bps == 5.0
    assert row_of(book(history), NOON, None, with_spark=False).weights == [0.7, 0.3]


def test_sums_are_by_weight_and_withheld_rewards_were_earned_too(history: History) -> None:
    """Two halves of one decision at +10 and +30, and a withheld one at -8: 5 + 15 - 8 over two decisions."""
    history.take_vector(0, vector(), NOON)
    history.take_audit(0, reward(version=1, reward_bps=10.0, weight=0.5), NOON)
    history.take_audit(0, reward(version=2, reward_bps=30.0, weight=0.5), NOON)
    history.take_audit(0, reward(version=3, reward_bps=-8.0, applied=False, detail="paused"), NOON)
    row = row_of(book(history), NOON, 500, with_spark=False)
    assert (row.ever.sum_bps, row.ever.count, row.ever.mean_bps) == (12.0, 2, 6.0)
    assert row.last_change is not None
    assert row.last_change.text == "ridge lost 8.0 bps, withheld: paused"
    assert (row.closes.learned, row.closes.withheld) == (2, {"paused": 1})
    assert row.warm_start_steps == 500


def test_the_day_is_the_last_24_hours_to_half_an_hour(history: History) -> None:
    for hours, version in ((0, 1), (1, 2), (23, 3)):
        history.take_audit(0, reward(version=version, reward_bps=2.0**version), NOON + hours * HOUR_MICROS)
    assert book(history).day(NOON + 23 * HOUR_MICROS).sum_bps == 2 + 4 + 8
    assert book(history).day(NOON + DAY_MICROS + HOUR_MICROS // 2).sum_bps == 4 + 8
    assert book(history).day(NOON + 3 * DAY_MICROS).weight == 0
    assert book(history).ever.sum_bps == 14


def test_what_a_reward_did_is_the_step_from_the_vector_before_it_to_the_first_that_holds_it(history: History) -> None:
    """Versions 2 and 3 were published with one vector; those before the first vector are not known."""
    for version, weights in ((1, (0.5, 0.5)), (3, (0.6, 0.4))):
        history.take_vector(0, vector(version=version, weights=weights), NOON)
    for version in (1, 2, 3):
        history.take_audit(0, reward(version=version), NOON)
    view = bandit_of(history, book(history), NOON, None)
    moved = {one.version: [(arm.name, arm.before, arm.after) for arm in one.moved] for one in view.rewards}
    assert moved[2] == moved[3] == [("ridge", 0.5, 0.6), ("lstm", 0.5, 0.4)]
    assert moved[1] == []
    assert [one.version for one in view.rewards] == [3, 2, 1], "newest first"


def test_the_last_change_says_which_weight_moved_and_what_was_earned_and_clipped(history: History) -> None:
    """Of two closes in one commit the last one is told, -350.8 of which the bound leaves 100; lstm gains .0146."""
    for version, weights in ((1, (0.7186, 0.2814)), (3, (0.704, 0.296))):
        history.take_vector(0, vector(version=version, weights=weights), NOON)
    for version, bps in ((1, 5.0), (2, 1.0), (3, -1350.84)):
        history.take_audit(0, reward(version=version, reward_bps=bps), NOON)
    change = row_of(book(history), NOON, None, with_spark=False).last_change
    assert change is not None
    moved = "ridge 72 \N{RIGHTWARDS ARROW} 70 % after ridge lost 1,350.8 bps, clipped to 100, and 1 other close"
    assert change.text == moved


def test_the_series_end_with_what_the_row_says_also_for_rewards_of_one_moment(history: History) -> None:
    history.take_vector(0, vector(), NOON)
    for version, bps in ((1, 10.0), (2, -3.0), (3, 4.5)):
        history.take_audit(0, reward(version=version, reward_bps=bps), NOON + (version // 3) * SECOND // 2)
        view = bandit_of(history, book(history), NOON, None)
        assert view.reward.cumulative_bps[-1] == view.row.ever.sum_bps
    assert view.reward.ts == [NOON, NOON + SECOND // 2]


def test_reasons_of_withheld_closes_are_told_without_their_numbers_and_few_of_them(history: History) -> None:
    details = ["costs of 3 are above", "costs of 7 are above", "the reward bound is not found yet"]
    for version, detail in enumerate([*details, *map(str, range(20))], 1):
        history.take_audit(0, reward(version=version, applied=False, detail=detail), NOON)
    withheld = row_of(book(history), NOON, None, with_spark=False).closes.withheld
    assert (withheld["costs above the notional"], withheld["warming up"]) == (2, 1)
    assert (len(withheld), sum(withheld.values())) == (kept.REASONS_KEPT + 1, 23)


def test_an_arm_that_is_added_has_no_weight_before_and_one_that_was_removed_none_now(history: History) -> None:
    history.take_vector(0, vector(version=1, arms=("ridge", "old")), NOON)
    history.take_vector(0, vector(version=2, arms=("ridge", "new"), weights=(0.9, 0.1)), NOON + 5 * SECOND)
    view = bandit_of(history, book(history), NOON, None)
    assert view.weights.arms == ["ridge", "old", "new"]
    assert view.weights.series == [[0.5, 0.9], [0.5, None], [None, 0.1]]
    assert view.weights.version == [1, 2]
    assert view.row.arms == ("ridge", "new")


def test_the_newest_vector_ends_the_weights_also_where_no_row_was_due(history: History) -> None:
    history.take_vector(0, vector(version=1), NOON)
    history.take_vector(0, vector(version=2, weights=(1.0, 0.0)), NOON + 1)
    assert bandit_of(history, book(history), NOON, None).weights.series == [[0.5, 1.0], [0.5, 0.0]]
    assert len(book(history).weights) == 1, "and it is not kept twice"


def test_effective_models_are_one_over_the_sum_of_squares(history: History) -> None:
    history.take_vector(0, vector(weights=(0.8, 0.2)), NOON)
    assert row_of(book(history), NOON, None, with_spark=False).effective_models == round(1 / 0.68, 3)


def test_the_clipped_share_is_that_of_the_bound_in_force_and_begins_anew_with_another(history: History) -> None:
    history.take_vector(0, vector(bound_bps=20.0), NOON)
    for version, bps in enumerate((10.0, 20.0, -21.0, 30.0), 1):
        history.take_audit(0, reward(version=version, reward_bps=bps), NOON)
    assert book(history).clipped_share == 2 / 4
    history.take_audit(0, obeyed("SET_BOUND", 5), NOON)
    assert book(history).clipped_share is None
    history.take_vector(0, vector(version=6, bound_bps=40.0), NOON)
    history.take_audit(0, reward(version=7, reward_bps=30.0), NOON)
    assert book(history).clipped_share == 0


def test_nothing_is_clipped_under_importance_weighting_nor_before_a_bound_is_found(history: History) -> None:
    history.take_vector(0, vector("plain", estimator="importance", bound_bps=1.0), NOON)
    history.take_vector(0, vector("warming", bound_bps=0.0), NOON)
    for name in ("plain", "warming"):
        history.take_audit(0, reward(name, reward_bps=50.0), NOON)
        assert history.bandits[name].clipped_share is None


def test_the_clipped_share_is_of_the_last_500(history: History) -> None:
    history.take_vector(0, vector(bound_bps=20.0), NOON)
    for version in range(1, 701):
        history.take_audit(0, reward(version=version, reward_bps=30.0 if version <= 300 else 10.0), NOON)
    assert book(history).clipped_share == 100 / 500


def test_a_gap_in_the_audit_log_is_a_mark_that_names_the_versions(history: History) -> None:
    for version in (4, 5, 9):
        history.take_audit(0, reward(version=version), NOON)
    (mark,) = book(history).marks
    assert (mark.kind, mark.text) == ("gap", "versions 6 to 8 are not in the audit log any more")


def test_a_command_is_a_mark_with_its_arm_once_both_topics_have_told_of_it(history: History) -> None:
    history.take_audit(0, obeyed("ADD_ARM", 1, detail="a new model"), NOON)
    (mark,) = book(history).marks
    assert mark_text(history, mark) == "ADD_ARM APPLIED: a new model"
    history.take_command(Command("cli-1", "book", "ADD_ARM", NOON, arm="lstm", value=0.5))
    assert mark_text(history, mark) == "ADD_ARM lstm 0.5 APPLIED: a new model"


def test_a_mark_names_what_the_action_is_about_and_nothing_that_the_command_says_beside_it(history: History) -> None:
    actions: tuple[Action, ...] = ("REMOVE_EXPERT", "PAUSE")
    for version, action in enumerate(actions, 1):
        history.take_audit(0, obeyed(action, version, command_id=action), NOON)
        history.take_command(Command(action, "book", action, NOON, arm="lstm", value=0.5, expert="regime"))
    texts = [mark_text(history, mark) for mark in book(history).marks]
    assert texts == ["REMOVE_EXPERT regime APPLIED", "PAUSE APPLIED"]


def test_a_bandit_is_paused_by_the_newest_that_says_so_a_command_or_a_snapshot(history: History) -> None:
    history.take_bandit_snapshot(0, snapshot_of(5, paused=True), NOON)
    assert book(history).paused
    history.take_audit(0, obeyed("RESUME", 6), NOON)
    history.take_bandit_snapshot(0, snapshot_of(5, paused=True), NOON)
    assert not book(history).paused
    history.take_audit(0, replace(obeyed("PAUSE", 7), outcome="REFUSED"), NOON)
    assert not book(history).paused


def test_other_settings_of_a_task_mark_its_bandits_alone_and_say_what_differs(history: History) -> None:
    history.take_vector(0, vector("here"), NOON)
    history.take_vector(1, vector("there"), NOON)
    history.take_settings(TaskSettings(0, '{"max_events": 1, "same": 2}', {}), NOON)
    history.take_settings(TaskSettings(0, '{"max_events": 5, "same": 2}', {}), NOON)
    (mark,) = history.bandits["here"].marks
    assert (mark.kind, mark.text) == ("settings", "windows and limits: max_events 1 to 5")
    assert not history.bandits["there"].marks


def test_a_reset_by_other_learning_settings_says_which(history: History) -> None:
    detail = '{"settings_before": {"gamma": 0.0, "eta": 1}, "settings": {"gamma": 0.1, "eta": 1}}'
    history.take_audit(0, obeyed("RESET", 1, command_id=SETTINGS_CHANGE, detail=detail), NOON)
    (mark,) = book(history).marks
    assert (mark.kind, mark.text) == ("settings", "begun anew under other settings: gamma 0.0 to 0.1")


def test_a_tombstone_ends_a_bandit(history: History) -> None:
    history.take_vector(0, vector(), NOON)
    history.forget_bandit("book")
    assert (history.bandits, history.gone, history.changed) == ({}, {"book"}, set())


def test_dead_letters_count_by_utc_day_and_by_the_last_quarter_of_an_hour(history: History) -> None:
    midnight = NOON + DAY_MICROS // 2
    history.take_letter(0, 0, letter("LATE"), midnight - 1)
    for offset, error_class in enumerate(("DECODE", "LATE", "LATE"), 1):
        history.take_letter(0, offset, letter(error_class), midnight)
    assert history.letters_of_day(midnight) == {"DECODE": 1, "LATE": 2}
    assert history.letters_of_day(midnight - 1) == {"LATE": 1}
    assert history.letters_lately(midnight) == {"DECODE": 1, "LATE": 3}
    assert history.letters_lately(midnight + HOUR_MICROS) == {}


def test_a_large_dead_letter_is_kept_in_part_and_one_of_usual_size_whole(history: History) -> None:
    usual = letter(value=b"x" * 1_000)
    headers = tuple(Header(str(number), b"h" * 5_000) for number in range(100))
    large = replace(usual, source=replace(usual.source, value=b"x" * 1_000_000, headers=headers))
    for offset, one in enumerate((usual, large)):
        history.take_letter(0, offset, one, NOON)
    first, second = (one.letter for one in history.dead_letters)
    assert first == usual
    assert second.source.value == b"x" * kept.LETTER_BYTES_KEPT
    assert sum(len(one.value or b"") for one in second.source.headers) <= kept.HEADERS_KEPT * kept.MOST_ID_CHARACTERS


def test_a_task_says_which_program_wrote_it_last(history: History) -> None:
    history.take_task_snapshot(TaskSnapshot(2, {"trades": 5}, "{}"), "0.2.0", NOON)
    task = history.tasks[2]
    assert (task.version, task.snapshot_ts, task.settings) == ("0.2.0", NOON, "{}")


def test_no_memory_is_without_a_limit() -> None:
    history = history_of(bandits=3, points=20, dead_letters=5)
    for number in range(10):
        history.take_vector(0, vector(f"book-{number}"), NOON)
    for version in range(2, 3_000):
        ts = NOON + version * 60 * SECOND
        history.take_vector(0, vector("book-0", version), ts)
        history.take_audit(0, reward("book-0", 2 * version, arm="ridge" if version % 2 else "lstm"), ts)
        history.take_letter(0, version, letter(), ts)
        history.take_command(Command(f"c-{version}", "book-0", "PAUSE", NOON))
    bandit = history.bandits["book-0"]
    assert len(history.bandits) == 3
    assert len(history.not_kept) == 3
    assert len(history.dead_letters) == 5
    assert len(history.commands) == kept.COMMANDS_KEPT
    assert max(len(bandit.weights), len(bandit.rewards)) <= 20
    assert len(bandit.spark) <= kept.SPARK_POINTS
    assert (len(bandit.last_rewards), len(bandit.vectors)) == (kept.REWARDS_KEPT, kept.VECTORS_KEPT)
    assert len(bandit.marks) == kept.MARKS_KEPT
    assert len(history._letters_by_minute) <= kept.DEAD_LETTER_MINUTES_KEPT + 1
    assert len(history._clipped_by_minute) <= 60 * kept.CLIPPED_HOURS_KEPT


def test_topics_may_come_in_any_order_to_each_other() -> None:
    """What is shown at the end is the same, but for marks' order: the vectors first, or the rewards first."""
    vectors = [vector(version=version, weights=(version / 10, 1 - version / 10)) for version in range(1, 9)]
    rewards = [reward(version=version, reward_bps=3.0 * version) for version in range(1, 9)]
    views = []
    for first in (True, False):
        history = history_of()
        for is_vectors in (first, not first):
            for at in range(8):
                ts = NOON + at * SECOND
                if is_vectors:
                    history.take_vector(0, vectors[at], ts)
                else:
                    history.take_audit(0, rewards[at], ts)
        view = bandit_of(history, book(history), NOON, None)
        views.append((view.row.weights, view.row.ever, view.weights, view.rewards, view.reward.cumulative_bps))
    assert views[0] == views[1]
