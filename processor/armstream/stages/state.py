"""One task's state: its bandits and positions, with what a batch changed kept apart until the commit.

Law: committed state is never changed by a batch. Reads look through the overlay, writes go to it, `commit` merges it
and `rollback` drops it. A position is an immutable PositionSnapshot; a book is copied when a batch first touches it,
its learner when a batch first teaches it.
"""

from collections.abc import Mapping
from heapq import heappush

from armstream.events import ArmState, BanditSnapshot, DecisionSnapshot, ExpertState, PositionSnapshot
from armstream.keys import position_key
from armstream.learning import AdvisedBandit, ExpertLearned, RewardBound
from armstream.stages.rules import BanditRules, Learner, LearningRules, RewardRules

NEVER = -(2**63)  # a watermark before its first event: nothing is behind it

WARMING_UP = "the reward bound is not found yet"  # so this reward goes into finding it, and into nothing else

MIN_LOGGED_PROPENSITY = 1e-80  # below it a sum of losses may leave what a Tsallis learner holds

_UNCHANGED = object()


class SettingsMismatch(ValueError):
    """A bandit's snapshot was learned under other settings; the text names the bandit and what differs."""


def _withheld(book: "Book", decision: DecisionSnapshot) -> str:
    """Why the rule cannot learn from this decision, or not yet; "" where it can."""
    assert book.rules is not None  # the learner was made by them
    assert book.learner is not None
    algorithm, propensity = book.rules.algorithm, decision.propensity
    if algorithm == "exp4" and decision.arm is None:  # it may have been accepted while another rule learned
        return "no arm was drawn"
    is_guessed = propensity is None or propensity < MIN_LOGGED_PROPENSITY
    if algorithm != "exp3ix" and decision.arm is not None and is_guessed:
        return "no propensity was logged with the draw"
    return WARMING_UP if book.learner.is_warming else ""


class Book:
    """One bandit: its rules and learner (None until a valid fill), its watermarks (UTC micros), its audit counter.

    `arm_index` is that of the learner's arms, `settings` are the rules as a snapshot holds them. `may_withhold`: its
    rule does not learn from every decision, or not from the first. A decision that was made from a vector before
    `choices_version` may know other arms and experts than there are; it knew the arms whose `added_versions` are not
    above it.

    `floor` is the smaller watermark, what forgetting is measured from: NEVER while either is.
    `checks` and `waiting` are heaps of hints for expiry: (when to look, position_id) and (ts_event, event_id,
    position_id) of closes. A hint may be stale, and is compared with state before it is believed; so copies of a
    book share the two.
    """

    __slots__ = (
        "added_versions",
        "arm_index",
        "bandit_id",
        "cause_event_id",
        "checks",
        "choices_version",
        "close_watermark",
        "command_ids",
        "fill_watermark",
        "floor",
        "learner",
        "may_withhold",
        "owns_learner",
        "paused",
        "rules",
        "settings",
        "ts_event",
        "version",
        "waiting",
    )

    def __init__(self, bandit_id: str) -> None:
        self.bandit_id = bandit_id
        self.rules: LearningRules | None = None
        self.settings = ""
        self.arm_index: Mapping[str, int] = {}
        self.added_versions: Mapping[str, int] = {}
        self.may_withhold = False
        self.learner: Learner | None = None
        self.owns_learner = False
        self.choices_version = 1
        self.version = 0
        self.fill_watermark = NEVER
        self.close_watermark = NEVER
        self.floor = NEVER
        self.paused = False
        self.command_ids: tuple[str, ...] = ()
        self.cause_event_id = ""
        self.ts_event = 0
        self.checks: list[tuple[int, str]] = []
        self.waiting: list[tuple[int, str, str]] = []

    def copy(self) -> "Book":
        twin = object.__new__(Book)
        twin.bandit_id = self.bandit_id
        twin.rules = self.rules
        twin.settings = self.settings
        twin.arm_index = self.arm_index
        twin.added_versions = self.added_versions
        twin.may_withhold = self.may_withhold
        twin.learner = self.learner
        twin.owns_learner = False
        twin.choices_version = self.choices_version
        twin.version = self.version
        twin.fill_watermark = self.fill_watermark
        twin.close_watermark = self.close_watermark
        twin.floor = self.floor
        twin.paused = self.paused
        twin.command_ids = self.command_ids
        twin.cause_event_id = self.cause_event_id
        twin.ts_event = self.ts_event
        twin.checks = self.checks
        twin.waiting = self.waiting
        return twin


class TaskState:
    """All bandits and positions of one task. Counts are kept as it goes and cost nothing to read.

    `to_begin_anew` are bandits whose restored learner fits the settings no more, and what the settings were: the next
    batch begins with their reset.
    """

    def __init__(self, reward_rules: RewardRules, bandit_rules: BanditRules) -> None:
        self.reward_rules = reward_rules
        self.bandit_rules = bandit_rules
        self.bandit_count = 0
        self.position_count = 0
        self.open_position_count = 0
        self.waiting_close_count = 0
        self.to_begin_anew: dict[str, str] = {}
        self._books: dict[str, Book] = {}
        self._positions: dict[str, PositionSnapshot] = {}
        self._touched: dict[str, Book] = {}
        self._versions: dict[str, int] = {}
        self._changed: dict[str, PositionSnapshot | None] = {}
        self._taken_checks: list[tuple[list[tuple[int, str]], tuple[int, str]]] = []
        self._taken_waiting: list[tuple[list[tuple[int, str, str]], tuple[int, str, str]]] = []
        self._counts_before = (0, 0, 0, 0)

    # Reading, through the overlay.

    def look_up(self, bandit_id: str, position_id: str) -> tuple[str, Book | None, PositionSnapshot | None]:
        """The position's key, its book (to look at, not to change: it may be the committed one) and the position."""
        key = bandit_id + "\0" + position_id
        position = self._changed.get(key, _UNCHANGED)
        if position is _UNCHANGED:
            position = self._positions.get(key)
        return key, self._touched.get(bandit_id) or self._books.get(bandit_id), position  # type: ignore[return-value]  # the sentinel is gone

    def book(self, bandit_id: str) -> Book | None:
        """To look at, not to change: it may be the committed one."""
        return self._touched.get(bandit_id) or self._books.get(bandit_id)

    def position(self, key: str) -> PositionSnapshot | None:
        return self._changed[key] if key in self._changed else self._positions.get(key)

    def halted(self, book: Book, decision: DecisionSnapshot) -> str:
        """Why this bandit takes no rewards of this decision now; "" where it does."""
        if not self.bandit_rules.template.enabled:
            return "learning is disabled"
        if book.paused:
            return "the bandit is paused"
        arm, arms = decision.arm, book.arm_index
        if arm is not None:
            if arm not in arms:
                return f"arm {arm!r} was removed"
        else:
            for name, share in decision.contributions.items():
                if share and name not in arms:
                    return f"arm {name!r} was removed"
        return _withheld(book, decision) if book.may_withhold else ""

    # Writing, to the overlay.

    def touch(self, bandit_id: str) -> Book:
        """The batch's own copy of a book, which may be changed; made where there is none."""
        book = self._touched.get(bandit_id)
        if book is not None:
            return book
        committed = self._books.get(bandit_id)
        if committed is None:
            book = Book(bandit_id)
            self.bandit_count += 1
        else:
            book = committed.copy()
        self._touched[bandit_id] = book
        self._versions[bandit_id] = book.version
        return book

    def create_learner(self, book: Book, rules: LearningRules) -> None:
        """A learner that has seen nothing, in the place of one that there may be: all of its arms are new."""
        book.rules, book.settings = rules, rules.determining_json()
        book.may_withhold = rules.algorithm != "exp3ix" or rules.reward_bound_bps == "auto"
        book.learner = rules.new_learner()
        book.owns_learner = True
        book.added_versions = {}
        self.note_choices(book)

    def note_choices(self, book: Book) -> None:
        """The learner's arms or experts have changed, as the next audit record says."""
        assert book.learner is not None  # it was just changed
        book.choices_version = book.version + 1
        names = book.learner.arm_names
        book.arm_index = {name: index for index, name in enumerate(names)}
        book.added_versions = {name: book.added_versions.get(name, book.choices_version) for name in names}

    def own_learner(self, book: Book) -> Learner:
        """The touched book's learner, no longer shared with the committed one."""
        learner = book.learner
        assert learner is not None  # nothing is learned before a valid fill
        if not book.owns_learner:
            learner = book.learner = learner.copy()
            book.owns_learner = True
        return learner

    def put(self, key: str, before: PositionSnapshot | None, after: PositionSnapshot) -> None:
        """`before` is what `position(key)` gave."""
        self._changed[key] = after
        if before is None:
            self.position_count += 1
            self.open_position_count += bool(after.fills)
            self.waiting_close_count += len(after.closes)
        else:
            self.open_position_count += bool(after.fills) - bool(before.fills)
            if after.closes or before.closes:
                self.waiting_close_count += len(after.closes) - len(before.closes)

    def forget(self, key: str, before: PositionSnapshot) -> None:
        self._changed[key] = None
        self.position_count -= 1
        self.open_position_count -= bool(before.fills)
        self.waiting_close_count -= len(before.closes)

    def took_check(self, heap: list[tuple[int, str]], hint: tuple[int, str]) -> None:
        """A hint was popped: rollback puts it back."""
        self._taken_checks.append((heap, hint))

    def took_waiting(self, heap: list[tuple[int, str, str]], hint: tuple[int, str, str]) -> None:
        self._taken_waiting.append((heap, hint))

    # A batch's beginning, its results and its two ends.

    def begin(self) -> None:
        self._counts_before = (
            self.bandit_count,
            self.position_count,
            self.open_position_count,
            self.waiting_close_count,
        )

    def touched_books(self) -> list[tuple[Book, bool]]:
        """Each book the batch touched and whether its version advanced, in order of first touch."""
        versions = self._versions
        return [(book, book.version != versions[bandit_id]) for bandit_id, book in self._touched.items()]

    def changed_positions(self) -> tuple[list[PositionSnapshot], list[str]]:
        """Positions to write and keys to forget. What came and went within the batch was never written: neither."""
        changed = [position for position in self._changed.values() if position is not None]
        committed = self._positions
        forgotten = [key for key, position in self._changed.items() if position is None and key in committed]
        return changed, forgotten

    def commit(self) -> None:
        positions = self._positions
        for key, position in self._changed.items():
            if position is not None:
                positions[key] = position
            else:
                positions.pop(key, None)
        self._books.update(self._touched)
        self.to_begin_anew = {name: was for name, was in self.to_begin_anew.items() if name not in self._touched}
        self._drop_overlay()

    def rollback(self) -> None:
        """State is as it was at `begin`."""
        for checks, check in self._taken_checks:
            heappush(checks, check)
        for waiting, close in self._taken_waiting:
            heappush(waiting, close)
        self.bandit_count, self.position_count, self.open_position_count, self.waiting_close_count = self._counts_before
        self._drop_overlay()

    def _drop_overlay(self) -> None:
        self._touched = {}
        self._versions = {}
        self._changed = {}
        self._taken_checks = []
        self._taken_waiting = []

    # Snapshots.

    def bandit_snapshot(self, book: Book) -> BanditSnapshot:
        learner, rules = book.learner, book.rules
        arms: tuple[ArmState, ...] = ()
        algorithm = estimator = ""
        total_steps = 0
        reward_bound_bps = None
        experts: tuple[ExpertState, ...] = ()
        if isinstance(learner, AdvisedBandit):
            experts = tuple(ExpertState(each.name, each.state, each.learned) for each in learner.learned())
        if learner is not None and rules is not None:
            algorithm, estimator = rules.algorithm, rules.published_estimator
            total_steps, reward_bound_bps = learner.total_steps, learner.reward_bound_bps
            counts = learner.arm_pulls, learner.cumulative_rewards
            arms = tuple(map(ArmState, book.arm_index, learner.state, *counts, book.added_versions.values()))
        return BanditSnapshot(
            book.bandit_id,
            book.version,
            total_steps,
            arms,
            algorithm,
            estimator,
            book.settings,
            None if book.fill_watermark == NEVER else book.fill_watermark,
            None if book.close_watermark == NEVER else book.close_watermark,
            book.paused,
            book.cause_event_id,
            book.ts_event,
            book.command_ids,
            experts,
            book.choices_version,
            reward_bound_bps,
            () if learner is None else learner.reward_bound.rewards_bps,
        )

    def restore_bandit(self, snapshot: BanditSnapshot) -> None:
        """Raises SettingsMismatch where what was learned does not fit the settings, and these say so.

        Positions may come before it.
        """
        book = self._restored_book(snapshot.bandit_id)
        if snapshot.arms:
            self._restore_learner(book, snapshot)
        book.version = snapshot.version
        book.fill_watermark = NEVER if snapshot.fill_watermark is None else snapshot.fill_watermark
        book.close_watermark = NEVER if snapshot.close_watermark is None else snapshot.close_watermark
        book.floor = min(book.fill_watermark, book.close_watermark)
        book.paused = snapshot.paused
        book.choices_version = snapshot.choices_version
        book.command_ids = snapshot.command_ids
        book.cause_event_id = snapshot.cause_event_id
        book.ts_event = snapshot.ts_event

    def _restore_learner(self, book: Book, snapshot: BanditSnapshot) -> None:
        """The learner goes on under the rules that it was made under; where others hold now, see on_settings_change."""
        policy = self.bandit_rules.on_settings_change
        now = self.bandit_rules.of(book.bandit_id)
        if now is None and policy != "keep":
            raise SettingsMismatch(
                f"bandit {book.bandit_id!r} is registered no more; to go on with it: bandits.on_settings_change: keep"
            )
        rules = (now or self.bandit_rules.template).learned_under(snapshot.settings)
        if now is not None and now != rules:
            if policy == "refuse":
                raise SettingsMismatch(
                    f"bandit {book.bandit_id!r} was learned under other settings: {now.difference(snapshot.settings)}; "
                    "set them back, or say what becomes of it: bandits.on_settings_change: keep or reset"
                )
            if policy == "reset":
                self.to_begin_anew[book.bandit_id] = snapshot.settings
        self.create_learner(book, rules)
        assert book.learner is not None  # it was just made
        _restore(book.learner, snapshot)
        book.added_versions = {arm.name: arm.added_version for arm in snapshot.arms}
        self.note_choices(book)

    def restore_position(self, position: PositionSnapshot) -> None:
        """Each position once."""
        book = self._restored_book(position.bandit_id)
        self._positions[position_key(position.bandit_id, position.position_id)] = position
        self.position_count += 1
        self.open_position_count += bool(position.fills)
        self.waiting_close_count += len(position.closes)
        heappush(book.checks, (position.ts_last + self.reward_rules.dedupe_window_micros, position.position_id))
        for close in position.closes:
            heappush(book.waiting, (close.ts_event, close.event_id, position.position_id))

    def _restored_book(self, bandit_id: str) -> Book:
        book = self._books.get(bandit_id)
        if book is None:
            book = self._books[bandit_id] = Book(bandit_id)
            self.bandit_count += 1
        return book


def _restore(learner: Learner, snapshot: BanditSnapshot) -> None:
    """Puts back what the snapshot holds, bit for bit."""
    names = [arm.name for arm in snapshot.arms]
    pulls, rewards = [arm.pulls for arm in snapshot.arms], [arm.cumulative_reward_bps for arm in snapshot.arms]
    bound = RewardBound(snapshot.reward_bound_bps, snapshot.warm_up_rewards_bps)
    if isinstance(learner, AdvisedBandit):
        experts = [ExpertLearned(expert.name, expert.state, expert.learned) for expert in snapshot.experts]
        learner.restore(names, pulls, rewards, snapshot.total_steps, bound, experts)
    else:
        learner.restore(names, [arm.state for arm in snapshot.arms], pulls, rewards, snapshot.total_steps, bound)
