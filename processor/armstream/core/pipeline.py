"""A task's batches through the core: records in, what is to be published out.

Law: as Pipeline, and its bytes. An event that is unusual goes through the same `Batch` of the stages, at its place.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from armstream.codec import encode, encode_audited, encode_dead_letter
from armstream.core.published import BEGUN_ANEW, Measured, Output, Published
from armstream.core.state import CoreState
from armstream.events import Close, CommandApplied, Fill, Input, Reward, Source
from armstream.keys import page_key
from armstream.stages.bandit import weight_vector
from armstream.stages.pipeline import ApplyFailure, Batch, BatchByBatch

# Where the core stops: at a record that is unusual; at what is due after one; at one whose bandit the stages have.
_EVENT, _DUE, _OUT = 1, 2, 3
_SOURCES: Final = ("", "LOGGED", "CURRENT", "NONE")  # of a reward's propensity, "" where it was not applied


class CorePipeline(BatchByBatch[CoreState]):
    """Applies batches of records to one task's state in the core."""

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
        return _CoreBatch(self._state, records, next_offset, read, source_of, hands_over).run()


class _CoreBatch:
    """One batch on its way through the core, and through the stages where it is unusual."""

    def __init__(
        self,
        state: CoreState,
        records: Sequence[Any],
        next_offset: Mapping[str, int],
        read: Callable[[Sequence[Any]], Sequence[Input]],
        source_of: Callable[[Any], Source],
        hands_over: bool,
    ) -> None:
        self._state, self._core = state, state.core
        self._records, self._topics, self._read = records, list(next_offset), read
        self._stages = Batch(state, len(records), lambda index: source_of(records[index]))
        self._audited = self._buried = self._clipped = 0  # of what the stages gave, that is published
        self._dead_letters: list[Output] = []
        self._measured = Measured()
        self._core.start(records, self._topics, [*next_offset.values()], hands_over or bool(state.to_begin_anew))

    def run(self) -> Published:
        core = self._core
        try:
            while (stopped := core.go_on()) is not None:
                index, what = stopped
                try:
                    if what == _OUT:
                        self._state.settle()
                    else:
                        self._by_stages(index, what == _EVENT)
                    self._state.look_away()
                except BaseException as failure:
                    _demand_fault(failure)
                    raise ApplyFailure(index) from failure
        except ApplyFailure:
            raise
        except BaseException as failure:
            _demand_fault(failure)
            raise ApplyFailure(core.at) from failure
        return self._published()

    def _by_stages(self, index: int, is_event: bool) -> None:
        state, stages, record = self._state, self._stages, self._records[index]
        state.forget_pages()
        if not is_event:
            stages.expire(index, record.key().decode())
        else:
            if index == 0:
                stages.begin_anew()
            (event,) = self._read([record])
            stages.apply(index, event)
            reached = event.ts_event if isinstance(event, Fill | Close) else None
            self._core.note_outcome(index, stages.outcomes[index], reached)
        self._take_over(record)

    def _take_over(self, record: Any) -> None:
        """What the stages gave since is published at its place."""
        stages, core, measured = self._stages, self._core, self._measured
        audit, letters = stages.audit[self._audited :], stages.dead_letters[self._buried :]
        if not (audit or letters):
            return
        cut = core.cut()
        clipped = {place - self._audited for place in stages.clipped[self._clipped :]}
        for place, audited in enumerate(audit):
            core.rewards.append({"key": audited.bandit_id.encode(), "value": encode_audited(audited, cut)})
            if isinstance(audited, Reward):
                measured.rewards_bps.append(audited.reward_bps)
                measured.appended_ms.append(record.timestamp()[1])
                measured.sources[audited.propensity_source or ""] += 1
                if audited.applied:
                    core.note_window(audited.bandit_id, place in clipped)
            else:
                self._note_command(audited)
        for letter in letters:
            self._dead_letters.append({"key": letter.source.key, "value": encode_dead_letter(letter, cut)})
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
        state.settle()
        offsets, reached, outcomes, topic_of = core.ends()
        pages, forgotten_pages = state.changed_pages()
        positions, forgotten = core.changed_positions()
        vectors, snapshots = self._bandits()
        rewards_bps, appended_ms, sources, clipped = core.measured()
        counted = Counter(zip(topic_of, outcomes, strict=True))
        measured.outcomes.update({(self._topics[topic], outcome): n for (topic, outcome), n in counted.items()})
        measured.rewards_bps += rewards_bps
        measured.appended_ms += appended_ms
        measured.sources.update(dict(zip(_SOURCES, sources, strict=True)))
        measured.clipped += clipped
        return Published(
            core.rewards,
            self._dead_letters,
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
