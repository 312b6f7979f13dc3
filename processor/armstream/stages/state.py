"""One task's state: its bandits and positions, with what a batch changed kept apart until the commit.

Law: committed state is never changed by a batch. Reads look through the overlay, writes go to it, `commit` merges it
and `rollback` drops it. A position is an immutable PositionSnapshot, its older events are in Pages that grow and are
cut back; a bandit is copied when a batch first touches it, its learner when a batch first teaches it.
"""

from collections.abc import Callable, Iterator, Mapping
from heapq import heappop, heappush
from typing import Any, Protocol, TypeVar

from msgspec import structs

from armstream.events import (
    ArmState,
    BanditSnapshot,
    ExpertState,
    Paged,
    PositionClose,
    PositionFill,
    PositionPage,
    PositionSnapshot,
    WaitingClose,
)
from armstream.keys import page_key, position_key
from armstream.learning import ExpertLearned, Learned, Learner, LearningSettings, RewardBound, Rule
from armstream.rules import UnknownRule, rule_named
from armstream.stages.facts import BanditRegistry, TaskLimits
from armstream.stages.pages import Pages

NEVER = -(2**63)  # a watermark before its first event: nothing is behind it
NEVER_YET = 2**63  # behind every event

_NOTHING_LEARNED = Learned((), (), (), (), 0, RewardBound())
_NO_ARMS: tuple[ArmState, ...] = ()
_NO_KEYS: set[str] = set()

H = TypeVar("H", bound=tuple[object, ...])
H_co = TypeVar("H_co", bound=tuple[object, ...], covariant=True)


Counts = tuple[int, int, int, int, int, int]


class Hints(Protocol[H_co]):
    """Where to look first: the least hint is at 0. `TaskState.pop_hint` takes it away."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> H_co: ...


def is_flat(position: PositionSnapshot) -> bool:
    """Nothing of it is open, and nothing waits."""
    return not (position.open_left or position.waiting)


class SettingsMismatch(ValueError):
    """A bandit's snapshot was learned under other settings; the text names the bandit and what differs."""


class Bandit:
    """One bandit: its rule, settings and learner (None until a valid fill), its watermarks (UTC micros), its audit
    counter.

    `arm_index` is that of the learner's arms, `settings_json` the settings as a snapshot holds them, `estimator` as it
    is published. A decision that was made from a vector before `choices_version` may know other arms and experts than
    there are; it knew the arms whose `added_versions` are not above it.

    `floor` is what forgetting is measured from: the smaller watermark, or that of closes where no fill came yet. What
    was forgotten had its last event at `forgotten_until` or before. `finished_count` are its flat positions.
    No position that is not flat is held too long before `held_until`.
    `finished` (ts_last, position_id) of flat positions and `waiting` (ts_event, event_id, position_id) of closes are
    heaps of hints. A hint may be stale, and is compared with state before it is believed; so copies of a bandit share
    them.
    """

    __slots__ = (
        "added_versions",
        "arm_index",
        "bandit_id",
        "cause_event_id",
        "choices_version",
        "close_watermark",
        "command_ids",
        "estimator",
        "fill_watermark",
        "finished",
        "finished_count",
        "floor",
        "forgotten_until",
        "held_until",
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
        self.forgotten_until = NEVER
        self.finished_count = 0
        self.finished: Hints[tuple[int, str]] = []
        self.held_until = NEVER_YET
        self.waiting: Hints[tuple[int, str, str]] = []

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
        twin.forgotten_until = self.forgotten_until
        twin.finished_count = self.finished_count
        twin.finished = self.finished
        twin.held_until = self.held_until
        twin.waiting = self.waiting
        return twin

    def set_floor(self) -> None:
        fills, closes = self.fill_watermark, self.close_watermark
        self.floor = closes if fills == NEVER or closes < fills else fills


class TaskState:
    """All bandits and positions of one task. Counts are kept as it goes and cost nothing to read.

    `to_begin_anew` are bandits whose restored learner fits the settings no more, and what the settings were: the next
    batch begins with their reset. `waiting` is a heap of hints of closes, as a bandit's is, of all bandits: (ts_event,
    bandit_id, position_id, event_id).
    """

    def __init__(self, limits: TaskLimits, registry: BanditRegistry) -> None:
        self.limits = limits
        self.registry = registry
        self.bandit_count = 0
        self.learner_count = 0
        self.position_count = 0
        self.finished_count = 0
        self.open_position_count = 0
        self.waiting_close_count = 0
        self.to_begin_anew: dict[str, str] = {}
        self.waiting: Hints[tuple[int, str, str, str]] = []
        self._bandits: dict[str, Bandit] = {}
        self._positions: dict[str, PositionSnapshot] = {}
        self._held: dict[str, set[str]] = {}  # by bandit, keys of positions that are not flat
        self._pages: dict[str, Pages] = {}
        self._page_keys: set[str] = set()
        self._touched: dict[str, Bandit | None] = {}
        self._versions: dict[str, int] = {}
        self._changed: dict[str, PositionSnapshot | None] = {}
        self._changed_pages: dict[str, PositionPage | None] = {}
        self._undo_pages: list[tuple[str, Pages | None]] = []
        self._popped: list[tuple[list[Any], Any]] = []
        self._counts_before = (0, 0, 0, 0, 0, 0)

    # Reading, through the overlay.

    def bandit(self, bandit_id: str) -> Bandit | None:
        """To look at, not to change: it may be the committed one."""
        touched = self._touched
        return touched[bandit_id] if bandit_id in touched else self._bandits.get(bandit_id)

    def touched(self, bandit_id: str) -> Bandit | None:
        """None for a bandit that this batch did not touch."""
        return self._touched.get(bandit_id)

    def bandits(self) -> Iterator[Bandit]:
        """All of them, to look at."""
        for bandit_id, bandit in self._bandits.items():
            if bandit_id not in self._touched:
                yield bandit
        for touched in self._touched.values():
            if touched is not None:
                yield touched

    def with_most_finished(self) -> list[Bandit]:
        """Those that have most finished positions, to look at. There is one."""
        most = max(one.finished_count for one in self.bandits())
        return [one for one in self.bandits() if one.finished_count == most]

    def position(self, key: str) -> PositionSnapshot | None:
        return self._changed[key] if key in self._changed else self._positions.get(key)

    def find(self, bandit_id: str, position_id: str) -> tuple[str, PositionSnapshot | None]:
        """A position's key, and the position."""
        key = bandit_id + "\0" + position_id
        changed = self._changed
        return key, changed[key] if key in changed else self._positions.get(key)

    def held(self, bandit_id: str) -> list[PositionSnapshot]:
        """The bandit's positions that are not flat, oldest first. It looks through all that the batch changed."""
        changed = (key for key, one in self._changed.items() if one is not None and one.bandit_id == bandit_id)
        found = [self.position(key) for key in {*self._held.get(bandit_id, ()), *changed}]
        held = [position for position in found if position is not None and not is_flat(position)]
        return sorted(held, key=lambda position: (position.ts_last, position.position_id))

    def pages(self, key: str) -> Pages:
        """Of a position that has some."""
        return self._pages[key]

    # Writing, to the overlay.

    def touch(self, bandit_id: str) -> Bandit:
        """The batch's own copy of a bandit, which may be changed; made where there is none."""
        bandit = self._touched.get(bandit_id)
        if bandit is not None:
            return bandit
        committed = None if bandit_id in self._touched else self._bandits.get(bandit_id)
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
        self.learner_count += bandit.learner is None
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
            self.open_position_count += after.open_left > 0.0
            self.waiting_close_count += len(after.waiting)
        else:
            self.open_position_count += (after.open_left > 0.0) - (before.open_left > 0.0)
            if after.waiting or before.waiting:
                self.waiting_close_count += len(after.waiting) - len(before.waiting)

    def keep_terms(self, position: PositionSnapshot, terms: Mapping[str, float]) -> None:
        """What its decision's parts added so far, of a position that was put; one that is done needs them no more."""
        if position.decision is not None:
            decision = structs.replace(position.decision, terms=terms)
            key = position_key(position.bandit_id, position.position_id)
            self._changed[key] = structs.replace(position, decision=decision)

    def note_flat(self, bandit: Bandit, before: PositionSnapshot | None, after: PositionSnapshot) -> None:
        """Keeps count of the touched bandit's flat positions, and of where to look for what is old, after a put."""
        if before is not None and not (before.open_left or before.waiting):
            bandit.finished_count -= 1
            self.finished_count -= 1
        if not (after.open_left or after.waiting):
            bandit.finished_count += 1
            self.finished_count += 1
            self._note_finished(bandit, after)
            return
        held_until = after.ts_last + self.limits.max_holding_micros
        bandit.held_until = min(bandit.held_until, held_until)

    def _note_finished(self, bandit: Bandit, position: PositionSnapshot) -> None:
        assert isinstance(bandit.finished, list)  # it is this state's
        heappush(bandit.finished, (position.ts_last, position.position_id))

    def note_waiting(self, bandit: Bandit, position_id: str, close: WaitingClose) -> None:
        """Keeps where to look for a close that has to wait."""
        assert isinstance(bandit.waiting, list)  # it is this state's
        assert isinstance(self.waiting, list)
        heappush(bandit.waiting, (close.ts_event, close.event_id, position_id))
        heappush(self.waiting, (close.ts_event, bandit.bandit_id, position_id, close.event_id))

    def add_page(
        self, key: str, paged: Paged | None, fills: tuple[PositionFill, ...], closes: tuple[PositionClose, ...]
    ) -> Paged:
        """Moves events of a position into a page of their own, the next after `paged`."""
        was = paged or Paged(0, 0, 0)
        bandit_id, _, position_id = key.partition("\0")
        page = PositionPage(bandit_id, position_id, was.pages, fills, closes)
        self._pages.setdefault(key, Pages()).add(page)
        self._undo_pages.append((key, None))
        self._changed_pages[page_key(bandit_id, position_id, was.pages)] = page
        return Paged(was.pages + 1, was.fills + len(fills), was.closes + len(closes))

    def forget(self, key: str, before: PositionSnapshot) -> None:
        self._changed[key] = None
        self.position_count -= 1
        self.open_position_count -= before.open_left > 0.0
        self.waiting_close_count -= len(before.waiting)
        if before.paged is not None:
            pages = self._pages.pop(key)
            self._undo_pages.append((key, pages))
            for page in pages.pages:
                self._changed_pages[page_key(page.bandit_id, page.position_id, page.number)] = None

    def forget_bandit(self, bandit: Bandit) -> None:
        """A touched bandit without a learner and without positions."""
        self._touched[bandit.bandit_id] = None
        self._versions.pop(bandit.bandit_id)
        self.bandit_count -= 1

    def pop_hint(self, heap: Hints[H]) -> H:
        """A heap's first hint; rollback puts it back."""
        assert isinstance(heap, list)  # it is this state's
        hint: H = heappop(heap)
        self._popped.append((heap, hint))
        return hint

    # A batch's beginning, its results and its two ends.

    def begin(self) -> None:
        self._counts_before = self._counts()

    def touched_bandits(self) -> list[tuple[Bandit, bool]]:
        """Each bandit the batch touched and whether its version advanced, in order of first touch."""
        versions = self._versions
        touched = [bandit for bandit in self._touched.values() if bandit is not None]
        return [(bandit, bandit.version != versions[bandit.bandit_id]) for bandit in touched]

    def forgotten_bandits(self) -> list[str]:
        """What came and went within the batch was never written."""
        return [name for name, bandit in self._touched.items() if bandit is None and name in self._bandits]

    def changed_positions(self) -> tuple[list[PositionSnapshot], list[PositionPage], list[str]]:
        """Positions and pages to write, and keys of both to forget. What came and went within the batch was never
        written: neither."""
        changed = [position for position in self._changed.values() if position is not None]
        committed = self._positions
        forgotten = [key for key, position in self._changed.items() if position is None and key in committed]
        if not self._changed_pages:
            return changed, [], forgotten
        pages = [page for page in self._changed_pages.values() if page is not None]
        forgotten += [key for key, page in self._changed_pages.items() if page is None and key in self._page_keys]
        return changed, pages, forgotten

    def commit(self) -> None:
        positions = self._positions
        for key, position in self._changed.items():
            if position is not None:
                positions[key] = position
                self._note_held(key, position)
            else:
                positions.pop(key, None)
                self._held.get(key.partition("\0")[0], _NO_KEYS).discard(key)
        for key, page in self._changed_pages.items():
            if page is not None:
                self._page_keys.add(key)
            else:
                self._page_keys.discard(key)
        for bandit_id, bandit in self._touched.items():
            if bandit is not None:
                self._bandits[bandit_id] = bandit
            else:
                self._bandits.pop(bandit_id, None)
                self._held.pop(bandit_id, None)
        self.to_begin_anew = {name: was for name, was in self.to_begin_anew.items() if name not in self._touched}
        self._drop_overlay()

    def _note_held(self, key: str, position: PositionSnapshot) -> None:
        held = self._held.get(position.bandit_id)
        if is_flat(position):
            if held is not None:
                held.discard(key)
        elif held is not None:
            held.add(key)
        else:
            self._held[position.bandit_id] = {key}

    def rollback(self) -> None:
        """State is as it was at `begin`."""
        for heap, hint in self._popped:
            heappush(heap, hint)
        for key, pages in reversed(self._undo_pages):
            self._undo(key, pages)
        self._set_counts(self._counts_before)
        self._drop_overlay()

    def _counts(self) -> Counts:
        return (
            self.bandit_count,
            self.learner_count,
            self.position_count,
            self.finished_count,
            self.open_position_count,
            self.waiting_close_count,
        )

    def _set_counts(self, counts: Counts) -> None:
        (
            self.bandit_count,
            self.learner_count,
            self.position_count,
            self.finished_count,
            self.open_position_count,
            self.waiting_close_count,
        ) = counts

    def _undo(self, key: str, forgotten: Pages | None) -> None:
        """Pages that were forgotten are back; else a page was added, and is taken back."""
        if forgotten is not None:
            self._pages[key] = forgotten
            return
        self._pages[key].take_back()
        if not self._pages[key].pages:
            del self._pages[key]

    def _drop_overlay(self) -> None:
        self._touched = {}
        self._versions = {}
        self._changed = {}
        self._changed_pages = {}
        self._undo_pages = []
        self._popped = []

    def shortest_window_micros(self) -> int:
        """How far behind the newest event of its bandit a new position may begin, where that is least."""
        remembered = [
            max(one.fill_watermark, one.close_watermark) - one.forgotten_until
            for one in self._bandits.values()
            if one.forgotten_until != NEVER
        ]
        return min([self.limits.dedupe_window_micros, *remembered])

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
            None if bandit.forgotten_until == NEVER else bandit.forgotten_until,
        )

    def restore_records(
        self,
        records: list[bytes],  # noqa: ARG002 - another state may take them
        first: int,
        expect: Callable[[str, int], None],  # noqa: ARG002
    ) -> int:
        """Puts snapshots back as they stand in their records, from `first` on. Gives the place of the first whose event
        must be decoded, which is every one's here. `expect` hears of a position with pages, and how many it has.
        """
        return first

    def restore_bandit(self, snapshot: BanditSnapshot) -> None:
        """Raises SettingsMismatch where what was learned does not fit the settings, and these say so.

        Positions may come before it.
        """
        self._read_back(self._restored_bandit(snapshot.bandit_id), snapshot)

    def _read_back(self, bandit: Bandit, snapshot: BanditSnapshot) -> None:
        if snapshot.arms:
            self._restore_learner(bandit, snapshot)
        bandit.version = snapshot.version
        bandit.fill_watermark = NEVER if snapshot.fill_watermark is None else snapshot.fill_watermark
        bandit.close_watermark = NEVER if snapshot.close_watermark is None else snapshot.close_watermark
        bandit.forgotten_until = NEVER if snapshot.forgotten_until is None else snapshot.forgotten_until
        if self.limits.trades_share_topic:  # the topics may have been two
            bandit.fill_watermark = bandit.close_watermark = max(bandit.fill_watermark, bandit.close_watermark)
        bandit.set_floor()
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
        if now == settings:
            settings = now  # one object for all
        elif now is not None:
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
        """Each position once; its pages may come before it or after."""
        bandit, key = self._restored_bandit(position.bandit_id), position_key(position.bandit_id, position.position_id)
        self._positions[key] = position
        self._note_held(key, position)
        self.position_count += 1
        self.open_position_count += position.open_left > 0.0
        self.waiting_close_count += len(position.waiting)
        self.note_flat(bandit, None, position)
        for close in position.waiting:
            self.note_waiting(bandit, position.position_id, close)

    def restore_page(self, page: PositionPage) -> None:
        """Each page once, in any order."""
        self._pages.setdefault(position_key(page.bandit_id, page.position_id), Pages()).put_back(page)
        self._page_keys.add(page_key(page.bandit_id, page.position_id, page.number))

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
