"""One task's state: its bandits and positions, with what a batch changed kept apart until the commit.

Law: committed state is never changed by a batch. Reads look through the overlay, writes go to it, `commit` merges it
and `rollback` drops it. A position is an immutable PositionSnapshot; a bandit is copied when a batch first touches it,
its learner when a batch first teaches it.
"""

from collections.abc import Mapping
from heapq import heappush

from armstream.events import ArmState, BanditSnapshot, ExpertState, PositionSnapshot
from armstream.keys import position_key
from armstream.learning import ExpertLearned, Learned, Learner, LearningSettings, RewardBound, Rule
from armstream.rules import UnknownRule, rule_named
from armstream.stages.facts import BanditRegistry, TaskLimits

NEVER = -(2**63)  # a watermark before its first event: nothing is behind it

_UNCHANGED = object()
_NOTHING_LEARNED = Learned((), (), (), (), 0, RewardBound())
_NO_ARMS: tuple[ArmState, ...] = ()


class SettingsMismatch(ValueError):
    """A bandit's snapshot was learned under other settings; the text names the bandit and what differs."""


class Bandit:
    """One bandit: its rule, settings and learner (None until a valid fill), its watermarks (UTC micros), its audit
    counter.

    `arm_index` is that of the learner's arms, `settings_json` the settings as a snapshot holds them, `estimator` as it
    is published. A decision that was made from a vector before `choices_version` may know other arms and experts than
    there are; it knew the arms whose `added_versions` are not above it.

    `floor` is the smaller watermark, what forgetting is measured from: NEVER while either is.
    `checks` and `waiting` are heaps of hints for expiry: (when to look, position_id) and (ts_event, event_id,
    position_id) of closes. A hint may be stale, and is compared with state before it is believed; so copies of a
    bandit share the two.
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
        "estimator",
        "fill_watermark",
        "floor",
        "learner",
        "owns_learner",
        "paused",
        "rule",
        "settings",
        "settings_json",
        "ts_event",
        "version",
        "waiting",
    )

    def __init__(self, bandit_id: str) -> None:
        self.bandit_id = bandit_id
        self.rule: Rule | None = None
        self.settings: LearningSettings | None = None
        self.settings_json = ""
        self.estimator = ""
        self.arm_index: Mapping[str, int] = {}
        self.added_versions: Mapping[str, int] = {}
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

    def copy(self) -> "Bandit":
        twin = object.__new__(Bandit)
        twin.bandit_id = self.bandit_id
        twin.rule = self.rule
        twin.settings = self.settings
        twin.settings_json = self.settings_json
        twin.estimator = self.estimator
        twin.arm_index = self.arm_index
        twin.added_versions = self.added_versions
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

    def __init__(self, limits: TaskLimits, registry: BanditRegistry) -> None:
        self.limits = limits
        self.registry = registry
        self.bandit_count = 0
        self.position_count = 0
        self.open_position_count = 0
        self.waiting_close_count = 0
        self.to_begin_anew: dict[str, str] = {}
        self._bandits: dict[str, Bandit] = {}
        self._positions: dict[str, PositionSnapshot] = {}
        self._touched: dict[str, Bandit] = {}
        self._versions: dict[str, int] = {}
        self._changed: dict[str, PositionSnapshot | None] = {}
        self._taken_checks: list[tuple[list[tuple[int, str]], tuple[int, str]]] = []
        self._taken_waiting: list[tuple[list[tuple[int, str, str]], tuple[int, str, str]]] = []
        self._counts_before = (0, 0, 0, 0)

    # Reading, through the overlay.

    def look_up(self, bandit_id: str, position_id: str) -> tuple[str, Bandit | None, PositionSnapshot | None]:
        """The position's key, its bandit (to look at, not to change: it may be the committed one) and the position."""
        key = bandit_id + "\0" + position_id
        position = self._changed.get(key, _UNCHANGED)
        if position is _UNCHANGED:
            position = self._positions.get(key)
        return key, self._touched.get(bandit_id) or self._bandits.get(bandit_id), position  # type: ignore[return-value]  # the sentinel is gone

    def bandit(self, bandit_id: str) -> Bandit | None:
        """To look at, not to change: it may be the committed one."""
        return self._touched.get(bandit_id) or self._bandits.get(bandit_id)

    def position(self, key: str) -> PositionSnapshot | None:
        return self._changed[key] if key in self._changed else self._positions.get(key)

    # Writing, to the overlay.

    def touch(self, bandit_id: str) -> Bandit:
        """The batch's own copy of a bandit, which may be changed; made where there is none."""
        bandit = self._touched.get(bandit_id)
        if bandit is not None:
            return bandit
        committed = self._bandits.get(bandit_id)
        if committed is None:
            bandit = Bandit(bandit_id)
            self.bandit_count += 1
        else:
            bandit = committed.copy()
        self._touched[bandit_id] = bandit
        self._versions[bandit_id] = bandit.version
        return bandit

    def create_learner(self, bandit: Bandit, settings: LearningSettings) -> None:
        """A learner that has seen nothing, in the place of one that there may be: all of its arms are new."""
        rule = rule_named(settings.algorithm)
        bandit.rule, bandit.settings, bandit.settings_json = rule, settings, settings.determining_json()
        bandit.estimator = rule.published_estimator(settings)
        bandit.learner = rule.new_learner(settings)
        bandit.owns_learner = True
        bandit.added_versions = {}
        self.note_choices(bandit)

    def note_choices(self, bandit: Bandit) -> None:
        """The learner's arms or experts have changed, as the next audit record says."""
        assert bandit.learner is not None  # it was just changed
        bandit.choices_version = bandit.version + 1
        names = bandit.learner.arm_names
        bandit.arm_index = {name: index for index, name in enumerate(names)}
        bandit.added_versions = {name: bandit.added_versions.get(name, bandit.choices_version) for name in names}

    def own_learner(self, bandit: Bandit) -> Learner:
        """The touched bandit's learner, no longer shared with the committed one."""
        learner = bandit.learner
        assert learner is not None  # nothing is learned before a valid fill
        if not bandit.owns_learner:
            learner = bandit.learner = learner.copy()
            bandit.owns_learner = True
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

    def touched_bandits(self) -> list[tuple[Bandit, bool]]:
        """Each bandit the batch touched and whether its version advanced, in order of first touch."""
        versions = self._versions
        return [(bandit, bandit.version != versions[bandit_id]) for bandit_id, bandit in self._touched.items()]

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
        self._bandits.update(self._touched)
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

    def bandit_snapshot(self, bandit: Bandit) -> BanditSnapshot:
        learner = bandit.learner
        if learner is None:
            learned, arms = _NOTHING_LEARNED, _NO_ARMS
        else:
            learned = learner.learned()
            states, counts = map(tuple, learned.arm_states), (learned.arm_pulls, learned.cumulative_rewards)
            arms = tuple(map(ArmState, bandit.arm_index, states, *counts, bandit.added_versions.values()))
        return BanditSnapshot(
            bandit.bandit_id,
            bandit.version,
            learned.total_steps,
            arms,
            "" if bandit.settings is None else bandit.settings.algorithm,
            bandit.estimator,
            bandit.settings_json,
            None if bandit.fill_watermark == NEVER else bandit.fill_watermark,
            None if bandit.close_watermark == NEVER else bandit.close_watermark,
            bandit.paused,
            bandit.cause_event_id,
            bandit.ts_event,
            bandit.command_ids,
            tuple([ExpertState(*each) for each in learned.experts]),
            bandit.choices_version,
            learned.reward_bound.bound_bps,
            learned.reward_bound.rewards_bps,
            tuple(learned.own_state),
        )

    def restore_bandit(self, snapshot: BanditSnapshot) -> None:
        """Raises SettingsMismatch where what was learned does not fit the settings, and these say so.

        Positions may come before it.
        """
        bandit = self._restored_bandit(snapshot.bandit_id)
        if snapshot.arms:
            self._restore_learner(bandit, snapshot)
        bandit.version = snapshot.version
        bandit.fill_watermark = NEVER if snapshot.fill_watermark is None else snapshot.fill_watermark
        bandit.close_watermark = NEVER if snapshot.close_watermark is None else snapshot.close_watermark
        bandit.floor = min(bandit.fill_watermark, bandit.close_watermark)
        bandit.paused = snapshot.paused
        bandit.choices_version = snapshot.choices_version
        bandit.command_ids = snapshot.command_ids
        bandit.cause_event_id = snapshot.cause_event_id
        bandit.ts_event = snapshot.ts_event

    def _restore_learner(self, bandit: Bandit, snapshot: BanditSnapshot) -> None:
        """The learner goes on under the settings it was made under; where others hold now, see on_settings_change."""
        bandit_id, policy = bandit.bandit_id, self.registry.on_settings_change
        now = self.registry.of(bandit_id)
        if now is None and policy != "keep":
            raise SettingsMismatch(
                f"bandit {bandit_id!r} is registered no more; to go on with it: bandits.on_settings_change: keep"
            )
        settings = _settings_of(snapshot, now or self.registry.template)
        if now is not None and now != settings:
            if policy == "refuse":
                raise SettingsMismatch(
                    f"bandit {bandit_id!r} was learned under other settings: {now.difference(snapshot.settings)}; "
                    "set them back, or say what becomes of it: bandits.on_settings_change: keep or reset"
                )
            if policy == "reset":
                self.to_begin_anew[bandit_id] = snapshot.settings
        self.create_learner(bandit, settings)
        assert bandit.learner is not None  # it was just made
        bandit.learner.restore(_learned(snapshot))
        bandit.added_versions = {arm.name: arm.added_version for arm in snapshot.arms}
        self.note_choices(bandit)

    def restore_position(self, position: PositionSnapshot) -> None:
        """Each position once."""
        bandit = self._restored_bandit(position.bandit_id)
        self._positions[position_key(position.bandit_id, position.position_id)] = position
        self.position_count += 1
        self.open_position_count += bool(position.fills)
        self.waiting_close_count += len(position.closes)
        heappush(bandit.checks, (position.ts_last + self.limits.dedupe_window_micros, position.position_id))
        for close in position.closes:
            heappush(bandit.waiting, (close.ts_event, close.event_id, position.position_id))

    def _restored_bandit(self, bandit_id: str) -> Bandit:
        bandit = self._bandits.get(bandit_id)
        if bandit is None:
            bandit = self._bandits[bandit_id] = Bandit(bandit_id)
            self.bandit_count += 1
        return bandit


def _settings_of(snapshot: BanditSnapshot, now: LearningSettings) -> LearningSettings:
    """What the learner was made under. Raises SettingsMismatch for a rule or a setting that this version does not know,
    whatever on_settings_change says: nothing can go on from what is not understood.
    """
    try:
        rule_named(snapshot.algorithm)
        return now.learned_under(snapshot.settings)
    except (UnknownRule, ValueError, TypeError) as unknown:
        raise SettingsMismatch(
            f"bandit {snapshot.bandit_id!r} cannot be restored, it learned by {snapshot.algorithm!r}: {unknown}; "
            "a version of armstream that knows this rule can go on from it"
        ) from unknown


def _learned(snapshot: BanditSnapshot) -> Learned:
    """What the snapshot's learner held."""
    arms = snapshot.arms
    return Learned(
        [arm.name for arm in arms],
        [arm.state for arm in arms],
        [arm.pulls for arm in arms],
        [arm.cumulative_reward_bps for arm in arms],
        snapshot.total_steps,
        RewardBound(snapshot.reward_bound_bps, snapshot.warm_up_rewards_bps),
        snapshot.state,
        [ExpertLearned(expert.name, expert.state, expert.learned) for expert in snapshot.experts],
    )
