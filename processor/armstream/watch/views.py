"""What the page is told, as JSON. Law: each fact says what is known; unknown is null, and no name is trusted to be one.

Times are integer UTC microseconds. Numbers are rounded to what a page shows.
"""

from collections.abc import Iterable, Sequence
from math import isfinite, isnan
from typing import Final

from msgspec import Struct, json, structs

from armstream.codec import DecodeError, decode
from armstream.evaluation import Interval
from armstream.events import DeadLetter, Reward
from armstream.watch import earned
from armstream.watch.facts import GroupFacts
from armstream.watch.history import (
    SPARK_POINTS,
    VERSION,
    BanditHistory,
    History,
    KeptLetter,
    KeptReward,
    KeptVector,
    Mark,
    Sum,
)
from armstream.watch.series import Series

LETTERS_SHOWN: Final = 50
MOST_VALUE_CHARACTERS: Final = 10_000
_MOST_CHANGE_ARMS: Final = 3

Numbers = list[float | None]

# In short what docs/reference/errors.md says.
_REMEDIES: Final = {
    "DECODE": "A sender uses another framing or a newer schema: mend it, or upgrade the processors first.",
    "VALIDATION": "The text names the field: mend the sender, then resend the event mended.",
    "MISROUTED": "Mend the sender: partitioner=murmur2_random, and the key is the bandit_id.",
    "UNKNOWN_ARM": "Settle on one list of arms, or add it: armstream arms add. Then resend it.",
    "UNKNOWN_EXPERT": "Roll the engines out first, then armstream experts add. Then resend it.",
    "UNKNOWN_BANDIT": "Add it to bandits.overrides, or send its first fill before a command. Then resend it.",
    "ORPHAN_CLOSE": "Look for its fill: it never came, came later, or is a dead letter itself.",
    "LATE": "Look at the sender's queue and clock; a wider rewards.dedupe_window_seconds takes later events.",
    "LIMIT": "Raise the limit that the text names, or end old positions.",
    "SKIPPED": "An operator skipped it with armstream run --skip: nothing, or resend it.",
    "ID_REUSED": "Make event_id and exec_id unique: put the day or the session into them.",
}


class Trades(Struct, frozen=True):
    """`count` are whole decisions: parts of one sum up."""

    count: int
    mean_bps: float | None
    sum_bps: float
    since_ts: int | None = None


class Closes(Struct, frozen=True):
    """All closes that are known: those learned from, and the others by why they are withheld."""

    learned: int
    withheld: dict[str, int]


class Spark(Struct, frozen=True):
    ts: list[int]
    weights: list[Numbers]


class Change(Struct, frozen=True):
    """`text` says all; of a close `move` is the arm whose weight moved most, and `cause` who earned or lost what."""

    ts: int
    kind: str
    text: str
    version: int | None
    move: str = ""
    cause: str = ""
    clipped_to_bps: float | None = None


class Row(Struct, frozen=True):
    """A bandit in one line. `spark` is None where it has not changed since it was told."""

    bandit_id: str
    rule: str | None
    estimator: str | None
    phase: str | None
    paused: bool
    arms: tuple[str, ...]
    weights: list[float]
    probabilities: list[float]
    effective_models: float | None
    steps: int | None
    warm_start_steps: int | None
    blend_alpha: float | None
    bound_bps: float | None
    clipped_share: float | None
    day: Trades
    ever: Trades
    closes: Closes
    above_uniform: Interval | None
    above_base: Interval | None
    spark: Spark | None
    last_change: Change | None
    version: int | None
    ts: int | None


class WeightsOverTime(Struct, frozen=True):
    ts: list[int]
    version: list[int]
    series: list[Numbers]
    arms: list[str]


class MarkView(Struct, frozen=True):
    ts: int
    kind: str
    text: str


class ByArm(Struct, frozen=True):
    names: list[str]
    series: list[Numbers]


class Band(Struct, frozen=True):
    bps: Numbers
    low: Numbers
    high: Numbers


class RewardOverTime(Struct, frozen=True):
    ts: list[int]
    cumulative_bps: Numbers
    by_arm: ByArm
    above_uniform: Band
    above_base: Band | None
    regret_bps: Numbers


class ArmView(Struct, frozen=True):
    name: str
    weight: float | None
    probability: float | None
    pulls: int
    mean_bps: float | None
    error_bps: float | None
    effective_sample: float | None


class ExpertView(Struct, frozen=True):
    name: str
    weight: float


class Part(Struct, frozen=True):
    name: str
    share: float
    propensity: float | None
    estimate: float | None


class Move(Struct, frozen=True):
    name: str
    before: float | None
    after: float | None


class RewardView(Struct, frozen=True):
    """`published_version` is that of the first vector that holds it: rewards of one commit have the same."""

    version: int
    ts: int
    position_id: str
    fill_event_id: str
    close_event_id: str
    quantity: float
    reward_bps: float | None
    applied: bool
    counted: bool
    detail: str
    weight: float
    arms: list[Part]
    propensity_source: str | None
    eta: float | None
    published_version: int | None
    moved: list[Move]


class RegretView(Struct, frozen=True):
    """The best arm by the estimates, and by how much a trade it would have earned more than the bandit."""

    arm: str
    per_trade_bps: float
    per_trade_low_bps: float


class BanditView(Struct, frozen=True):
    """`not_estimated` counts the rewards that no estimate can rest on, by reason."""

    row: Row
    weights: WeightsOverTime
    marks: list[MarkView]
    reward: RewardOverTime
    arms: list[ArmView]
    experts: list[ExpertView]
    rewards: list[RewardView]
    regret: RegretView | None
    not_estimated: dict[str, int]


class Owner(Struct, frozen=True):
    client_id: str
    host: str


class PartitionView(Struct, frozen=True):
    topic: str
    partition: int
    lag_records: int | None
    lag_seconds: float | None
    committed: int | None
    end: int | None
    owner: Owner | None


class MemberView(Struct, frozen=True):
    client_id: str
    host: str
    version: str | None
    partitions: list[str]


class TaskView(Struct, frozen=True):
    task: int
    version: str | None
    snapshot_ts: int | None
    settings: str


class ProcessorView(Struct, frozen=True):
    url: str
    ready: bool | None
    version: str | None = None
    events_per_second: float | None = None
    commits_per_second: float | None = None
    commit_p50_ms: float | None = None
    commit_p99_ms: float | None = None
    restore_remaining_records: int | None = None
    failed_transactions: int | None = None
    uptime_seconds: float | None = None
    error: str = ""


class RuleView(Struct, frozen=True):
    """What an alert looks for; `is_watched` is False where nothing is known that it could be told from."""

    name: str
    severity: str
    looks_for: str
    is_watched: bool


class LetterView(Struct, frozen=True, rename={"error_class": "class"}):
    ts: int
    error_class: str
    error: str
    topic: str
    partition: int
    offset: int
    key: str | None
    headers: list[tuple[str, str | None]]
    value: str | None
    event_id: str | None
    bandit_id: str | None
    remedy: str


class DeadLetters(Struct, frozen=True):
    """`last` is None where it has not changed since it was told."""

    by_class: dict[str, int]
    today: int
    last: list[LetterView] | None


class Alert(Struct, frozen=True):
    name: str
    severity: str
    text: str
    remedy: str


class Operate(Struct, frozen=True):
    partitions: list[PartitionView]
    members: list[MemberView]
    group_state: str | None
    tasks: list[TaskView]
    processors: list[ProcessorView]
    dead_letters: DeadLetters
    alerts: list[Alert]
    rules: list[RuleView]


class Progress(Struct, frozen=True):
    read: int
    of: int


class Pulse(Struct, frozen=True):
    now: int
    state: str
    text: str
    progress: Progress | None
    last_record_ts: int | None
    events_per_second: float | None
    commits_per_second: float | None
    lag_records: int | None
    dead_letters_today: int
    alerts_looked_ts: int | None


class Snapshot(Struct, frozen=True):
    """What a client begins with."""

    version: str
    cluster: str
    group: str
    topics: dict[str, str]
    now: int
    bandits: list[Row]
    pulse: Pulse
    operate: Operate


# Bandits


def row_of(bandit: BanditHistory, now: int, warm_start_steps: int | None, *, with_spark: bool) -> Row:
    vector = bandit.vector
    weights = [] if vector is None else [arm.weight for arm in vector.arms]
    arms = () if vector is None else tuple(arm.name for arm in vector.arms)
    squares = sum(weight * weight for weight in weights)
    return Row(
        bandit_id=bandit.bandit_id,
        rule=None if vector is None else vector.algorithm,
        estimator=None if vector is None else vector.estimator,
        phase=None if vector is None else vector.phase,
        paused=bool(bandit.paused),
        arms=arms,
        weights=[round(weight, 6) for weight in weights],
        probabilities=[] if vector is None else [round(arm.probability, 6) for arm in vector.arms],
        effective_models=round(1 / squares, 3) if squares > 0 else None,
        steps=None if vector is None else vector.total_steps,
        warm_start_steps=warm_start_steps,
        blend_alpha=None if vector is None else vector.blend_alpha,
        bound_bps=None if vector is None or not vector.reward_bound_bps else round(vector.reward_bound_bps, 3),
        clipped_share=_rounded(bandit.clipped_share, 4),
        day=_trades(bandit.day(now)),
        ever=_trades(bandit.ever, bandit.since_ts),
        closes=Closes(bandit.learned_count, dict(bandit.withheld)),
        above_uniform=_gain(bandit.earned.above_uniform()),
        above_base=_gain(bandit.earned.above_base()),
        spark=_spark(bandit.spark, arms) if with_spark else None,
        last_change=_last_change(bandit),
        version=None if vector is None else vector.version,
        ts=bandit.vector_ts or bandit.audit_ts or None,
    )


def bandit_of(history: History, bandit: BanditHistory, now: int, warm_start_steps: int | None) -> BanditView:
    vector = bandit.vector
    return BanditView(
        row=row_of(bandit, now, warm_start_steps, with_spark=True),
        weights=_weights_over_time(bandit),
        marks=[MarkView(mark.ts, mark.kind, mark_text(history, mark)) for mark in bandit.marks],
        reward=_reward_over_time(bandit),
        arms=arms_of(bandit),
        experts=[] if vector is None else [ExpertView(one.name, round(one.weight, 6)) for one in vector.experts],
        rewards=[_reward(kept, bandit.vectors) for kept in reversed(bandit.last_rewards)],
        regret=_regret(bandit),
        not_estimated=dict(bandit.earned.not_estimated()),
    )


def arms_of(bandit: BanditHistory) -> list[ArmView]:
    """Those that there are, in their order, then those that were."""
    known = {one.name: one for one in bandit.earned.arms()}
    now = {} if bandit.vector is None else {arm.name: arm for arm in bandit.vector.arms}
    found = []
    for name in dict.fromkeys([*now, *known]):
        arm, sums = now.get(name), known.get(name)
        found.append(
            ArmView(
                name,
                None if arm is None else round(arm.weight, 6),
                None if arm is None else round(arm.probability, 6),
                0 if sums is None else sums.pulls,
                None if sums is None else _rounded(sums.mean_bps, 4),
                None if sums is None else _rounded(sums.error_bps, 4),
                None if sums is None else _rounded(sums.effective_sample, 1),
            )
        )
    return found


def mark_text(history: History, mark: Mark) -> str:
    """With the arm and the reason of the command, where it is still known."""
    named = history.commands.get(mark.command_id, "")
    if not named:
        return mark.text
    action, _, rest = mark.text.partition(" ")
    return f"{action}{named} {rest}"


def _last_change(bandit: BanditHistory) -> Change | None:
    mark, reward, ts = bandit.last_mark, bandit.last_reward, bandit.last_reward_ts
    if reward is not None and (mark is None or ts >= mark.ts):
        return _close(bandit, reward, ts)
    return None if mark is None else Change(mark.ts, mark.kind, mark.text, mark.version)


def _close(bandit: BanditHistory, reward: Reward, ts: int) -> Change:
    """What the last close did to the weights: the arm that moved most, and what earned or lost."""
    cause, bound_bps = reward_text(reward), bandit.shape_at(reward.version).bound_bps
    if not reward.applied:
        return Change(ts, "close", cause, reward.version, "", cause)
    clipped_to_bps = bound_bps if bound_bps and abs(reward.reward_bps) > bound_bps else None
    clipped = "" if clipped_to_bps is None else f", clipped to {clipped_to_bps:,.0f}"
    step = _step_to(reward.version, bandit.vectors)
    move = "" if step is None else _moved_most(*step)
    others = 0 if step is None else step[1].version - step[0].version - 1
    more = "" if others < 1 else f", and {others:,} other {'close' if others == 1 else 'closes'}"
    text = f"{move}{' after ' if move else ''}{cause}{clipped}{more}"
    return Change(ts, "close", text, reward.version, move, f"{cause}{more}", clipped_to_bps)


def _moved_most(before: KeptVector, after: KeptVector) -> str:
    """ "" where no arm is in both."""
    most: tuple[float, str] | None = None
    for one in _moves(before, after):
        if one.before is not None and one.after is not None:
            moved = abs(one.after - one.before)
            if most is None or moved > most[0]:
                most = moved, f"{one.name} {_move_text(one.before, one.after)}"
    return "" if most is None else most[1]


def _move_text(before: float, after: float) -> str:
    """With as many digits as show the move."""
    for digits in (0, 1):
        old, new = (f"{100 * weight:.{digits}f}" for weight in (before, after))
        if old != new:
            return f"{old} \N{RIGHTWARDS ARROW} {new} %"
    return f"stays at {100 * after:.1f} %"


def reward_text(reward: Reward) -> str:
    """In a few words: which arms earned or lost what, and why it was not learned from where it was not."""
    names = [one.name for one in reward.arms if one.share]
    more = f" and {len(names) - _MOST_CHANGE_ARMS} more" if len(names) > _MOST_CHANGE_ARMS else ""
    who = ", ".join(names[:_MOST_CHANGE_ARMS]) + more or "a trade"
    said = f"{who} {'lost' if reward.reward_bps < 0 else 'earned'} {abs(reward.reward_bps):,.1f} bps"
    return said if reward.applied else f"{said}, withheld: {reward.detail}"


def _trades(found: Sum, since_ts: int | None = None) -> Trades:
    return Trades(round(found.weight), _rounded(found.mean_bps, 4), round(found.sum_bps, 3), since_ts)


def _gain(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    trades, *numbers = structs.astuple(interval)
    return Interval(trades, *(round(number, 4) for number in numbers)) if all(map(isfinite, numbers)) else None


def _regret(bandit: BanditHistory) -> RegretView | None:
    regret, decisions = bandit.earned.regret(), bandit.earned.decisions()
    if regret is None or not decisions or not isfinite(regret.low_bps):
        return None
    return RegretView(regret.arm, round(regret.cumulative_bps / decisions, 4), round(regret.low_bps / decisions, 4))


def _spark(series: Series, arms: Sequence[str]) -> Spark:
    at = slice(-SPARK_POINTS, None)
    return Spark(series.ts[at], [_numbers(series.column(name)[at], 3) for name in arms])


def _weights_over_time(bandit: BanditHistory) -> WeightsOverTime:
    """The rows that are kept, and the newest vector behind them."""
    series, vector = bandit.weights, bandit.vector
    names = [name for name in series.names() if name != VERSION]
    ts, versions = series.ts, [int(version) for version in series.column(VERSION)]
    columns = {name: series.column(name) for name in names}
    if vector is not None and versions and vector.version > versions[-1]:
        ts.append(bandit.vector_ts)
        versions.append(vector.version)
        weights = {arm.name: arm.weight for arm in vector.arms}
        names += [name for name in weights if name not in columns]
        for name in names:
            columns.setdefault(name, [float("nan")] * (len(ts) - 1)).append(weights.get(name, float("nan")))
    return WeightsOverTime(ts, versions, [_numbers(columns[name], 5) for name in names], names)


def _reward_over_time(bandit: BanditHistory) -> RewardOverTime:
    """The rows that are kept, and what it came to by the last reward: what the bandit's row says."""
    series = bandit.rewards
    ts, last, kept = series.ts, {}, len(series)
    if ts:
        last = bandit.earned.row(bandit.ever.sum_bps)
        kept -= bandit.last_reward_ts <= ts[-1]  # several of one moment
        ts = [*ts[:kept], bandit.last_reward_ts]
    names = dict.fromkeys([*(name for name in series.names()), *last])

    def column(name: str) -> Numbers:
        return _numbers([*series.column(name)[:kept], last.get(name, float("nan"))] if last else [], 3)

    arms = [name for name in names if not name.startswith("\0")]
    base = Band(column(earned.BASE), column(earned.BASE_LOW), column(earned.BASE_HIGH))
    return RewardOverTime(
        ts=ts,
        cumulative_bps=column(earned.CUMULATIVE),
        by_arm=ByArm(arms, [column(name) for name in arms]),
        above_uniform=Band(column(earned.UNIFORM), column(earned.UNIFORM_LOW), column(earned.UNIFORM_HIGH)),
        above_base=base if any(number is not None for number in base.bps) else None,
        regret_bps=column(earned.REGRET),
    )


def _reward(kept: KeptReward, vectors: Sequence[KeptVector]) -> RewardView:
    reward = decode(kept.value)
    assert isinstance(reward, Reward)
    step = _step_to(reward.version, vectors)
    return RewardView(
        version=reward.version,
        ts=kept.ts,
        position_id=reward.position_id,
        fill_event_id=reward.fill_event_id,
        close_event_id=reward.close_event_id,
        quantity=reward.quantity,
        reward_bps=_rounded(reward.reward_bps, 4),
        applied=reward.applied,
        counted=reward.counted,
        detail=reward.detail,
        weight=reward.weight,
        arms=[Part(arm.name, arm.share, arm.propensity, arm.estimate) for arm in reward.arms],
        propensity_source=reward.propensity_source,
        eta=reward.eta,
        published_version=None if step is None else step[1].version,
        moved=[] if step is None else _moves(*step),
    )


def _step_to(version: int, vectors: Sequence[KeptVector]) -> tuple[KeptVector, KeptVector] | None:
    """The last vector before it and the first that holds it; None where either is not kept."""
    after: KeptVector | None = None
    for one in reversed(vectors):
        if one.version < version:
            return None if after is None else (one, after)
        after = one
    return None


def _moves(before: KeptVector, after: KeptVector) -> list[Move]:
    old, new = (dict(zip(one.names, one.weights, strict=True)) for one in (before, after))
    return [Move(name, _rounded(old.get(name), 6), _rounded(new.get(name), 6)) for name in dict.fromkeys([*new, *old])]


# Operating


def partitions_of(group: GroupFacts, now: int) -> list[PartitionView]:
    found = []
    for place, facts in sorted(group.places.items()):
        owner, waiting = group.owner(place), facts.waiting_since_ts
        seconds = 0.0 if facts.lag_records == 0 else None
        if facts.lag_records and waiting is not None:
            seconds = round(max(now - waiting, 0) / 1e6, 1)
        found.append(
            PartitionView(
                place[0],
                place[1],
                facts.lag_records,
                seconds,
                facts.committed,
                facts.end,
                None if owner is None else Owner(owner.client_id, owner.host),
            )
        )
    return found


def members_of(group: GroupFacts, history: History) -> list[MemberView]:
    """A member's version is that of the program that wrote its tasks last."""
    found = []
    for member in group.members:
        versions = {history.tasks[number].version for _, number in member.places if number in history.tasks} - {""}
        found.append(
            MemberView(
                member.client_id,
                member.host,
                ", ".join(sorted(versions)) or None,
                [f"{topic}:{number}" for topic, number in sorted(member.places)],
            )
        )
    return found


def tasks_of(history: History) -> list[TaskView]:
    return [
        TaskView(task.task, task.version or None, task.snapshot_ts, task.settings)
        for _, task in sorted(history.tasks.items())
    ]


def dead_letters_of(history: History, now: int, *, with_last: bool) -> DeadLetters:
    by_class, last = history.letters_of_day(now), None
    if with_last:
        newest = sorted(history.dead_letters, key=lambda kept: -kept.ts)[:LETTERS_SHOWN]
        last = [letter_of(kept) for kept in newest]
    return DeadLetters(dict(sorted(by_class.items())), by_class.total(), last)


def letter_of(kept: KeptLetter) -> LetterView:
    letter: DeadLetter = kept.letter
    source = letter.source
    key = None if source.key is None else text_of(source.key)
    value, event = None if source.value is None else text_of(source.value), None
    try:
        event = decode(source.value)
        value = json.encode(event).decode()[:MOST_VALUE_CHARACTERS]
    except DecodeError:
        pass  # its bytes are what there is to see
    return LetterView(
        ts=kept.ts,
        error_class=letter.error_class,
        error=letter.error,
        topic=source.topic,
        partition=source.partition,
        offset=source.offset,
        key=key,
        headers=[(header.name, None if header.value is None else text_of(header.value)) for header in source.headers],
        value=value,
        event_id=getattr(event, "event_id", getattr(event, "command_id", None)),
        bandit_id=getattr(event, "bandit_id", key),
        remedy=_REMEDIES.get(letter.error_class, ""),
    )


def text_of(value: bytes) -> str:
    """Bytes as a reader can take them: what is no UTF-8 by its escapes."""
    return value.decode(errors="backslashreplace")[:MOST_VALUE_CHARACTERS]


# Numbers


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not isfinite(value) else round(value, digits)


def _numbers(values: Iterable[float], digits: int) -> Numbers:
    return [None if isnan(value) else round(value, digits) for value in values]
