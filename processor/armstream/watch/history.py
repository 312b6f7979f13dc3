"""What was published, folded into a bounded history of each bandit. Law: no record twice, no memory without a limit.

It is pure: records come in decoded, with the time of their append as UTC microseconds, in the order of their partition.
Topics may come in any order to each other. A version that is not above the last one changes nothing.
"""

from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from json import loads
from typing import Final, Literal, NamedTuple

from msgspec import structs

from armstream.codec import encode
from armstream.events import (
    BanditSnapshot,
    Command,
    CommandApplied,
    DeadLetter,
    Header,
    Reward,
    Source,
    TaskSettings,
    TaskSnapshot,
    WeightVector,
)
from armstream.rules import UnknownRule, clips
from armstream.stages.facts import DAY_MICROS, HOUR_MICROS, SECOND_MICROS, SETTINGS_CHANGE
from armstream.watch.earned import BaseWeights, Earned
from armstream.watch.series import Series

CLIPPED_REWARDS: Final = 500  # behind a bandit's clipped share, as the metric has it
REWARDS_KEPT: Final = 50
VECTORS_KEPT: Final = 64  # to say what the rewards kept did to the weights
SPARK_POINTS: Final = 60
MARKS_KEPT: Final = 100
SHAPES_KEPT: Final = 100
COMMANDS_KEPT: Final = 2_000
REASONS_KEPT: Final = 8
LETTER_BYTES_KEPT: Final = 16_384  # of its value, and of its key
HEADERS_KEPT: Final = 16
MOST_ID_CHARACTERS: Final = 200
DEAD_LETTER_DAYS_KEPT: Final = 31
DEAD_LETTER_MINUTES_KEPT: Final = 15
CLIPPED_HOURS_KEPT: Final = 2
_LEAST_STEP_MICROS: Final = SECOND_MICROS
_BUCKET_MICROS: Final = HOUR_MICROS // 2
_BUCKETS_A_DAY: Final = DAY_MICROS // _BUCKET_MICROS
_MOST_TEXT: Final = 300
_MOST_NUMBER: Final = 1e15  # of a reward, in basis points, and of its weight: sums of them stay numbers
_ROUNDING: Final = 1e-6
_NO_JSON: Final = (ValueError, KeyError, TypeError, RecursionError)
_MINUTE_MICROS: Final = 60 * SECOND_MICROS

_REASONS: Final = (
    ("the reward bound is not found yet", "warming up"),
    ("the bandit is paused", "paused"),
    ("arm ", "an arm was removed"),
    ("a reward of ", "not a reward that can be"),
    ("costs of ", "costs above the notional"),
    ("written off", "written off"),
)

MarkKind = Literal["command", "settings", "gap"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the history."""

    bandits: int = 10_000
    points: int = 400
    dead_letters: int = 500


class Mark(NamedTuple):
    """Something that is no trade."""

    ts: int
    kind: MarkKind
    text: str
    version: int | None = None
    command_id: str = ""


class Odd(ValueError):
    """A record that can be read, and says what no processor of ours says; the text says what. It counts for nothing."""


class KeptReward(NamedTuple):
    """As it stood in its record, which takes a fifth of the memory of what is read from it."""

    ts: int
    value: bytes


class KeptVector(NamedTuple):
    """The weights of one version; `names` are shared with the versions beside it."""

    version: int
    ts: int
    names: tuple[str, ...]
    weights: "array[float]"


class _Shape(NamedTuple):
    """The arms, and the bound that rewards are clipped to, 0 where there is none, from a version on."""

    version: int
    names: tuple[str, ...]
    bound_bps: float


class KeptLetter(NamedTuple):
    ts: int
    partition: int
    offset: int
    letter: DeadLetter


class Sum(NamedTuple):
    """Of rewards, withheld ones too: in basis points by weight, and the weight, of which a whole decision has 1."""

    sum_bps: float = 0.0
    weight: float = 0.0

    @property
    def mean_bps(self) -> float | None:
        return self.sum_bps / self.weight if self.weight > 0 else None

    def plus(self, sum_bps: float, weight: float) -> "Sum":
        return Sum(self.sum_bps + sum_bps, self.weight + weight)


@dataclass(slots=True)
class BanditHistory:
    """One bandit's. `paused` is None as long as nothing has said it."""

    bandit_id: str
    partition: int
    points: int
    earned: Earned
    vector: WeightVector | None = None
    vector_ts: int = 0
    audit_version: int = 0
    audit_ts: int = 0
    since_ts: int | None = None  # of the first reward that is known
    paused: bool | None = None
    paused_version: int = 0
    ever: Sum = field(default_factory=Sum)
    learned_count: int = 0
    withheld: Counter[str] = field(default_factory=Counter)  # closes that nothing was learned from, by reason
    last_reward: Reward | None = None
    last_reward_ts: int = 0
    last_mark: Mark | None = None
    weights: Series = field(init=False)
    spark: Series = field(init=False)
    rewards: Series = field(init=False)
    vectors: deque[KeptVector] = field(default_factory=lambda: deque(maxlen=VECTORS_KEPT))
    last_rewards: deque[KeptReward] = field(default_factory=lambda: deque(maxlen=REWARDS_KEPT))
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=MARKS_KEPT))
    clipped: deque[bool] = field(default_factory=lambda: deque(maxlen=CLIPPED_REWARDS))
    clipped_count: int = 0
    _days: deque[tuple[int, Sum]] = field(default_factory=deque)
    _shapes: deque["_Shape"] = field(default_factory=lambda: deque(maxlen=SHAPES_KEPT))

    def __post_init__(self) -> None:
        self.weights = Series(self.points, _LEAST_STEP_MICROS)
        self.spark = Series(SPARK_POINTS, _LEAST_STEP_MICROS)
        self.rewards = Series(self.points, _LEAST_STEP_MICROS)

    def take_vector(self, vector: WeightVector, ts: int) -> bool:
        """Whether it is newer. Raises Odd."""
        if self.vector is not None and vector.version <= self.vector.version:
            return False
        _demand_weights(vector)
        names = tuple(arm.name for arm in vector.arms)
        if self.vectors and self.vectors[-1].names == names:
            names = self.vectors[-1].names
        self.vector, self.vector_ts = vector, max(ts, self.vector_ts)
        kept = KeptVector(vector.version, self.vector_ts, names, array("d", [arm.weight for arm in vector.arms]))
        self.vectors.append(kept)
        self._note_shape(vector, names)
        for series in (self.weights, self.spark):
            if series.is_due(self.vector_ts):
                row = dict(zip(names, kept.weights, strict=True))
                series.add(self.vector_ts, {**row, VERSION: vector.version} if series is self.weights else row)
        return True

    def take_reward(self, reward: Reward, ts: int, value: bytes) -> bool:
        """Whether it is newer. What no sum can hold, a withheld NaN, is kept and goes into none."""
        if not self._is_next(reward.version, ts):
            return False
        self.last_reward, self.last_reward_ts = reward, self.audit_ts
        self.last_rewards.append(KeptReward(self.audit_ts, value))
        self.since_ts = self.audit_ts if self.since_ts is None else self.since_ts
        self._note_use(reward)
        weight = reward.weight if _is_summable(reward) else 0.0
        sum_bps = weight * reward.reward_bps if weight else 0.0
        self.ever = self.ever.plus(sum_bps, weight)
        bucket = self.audit_ts // _BUCKET_MICROS
        if self._days and self._days[-1][0] == bucket:
            self._days[-1] = bucket, self._days[-1][1].plus(sum_bps, weight)
        else:
            self._days.append((bucket, Sum(sum_bps, weight)))
            self._forget_days(bucket)
        shape = self.shape_at(reward.version)
        if reward.applied and shape.bound_bps:
            self._note_clipped(abs(reward.reward_bps) > shape.bound_bps)
        self.earned.add(reward, shape.names, shape.bound_bps or None)
        if self.rewards.is_due(self.audit_ts):
            self.rewards.add(self.audit_ts, self.earned.row(self.ever.sum_bps))
        return True

    def take_command(self, applied: CommandApplied, ts: int) -> bool:
        if not self._is_next(applied.version, ts):
            return False
        is_settings = applied.command_id == SETTINGS_CHANGE
        self.add_mark(
            Mark(
                self.audit_ts,
                "settings" if is_settings else "command",
                _settings_text(applied.detail) if is_settings else _command_text(applied),
                applied.version,
                applied.command_id,
            )
        )
        if applied.outcome == "APPLIED":
            if applied.action in ("PAUSE", "RESUME"):
                self.paused, self.paused_version = applied.action == "PAUSE", applied.version
            if applied.action in ("SET_BOUND", "RESET"):
                self.clipped.clear()
                self.clipped_count = 0
        return True

    def take_snapshot(self, snapshot: BanditSnapshot) -> bool:
        """Whether it says something new: a pause from before what is read back."""
        if snapshot.version < self.paused_version or self.paused is snapshot.paused:
            return False
        self.paused, self.paused_version = snapshot.paused, snapshot.version
        return True

    def add_mark(self, mark: Mark) -> None:
        self.marks.append(mark)
        self.last_mark = mark

    def day(self, now: int) -> Sum:
        """The last 24 hours, to half an hour."""
        self._forget_days(now // _BUCKET_MICROS)
        found = Sum()
        for _, one in self._days:
            found = found.plus(*one)
        return found

    @property
    def clipped_share(self) -> float | None:
        """Of the last rewards that it learned from; None where there are none, and where nothing is clipped to."""
        vector = self.vector
        if vector is None or not self.clipped or not _has_bound(vector):
            return None
        return self.clipped_count / len(self.clipped)

    def _note_shape(self, vector: WeightVector, names: tuple[str, ...]) -> None:
        bound_bps = vector.reward_bound_bps if _has_bound(vector) else 0.0
        if not self._shapes or self._shapes[-1][1:] != (names, bound_bps):
            self._shapes.append(_Shape(vector.version, names, bound_bps))

    def shape_at(self, version: int) -> "_Shape":
        """Of the newest vector that is not newer, else of the oldest that is known."""
        found = _Shape(0, (), 0.0)
        for shape in reversed(self._shapes):
            found = shape
            if shape.version <= version:
                break
        return found

    def _is_next(self, version: int, ts: int) -> bool:
        """Whether an audit record is newer; notes a gap."""
        if version <= self.audit_version:
            return False
        lost = version - self.audit_version - 1
        self.audit_ts = max(ts, self.audit_ts)
        if lost and self.audit_version:
            first, last = self.audit_version + 1, version - 1
            which = f"version {first} is" if lost == 1 else f"versions {first} to {last} are"
            self.add_mark(Mark(self.audit_ts, "gap", f"{which} not in the audit log any more", version))
        self.audit_version = version
        return True

    def _note_use(self, reward: Reward) -> None:
        if reward.applied:
            self.learned_count += 1
            return
        reason = _reason(reward.detail)
        is_kept = reason in self.withheld or len(self.withheld) < REASONS_KEPT
        self.withheld[reason if is_kept else "other reasons"] += 1

    def _note_clipped(self, is_clipped: bool) -> None:
        if len(self.clipped) == CLIPPED_REWARDS:
            self.clipped_count -= self.clipped[0]
        self.clipped.append(is_clipped)
        self.clipped_count += is_clipped

    def _forget_days(self, bucket: int) -> None:
        while self._days and self._days[0][0] <= bucket - _BUCKETS_A_DAY:
            self._days.popleft()


VERSION: Final = "\0version"  # a column beside the arms, which no arm can be


@dataclass(slots=True)
class TaskHistory:
    """One task as its last snapshot and its last settings say. `version` is that of the program that wrote it."""

    task: int
    version: str = ""
    snapshot_ts: int | None = None
    settings: str = ""
    next_offset: Mapping[str, int] = field(default_factory=dict)


class History:
    """All of it. `changed` and `gone` hold the bandits that did since somebody emptied them; `is_more_gone` says
    that more are gone than `gone` has room for."""

    def __init__(self, limits: Limits, base: BaseWeights) -> None:
        self.limits = limits
        self._base = base
        self.bandits: dict[str, BanditHistory] = {}
        self.tasks: dict[int, TaskHistory] = {}
        self.commands: OrderedDict[str, str] = OrderedDict()  # of each: the arm and the value, as a text
        self.dead_letters: deque[KeptLetter] = deque(maxlen=limits.dead_letters)
        self.changed: set[str] = set()
        self.gone: set[str] = set()
        self.is_more_gone = False
        self.not_kept: set[str] = set()
        self.last_record_ts: int | None = None
        self.rewards_taken = 0
        self.letters_taken = 0
        self.task_snapshots_taken = 0
        self._letters_by_day: dict[int, Counter[str]] = {}
        self._letters_by_minute: dict[int, Counter[str]] = {}
        self._clipped_by_minute: dict[int, list[int]] = {}

    def take_vector(self, partition: int, vector: WeightVector, ts: int) -> None:
        """Raises Odd."""
        self._note_time(ts)
        bandit = self._bandit(vector.bandit_id, partition)
        if bandit is not None and bandit.take_vector(vector, ts):
            self.changed.add(vector.bandit_id)

    def forget_bandit(self, bandit_id: str) -> None:
        """A tombstone on `weights`."""
        if self.bandits.pop(bandit_id, None) is not None:
            self.changed.discard(bandit_id)
            if len(self.gone) < self.limits.bandits:
                self.gone.add(bandit_id)
            else:
                self.is_more_gone = True

    def take_audit(self, partition: int, record: Reward | CommandApplied, ts: int, value: bytes | None = None) -> None:
        """`value` is the record as it stood, where the caller has it."""
        self._note_time(ts)
        bandit = self._bandit(record.bandit_id, partition)
        if bandit is None:
            return
        if isinstance(record, CommandApplied):
            is_new = bandit.take_command(record, ts)
        else:
            is_new = bandit.take_reward(record, ts, encode(record) if value is None else value)
            self.rewards_taken += is_new
            if is_new and record.applied and bandit.clipped:
                self._note_clipped(ts, bandit.clipped[-1])
        if is_new:
            self.changed.add(record.bandit_id)

    def take_settings(self, record: TaskSettings, ts: int) -> None:
        """A mark on each bandit of the task, where they are others than before."""
        self._note_time(ts)
        task = self._task(record.task)
        before, task.settings = task.settings, record.settings
        if not before or before == record.settings:
            return
        text = f"windows and limits: {_difference(before, record.settings)}"
        for bandit in self.bandits.values():
            if bandit.partition == record.task:
                bandit.add_mark(Mark(max(ts, bandit.audit_ts), "settings", text))
                self.changed.add(bandit.bandit_id)

    def take_letter(self, partition: int, offset: int, letter: DeadLetter, ts: int) -> None:
        self._note_time(ts)
        self.letters_taken += 1
        self.dead_letters.append(KeptLetter(ts, partition, offset, _shortened(letter)))
        for counts, unit, most in (
            (self._letters_by_day, DAY_MICROS, DEAD_LETTER_DAYS_KEPT),
            (self._letters_by_minute, _MINUTE_MICROS, DEAD_LETTER_MINUTES_KEPT),
        ):
            at = ts // unit
            counts.setdefault(at, Counter())[letter.error_class] += 1
            while len(counts) > most + 1:
                del counts[min(counts)]

    def take_command(self, command: Command) -> None:
        """What was asked for: CommandApplied says what became of it, and not which arm."""
        if len(command.command_id) > MOST_ID_CHARACTERS:  # which no processor takes
            return
        choice, number = command.choice, command.number
        named = "" if choice is None else f" {choice[:MOST_ID_CHARACTERS]}"
        self.commands[command.command_id] = named if number is None else f"{named} {number:g}"
        if len(self.commands) > COMMANDS_KEPT:
            self.commands.popitem(last=False)

    def take_bandit_snapshot(self, partition: int, snapshot: BanditSnapshot, ts: int) -> None:
        self._note_time(ts)
        bandit = self._bandit(snapshot.bandit_id, partition)
        if bandit is not None and bandit.take_snapshot(snapshot):
            self.changed.add(snapshot.bandit_id)

    def take_task_snapshot(self, snapshot: TaskSnapshot, version: str, ts: int) -> None:
        self._note_time(ts)
        self.task_snapshots_taken += 1
        task = self._task(snapshot.task)
        task.version, task.snapshot_ts, task.next_offset = version, ts, snapshot.next_offset
        task.settings = task.settings or snapshot.settings

    def letters_of_day(self, now: int) -> Counter[str]:
        """Dead letters by class since midnight UTC."""
        return Counter(self._letters_by_day.get(now // DAY_MICROS, ()))

    def letters_lately(self, now: int) -> Counter[str]:
        """Dead letters by class of the last 15 minutes."""
        last = now // _MINUTE_MICROS
        counts: Counter[str] = Counter()
        for minute, found in self._letters_by_minute.items():
            if last - DEAD_LETTER_MINUTES_KEPT < minute <= last:
                counts.update(found)
        return counts

    def clipped_lately(self, now: int) -> tuple[int, int]:
        """Of the last hour: how many rewards were clipped, of how many."""
        last = now // _MINUTE_MICROS
        found = [counts for minute, counts in self._clipped_by_minute.items() if last - 60 < minute <= last]
        return sum(clipped for clipped, _ in found), sum(count for _, count in found)

    def _note_clipped(self, ts: int, is_clipped: bool) -> None:
        counts = self._clipped_by_minute.setdefault(ts // _MINUTE_MICROS, [0, 0])
        counts[0] += is_clipped
        counts[1] += 1
        while len(self._clipped_by_minute) > 60 * CLIPPED_HOURS_KEPT:
            del self._clipped_by_minute[min(self._clipped_by_minute)]

    def _bandit(self, bandit_id: str, partition: int) -> BanditHistory | None:
        """None where there is no room for one more."""
        found = self.bandits.get(bandit_id)
        if found is None:
            if len(self.bandits) >= self.limits.bandits:
                if len(self.not_kept) < self.limits.bandits:
                    self.not_kept.add(bandit_id)
                return None
            earned = Earned(self._base.of(bandit_id))
            found = self.bandits[bandit_id] = BanditHistory(bandit_id, partition, self.limits.points, earned)
            self.gone.discard(bandit_id)
        return found

    def _task(self, number: int) -> TaskHistory:
        return self.tasks.setdefault(number, TaskHistory(number))

    def _note_time(self, ts: int) -> None:
        self.last_record_ts = ts if self.last_record_ts is None else max(ts, self.last_record_ts)


def _shortened(letter: DeadLetter) -> DeadLetter:
    """What is kept of it: a large one is cut."""
    source = letter.source
    kept = Source(
        source.topic,
        source.partition,
        source.offset,
        None if source.key is None else source.key[:LETTER_BYTES_KEPT],
        None if source.value is None else source.value[:LETTER_BYTES_KEPT],
        tuple(
            Header(one.name[:MOST_ID_CHARACTERS], None if one.value is None else one.value[:MOST_ID_CHARACTERS])
            for one in source.headers[:HEADERS_KEPT]
        ),
    )
    return structs.replace(letter, source=kept)


def _has_bound(vector: WeightVector) -> bool:
    try:
        return clips(vector)
    except UnknownRule:  # of a newer processor
        return True


def _reason(detail: str) -> str:
    """A withheld reward's reason without the names and numbers in it."""
    return next((said for begin, said in _REASONS if detail.startswith(begin)), _cut(detail) or "no reason is told")


def _command_text(applied: CommandApplied) -> str:
    said = f"{applied.action} {applied.outcome}"
    return _cut(f"{said}: {applied.detail}" if applied.detail else said)


def _settings_text(detail: str) -> str:
    """What a reset by other settings changed."""
    try:
        found = loads(detail)
        changed = _changed(found["settings_before"], found["settings"])
    except _NO_JSON:
        changed = _cut(detail)
    return f"begun anew under other settings: {changed}"


def _difference(before: str, after: str) -> str:
    try:
        return _changed(loads(before), loads(after))
    except _NO_JSON:
        return _cut(after)


def _changed(before: object, after: object) -> str:
    if not isinstance(before, dict) or not isinstance(after, dict):
        raise TypeError
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return _cut(", ".join(f"{name} {before.get(name)} to {after.get(name)}" for name in names) or "nothing")


def _demand_weights(vector: WeightVector) -> None:
    """Raises Odd where they are no weights: NaN would go into each chart and sum."""
    if not vector.arms:
        raise Odd("a vector without an arm")
    for arm in vector.arms:
        if not (-_ROUNDING <= arm.weight <= 1 + _ROUNDING and -_ROUNDING <= arm.probability <= 1 + _ROUNDING):
            raise Odd(f"the weight {arm.weight!r} with the probability {arm.probability!r}")


def _is_summable(reward: Reward) -> bool:
    """Whether each later sum is a number still."""
    return abs(reward.reward_bps) <= _MOST_NUMBER and abs(reward.weight) <= _MOST_NUMBER


def _cut(text: str) -> str:
    """JSON may escape what UTF-8 cannot hold."""
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"
