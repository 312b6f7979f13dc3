"""A task's batches through the core: records in, what is to be published out.

Law: as Pipeline, and its bytes. An event that is unusual goes through the same `Batch` of the stages, at its place.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from armstream.codec import encode, encode_audited, encode_dead_letter
from armstream.core.published import BEGUN_ANEW, Measured, Output, Published
from armstream.core.runs import Runs
from armstream.core.state import CoreState
from armstream.events import Close, CommandApplied, Fill, Input, Reward, Source
from armstream.keys import page_key
from armstream.stages.bandit import weight_vector
from armstream.stages.pipeline import ApplyFailure, Batch, BatchByBatch

_SOURCES: Final = ("", "LOGGED", "CURRENT", "NONE")  # of a reward's propensity, "" where it was not applied


class CorePipeline(BatchByBatch[CoreState]):
    """Applies batches of records to one task's state in the core."""

    def __init__(self, state: CoreState, runs: Runs | None = None) -> None:
        super().__init__(state)
        self._runs = runs or Runs()

    def apply(
        self,
        records: Sequence[Any],
        next_offset: Mapping[str, int],
        read: Callable[[Sequence[Any]], Sequence[Input]],
        source_of: Callable[[Any], Source],
        hands_over: bool = False,
    ) -> Published:
        """One task's part of a batch. `read` and `source_of` are the intake's, for what the core does not take;
        with `hands_over` it takes nothing.

        Raises ApplyFailure from whatever went wrong, RuntimeError before the last batch has ended. After a failure
        only `rollback` is left.
        """
        self._begin()
        hands_over = hands_over or bool(self._state.to_begin_anew)
        return _CoreBatch(self._state, self._runs, records, next_offset, read, source_of).run(hands_over)


class _CoreBatch:
    """One batch on its way through the core, and through the stages where it is unusual."""

    def __init__(
        self,
        state: CoreState,
        runs: Runs,
        records: Sequence[Any],
        next_offset: Mapping[str, int],
        read: Callable[[Sequence[Any]], Sequence[Input]],
        source_of: Callable[[Any], Source],
    ) -> None:
        self._state, self._core, self._runs = state, state.core, runs
        self._records, self._topics, self._read = records, list(next_offset), read
        self._stages = Batch(state, len(records), lambda index: source_of(records[index]))
        self._audited = self._buried = self._clipped = 0  # of what the stages gave, that is published
        self._measured = Measured()
        self._at = 0  # the record that the stages have
        self._core.start(records, self._topics, [*next_offset.values()])

    def run(self, hands_over: bool) -> Published:
        core = self._core
        try:
            behind = self._by_stages(0, len(self._records)) if hands_over else 0
            while (stopped := core.go_on()) is not None:
                index, is_due = stopped
                self._runs.note_usual(index - behind)
                count = self._runs.next()
                if is_due:
                    self._end_due(index)
                    index, count = index + 1, count - 1
                behind = self._by_stages(index, count)
            self._runs.note_usual(len(self._records) - behind)
        except ApplyFailure:
            raise
        except BaseException as failure:
            _demand_fault(failure)
            raise ApplyFailure(core.at) from failure
        return self._published()

    def _by_stages(self, first: int, count: int) -> int:
        """They apply so many records, or as many as there are. Gives the place behind them."""
        state, stages, records = self._state, self._stages, self._records[first : first + count]
        if not records:
            return first
        self._at = first
        try:
            self._core.hand_over(count)
            state.look()
            if first == 0:
                stages.begin_anew()
            events = self._read(records)
            for self._at, event in enumerate(events, first):
                stages.apply(self._at, event)
            behind = first + len(records)
            times = [event.ts_event if isinstance(event, Fill | Close) else None for event in events]
            self._core.note_outcomes(first, bytes(stages.outcomes[first:behind]), times)
            self._give_back()
        except BaseException as failure:
            _demand_fault(failure)
            raise ApplyFailure(self._at) from failure
        return behind

    def _end_due(self, index: int) -> None:
        """What is due after a record that the core applied."""
        try:
            self._state.look()
            self._stages.expire(index, self._records[index].key().decode())
            self._give_back()
        except BaseException as failure:
            _demand_fault(failure)
            raise ApplyFailure(index) from failure

    def _give_back(self) -> None:
        """The core goes on with what the stages left, and what they gave is published at its place."""
        self._state.give_back()
        stages, core, measured = self._stages, self._core, self._measured
        audit, letters = stages.audit[self._audited :], stages.dead_letters[self._buried :]
        if not (audit or letters):
            return
        audit_indexes = stages.audit_indexes[self._audited :]
        letter_indexes = stages.dead_letter_indexes[self._buried :]
        cuts = {index: core.cut(index) for index in sorted({*audit_indexes, *letter_indexes})}
        clipped = {place - self._audited for place in stages.clipped[self._clipped :]}
        publish = core.rewards.append
        for place, (index, audited) in enumerate(zip(audit_indexes, audit, strict=True)):
            publish({"key": audited.bandit_id.encode(), "value": encode_audited(audited, cuts[index])})
            if isinstance(audited, Reward):
                measured.rewards_bps.append(audited.reward_bps)
                measured.appended_ms.append(self._records[index].timestamp()[1])
                measured.sources[audited.propensity_source or ""] += 1
                if audited.applied:
                    core.note_window(audited.bandit_id, place in clipped)
            else:
                self._note_command(audited)
        for index, letter in zip(letter_indexes, letters, strict=True):
            core.dead_letters.append({"key": letter.source.key, "value": encode_dead_letter(letter, cuts[index])})
            measured.dead_letters[letter.error_class] += 1
        measured.clipped += len(clipped)
        self._audited, self._buried = len(stages.audit), len(stages.dead_letters)
        self._clipped = len(stages.clipped)

    def _note_command(self, applied: CommandApplied) -> None:
        self._measured.commands[applied.action, applied.outcome] += 1
        if applied.action in ("SET_BOUND", "RESET") and applied.outcome == "APPLIED":
            self._core.note_window(applied.bandit_id, BEGUN_ANEW)

    def _published(self) -> Published:
        state, core, measured = self._state, self._core, self._measured
        offsets, reached, outcomes, topic_of = core.ends()
        pages, forgotten_pages = state.changed_pages()
        positions, forgotten = core.changed_positions()
        vectors, snapshots = self._bandits()
        rewards_bps, appended_ms, sources, clipped, orphans = core.measured()
        counted = Counter(zip(topic_of, outcomes, strict=True))
        measured.outcomes.update({(self._topics[topic], outcome): n for (topic, outcome), n in counted.items()})
        measured.rewards_bps += rewards_bps
        measured.appended_ms += appended_ms
        measured.sources.update(dict(zip(_SOURCES, sources, strict=True)))
        measured.clipped += clipped
        if orphans:
            measured.dead_letters["ORPHAN_CLOSE"] += orphans
        return Published(
            core.rewards,
            core.dead_letters,
            vectors,
            [*snapshots, *({"key": name.encode()} for name in core.forgotten_bandits())],
            [
                *(
                    {"key": page_key(page.bandit_id, page.position_id, page.number).encode(), "value": encode(page)}
                    for page in pages
                ),
                *positions,
                *forgotten,
                *({"key": key.encode()} for key in forgotten_pages),
            ],
            dict(zip(self._topics, offsets, strict=True)),
            {topic: time for topic, time in zip(self._topics, reached, strict=True) if time is not None},
            measured,
        )

    def _bandits(self) -> tuple[list[Output], list[Output]]:
        """Vectors and snapshots; those whose learner Python has, it writes."""
        vectors, snapshots = [], []
        for name, vector, snapshot, window, advanced in self._core.touched_bandits():
            if window:
                self._measured.windows[name] = window
            if snapshot is not None:
                snapshots.append(snapshot)
                if vector is not None:
                    vectors.append(vector)
                continue
            bandit, key = self._state.bandit(name), name.encode()
            assert bandit is not None  # it is touched
            snapshots.append({"key": key, "value": encode(self._state.bandit_snapshot(bandit))})
            if advanced:
                vectors.append({"key": key, "value": encode(weight_vector(bandit))})
        return vectors, snapshots


def _demand_fault(failure: BaseException) -> None:
    """Raises it again where it is no fault but a signal. A panic of the core is one, and no Exception to Python."""
    if not isinstance(failure, Exception) and type(failure).__module__ != "pyo3_runtime":
        raise failure
