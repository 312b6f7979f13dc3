"""One vector explained, from chunks of its topics: pure. Law: what was published comes from the log, what is worked out
from the oracle, and where both are there they are compared."""

from collections.abc import Mapping, Sequence

from armstream.events import Close, Command, CommandApplied, Fill, Reward
from armstream.explain.audit import Audit, Entry
from armstream.explain.backwards import Chunks
from armstream.explain.facts import (
    ArmMove,
    ArmTold,
    CloseRead,
    ExpertMove,
    Explanation,
    FillRead,
    NotThere,
    Part,
    Read,
    Result,
)
from armstream.explain.inputs import Behind, Inputs
from armstream.explain.replay import Lesson, Reading, Replay, Replayed, why_missing
from armstream.explain.sentences import command_text, reward_text, settings_text
from armstream.explain.states import MOST_REPLAYED, Base, Vector, base_of, vectors_of
from armstream.oracle.comparison import Difference
from armstream.oracle.matching import parts_of_reward
from armstream.oracle.settings import told
from armstream.rules import formula_of
from armstream.stages.facts import SETTINGS_CHANGE


def explain(topics: Chunks, bandit_id: str, *, version: int | None = None, at_micros: int | None = None) -> Explanation:
    """Of the vector that a version was published with, or of the newest by a time. Raises NotThere, TooLong."""
    try:
        return _explain(topics, bandit_id, version, at_micros)
    except Difference as difference:  # in a record that it would start from
        raise NotThere(f"{bandit_id!r} cannot be explained: {difference}") from difference


def _explain(topics: Chunks, bandit_id: str, version: int | None, at_micros: int | None) -> Explanation:
    audit = Audit(topics, bandit_id)
    asked = audit.version_at(at_micros or 0) if version is None else version
    audit.require(asked)
    first, last = audit.together_with(asked)
    vectors = vectors_of(topics, first - 1, last)
    base, inputs, entries = base_of(topics, bandit_id, audit, first - 1), Inputs(topics), audit.span(first, last)
    if isinstance(base, str):
        inputs.read(entries, entries[-1])
        replayed = Replayed(missing=base)
    else:
        replayed = _replay(topics, bandit_id, audit, base, inputs, vectors, entries)
    parts = tuple(_part(topics, entry, inputs, replayed.lessons.get(entry.version)) for entry in entries)
    result, text = _verdict(replayed)
    before, after = (vectors.get(one) for one in (first - 1, last))
    rule, estimator = _rule(base, after or before)
    return Explanation(
        bandit_id=bandit_id,
        version=last,
        asked_version=version,
        first_version=first,
        rule=rule,
        estimator=estimator,
        result=result,
        text=text,
        state_from=_state_from(base, first - 1),
        published_ts=entries[-1].ts_micros,
        ts=entries[-1].event.ts_event if after is None else after.vector.ts_event,
        before=_read(first - 1, before, replayed.before),
        after=_read(last, after, replayed.after),
        arms=tuple(_arm_moves(before, after, replayed)),
        experts=tuple(_expert_moves(before, after, replayed)),
        parts=parts,
        reading=replayed.reading,
        notes=tuple(_notes(topics, asked, first, last, before, after)),
    )


def _replay(
    topics: Chunks,
    bandit_id: str,
    audit: Audit,
    base: Base,
    inputs: Inputs,
    vectors: Mapping[int, Vector],
    told_entries: Sequence[Entry],
) -> Replayed:
    """Where the newest records under the events' ids differ, it looks for older ones and for what was refused."""
    first, last = told_entries[0].version, told_entries[-1].version
    entries = audit.span(base.version + 1, last)
    earlier = _earlier_parts(audit, base, entries)
    needed = [one for one in entries if one.version >= first or (isinstance(one.event, Reward) and one.event.applied)]
    for is_whole in (False, True):
        inputs.read(needed, entries[-1], is_whole)
        replayed = Replay(bandit_id, base, inputs, vectors, earlier, topics.require_patience).run(entries, first)
        if replayed.difference is None:
            break
    return replayed


def _earlier_parts(audit: Audit, base: Base, entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """By position, the parts of its decision before the base, where the rule asks for them, and changes of settings
    between them. One whose first part is deleted has none."""
    if not formula_of(told(base.settings)).keeps_terms:
        return {}
    begun: set[str] = set()
    wanted: set[str] = set()
    for entry in entries:
        if isinstance(entry.event, Reward) and entry.event.applied:
            if entry.event.counted:
                begun.add(entry.event.position_id)
            elif entry.event.position_id not in begun:
                wanted.add(entry.event.position_id)
    parts: dict[str, list[Entry]] = {position_id: [] for position_id in wanted}
    version = base.version
    while wanted and version > max(0, base.version - MOST_REPLAYED) and audit.read_back_to(version):
        entry = audit.at(version)
        version -= 1
        event = entry.event
        if isinstance(event, CommandApplied):
            if event.command_id == SETTINGS_CHANGE:
                for position_id in wanted:
                    parts[position_id].append(entry)
        elif event.applied and event.position_id in wanted:
            parts[event.position_id].append(entry)
            if event.counted:
                wanted.discard(event.position_id)
    return {position_id: found[::-1] for position_id, found in parts.items() if position_id not in wanted}


def _verdict(replayed: Replayed) -> tuple[Result, str]:
    if replayed.difference is not None:
        return "differs", str(replayed.difference)
    if replayed.missing:
        return "unchecked", f"not checked: {replayed.missing}"
    return "agrees", "the oracle comes to the same numbers, each within 1e-10 of its size"


def _state_from(base: Base | str, before: int) -> str:
    if isinstance(base, str):
        return ""
    after = before - base.version
    more = f" and {after:,} audit records after it" if after else ""
    return f"the beginning{more}" if base.snapshot is None else f"the snapshot of version {base.version}{more}"


def _rule(base: Base | str, vector: Vector | None) -> tuple[str, str]:
    if vector is not None:
        return vector.vector.algorithm, vector.vector.estimator
    if isinstance(base, str):
        return "", ""
    settings = told(base.settings)
    return str(settings["algorithm"]), str(settings["estimator"])


def _notes(topics: Chunks, asked: int, first: int, last: int, before: Vector | None, after: Vector | None) -> list[str]:
    notes = []
    if first < last:
        versions = f"versions {first} to {last} were published together, as one vector"
        notes.append(versions if asked == last else f"version {asked} has no vector of its own: {versions}")
    gone = [version for version, one in ((first - 1, before), (last, after)) if one is None and version]
    if gone:
        which = f"version{'s' if len(gone) > 1 else ''} {' and '.join(map(str, gone))}"
        notes.append(
            f"compaction took {which} from {topics.names.weights}: their weights are the oracle's, by the audit log"
        )
    return notes


# What stands before and after.


def _read(version: int, published: Vector | None, reading: Reading | None) -> Read | None:
    if published is not None:
        vector = published.vector
        bound = vector.reward_bound_bps or None
        return Read(version, vector.total_steps, vector.eta, bound, vector.phase, vector.blend_alpha, True)
    if reading is None:
        return None
    return Read(version, reading.total_steps, reading.eta, reading.bound_bps, None, None, False)


def _weights(published: Vector | None, reading: Reading | None) -> Mapping[str, tuple[float, float]]:
    """What was published, where it still stands."""
    if published is not None:
        return {arm.name: (arm.weight, arm.probability) for arm in published.vector.arms}
    return {} if reading is None else reading.arms


def _arm_moves(before: Vector | None, after: Vector | None, replayed: Replayed) -> list[ArmMove]:
    was, now = _weights(before, replayed.before), _weights(after, replayed.after)
    nothing = (None, None)
    return [
        ArmMove(
            name,
            was.get(name, nothing)[0],
            now.get(name, nothing)[0],
            was.get(name, nothing)[1],
            now.get(name, nothing)[1],
        )
        for name in {**was, **now}
    ]


def _trust(published: Vector | None, reading: Reading | None) -> Mapping[str, float]:
    if published is not None:
        return {expert.name: expert.weight for expert in published.vector.experts}
    return {} if reading is None else reading.experts


def _expert_moves(before: Vector | None, after: Vector | None, replayed: Replayed) -> list[ExpertMove]:
    was, now = _trust(before, replayed.before), _trust(after, replayed.after)
    return [ExpertMove(name, was.get(name), now.get(name)) for name in {**was, **now}]


# Parts.


def _part(topics: Chunks, entry: Entry, inputs: Inputs, lesson: Lesson | None) -> Part:
    event, lesson = entry.event, lesson or Lesson((), ())
    if isinstance(event, Reward):
        return _reward_part(topics.number, event, inputs.behind(event), lesson)
    is_change = event.command_id == SETTINGS_CHANGE
    command: Command | None = None
    if not is_change:
        command = inputs.command(event)
    return Part(
        "settings" if is_change else "command",
        event.version,
        event.ts_event,
        settings_text(event) if is_change else command_text(event, command),
        detail="" if is_change else event.detail,
        action=event.action,
        outcome=event.outcome,
        command_id=event.command_id,
        moved=lesson.moved,
        missing=f"command {event.command_id!r} is deleted" if command is None and not is_change else None,
    )


def _reward_part(number: int, reward: Reward, behind: Behind, lesson: Lesson) -> Part:
    gross, fill_fees, close_fees, slippage = _parts_of(reward, behind)
    return Part(
        "reward",
        reward.version,
        reward.ts_event,
        reward_text(reward, behind),
        reward.position_id,
        reward.quantity,
        reward.weight,
        reward.reward_bps,
        gross,
        fill_fees,
        close_fees,
        slippage,
        reward.applied,
        reward.counted,
        reward.detail,
        _fill_read(number, behind),
        _close_read(number, behind),
        None if behind.fill is None else behind.fill.arm,
        reward.propensity_source,
        reward.eta,
        tuple(ArmTold(arm.name, arm.share, arm.propensity, arm.estimate) for arm in reward.arms),
        lesson.steps,
        lesson.moved,
        missing=why_missing(reward, behind) or None,
    )


def _parts_of(reward: Reward, behind: Behind) -> tuple[float | None, float | None, float | None, float | None]:
    """None where an event is deleted, nothing was closed, or doubles do not hold it."""
    if behind.fill is None or behind.close is None or reward.detail.startswith("written off: "):
        return None, None, None, None
    try:
        return parts_of_reward(behind.fill, behind.close)
    except OverflowError:
        return None, None, None, None


def _fill_read(number: int, behind: Behind) -> FillRead | None:
    fill, at = behind.fill, behind.fill_at
    if not isinstance(fill, Fill) or at is None:
        return None
    return FillRead(
        fill.event_id,
        at.topic,
        number,
        at.offset,
        fill.ts_event,
        fill.instrument_id,
        fill.side,
        fill.quantity,
        fill.price,
        fill.fees,
        fill.multiplier,
        fill.notional,
        fill.currency,
        fill.arm,
        fill.propensity,
        fill.contributions,
        fill.signals,
        fill.order_quantity,
    )


def _close_read(number: int, behind: Behind) -> CloseRead | None:
    close, at = behind.close, behind.close_at
    if not isinstance(close, Close) or at is None:
        return None
    return CloseRead(
        close.event_id,
        at.topic,
        number,
        at.offset,
        close.ts_event,
        close.quantity,
        close.price,
        close.fees,
        close.slippage,
        close.slippage_in_price,
        close.final,
    )
