"""One partition from its first record, or a state of verify's, to where its task stands, pure: shadow and oracle.

Law: the inputs are applied by the recorded cuts, and what comes out must be what was published at that cut, no more and
no less; then the oracle must come to the same numbers. Only then is it state. A bandit that nothing follows about is
left out from there on, and named.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import TypeVar

from msgspec import structs

from armstream.codec import DecodeError, decode
from armstream.events import (
    BanditSnapshot,
    Close,
    Command,
    CommandApplied,
    DeadLetter,
    Fill,
    Input,
    PositionPage,
    PositionSnapshot,
    Rejected,
    Reward,
    TaskSettings,
)
from armstream.oracle.bandit import BanditOracle, Laws
from armstream.oracle.comparison import Difference, require
from armstream.oracle.matching import Segment
from armstream.oracle.memory import TaskMemory
from armstream.oracle.position import Position, open_fills
from armstream.oracle.settings import told
from armstream.rules import formula_of
from armstream.runtime.intake import Record
from armstream.stages.facts import SETTINGS_CHANGE
from armstream.verify.given import given
from armstream.verify.orders import EVERYBODY, Orders
from armstream.verify.outputs import Outputs
from armstream.verify.published import (
    Account,
    Ahead,
    Audited,
    PartitionLog,
    Published,
    Snapshots,
    State,
    Timed,
    place,
    place_of,
    settings_changed,
    until,
)
from armstream.verify.same import require_same, said
from armstream.verify.shadow import DEAD_LETTER, DUPLICATE, Applied, Rules, Shadow
from armstream.verify.window import Window, bandit_of, is_of_time

BATCH_RECORDS = 5_000

Step = tuple[Window, Sequence[Record]]
S = TypeVar("S", BanditSnapshot, PositionSnapshot, PositionPage)


class _NotSoError(Difference):
    """Something else comes out than was published, in the order that was tried."""


class LeftOut:
    """The bandits that nothing follows about; all of them, once EVERYBODY is."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def add(self, bandit_id: str) -> None:
        self._names.add(bandit_id)

    def __contains__(self, bandit_id: object) -> bool:
        return bandit_id in self._names or EVERYBODY in self._names

    def __bool__(self) -> bool:
        return bool(self._names)


class History:
    """One partition's walk. `oracles` are the bandits by the formulas, `left_out` those that nothing follows about."""

    def __init__(self, log: PartitionLog, rules: Rules, shadow: Shadow) -> None:
        self.log = log
        self.rules = rules
        self.shadow = shadow
        self.account = Account()
        self.oracles: dict[str, BanditOracle] = {}
        self.left_out = LeftOut()
        self._unknown_events = (
            0  # at most so many positions and waiting closes are others, of bandits that were left out
        )
        self._unpublished: list[DeadLetter] = []  # what follows and is not there, of the last batch
        self._memory = TaskMemory(shadow.rules.rewards.max_positions_remembered)
        self._orders = Orders(log, shadow, self.oracles)
        self.published = Published(log, {name: one.version for name, one in shadow.bandits.items()}, True)
        self._outputs = Outputs(self)
        self._inputs = {name: Ahead(records) for name, records in log.inputs.items()}
        self._pending: list[Window] = []
        self._pending_records = 0
        self._noted = {name: one.version for name, one in shadow.bandits.items()}
        self._causes: dict[str, set[tuple[str, int]]] = {}
        self.lacks_letters = log.first[log.topics.dead_letters] > log.begins.get(log.topics.dead_letters, 0)
        self._carry()

    def _carry(self) -> None:
        """The oracle begins where the shadow does."""
        for bandit in self.shadow.bandits.values():
            self._oracle(bandit.bandit_id).restore(bandit)
        for position in self.shadow.positions.values():
            pages = self.shadow.pages_of(position)
            self._oracle(position.bandit_id).restore_position(position, pages)
            self.account.counts["carried"] += len(list(open_fills(position, pages))) + len(position.waiting)
        self.shadow.expect(self.log.first_settings)

    def check(self) -> Account:
        """Raises Difference for the first thing that is not as it should be."""
        for same in self.published.by_cut():
            self._take(same)
        self._flush()
        self._outputs.finish()
        self.account.state = self._state()
        return self.account

    def _state(self) -> State | None:
        """Bandits that were left out begin anew at their snapshots, where those are all of one moment."""
        if not self.left_out:
            shadow, next_offset = self.shadow, {**self.published.next_offset, **self.log.stands_at}
            kept = list(shadow.bandits.values()), list(shadow.positions.values()), list(shadow.pages.values())
            return State(next_offset, shadow.in_force, *kept)
        if dict(self.log.settled) != dict(self.log.stands_at):
            return None
        state = given(self.log)
        return State(
            {**self.published.next_offset, **self.log.stands_at},
            self.shadow.in_force,
            self._mended(self.shadow.bandits.values(), state.bandits),
            self._mended(self.shadow.positions.values(), state.positions),
            self._mended(self.shadow.pages.values(), state.pages),
        )

    def _mended(self, ours: Iterable[S], theirs: Iterable[S]) -> list[S]:
        """Theirs of bandits that were left out, ours of the others."""
        kept = [one for one in ours if one.bandit_id not in self.left_out]
        return kept + [one for one in theirs if one.bandit_id in self.left_out]

    # From cut to cut.

    def _take(self, same: list[Timed]) -> None:
        window = self._window(same)
        if window.letters and self.lacks_letters:
            self._flush()
        self._pending.append(window)
        self._pending_records += sum(map(len, window.parts.values()))
        for _, fact in window.audited:
            self._noted[fact.bandit_id] = fact.version
        if window.changes or self._pending_records >= BATCH_RECORDS or self._outputs.is_due(self._noted):
            self._flush()
        if window.letters and self.lacks_letters:
            self._flush()
            self.lacks_letters = False
        for one in same[len(window.audited) + len(window.letters) :]:
            self._flush()
            if isinstance(one.fact, Snapshots):
                self._outputs.compare_snapshots(one.fact)
                require(one.where, [("settings in force", one.fact.task.settings, self.shadow.in_force)])
            elif isinstance(one.fact, TaskSettings):
                self._restart(one.where, one.fact.settings)
            else:  # from here on, positions may have been read before they were touched
                self._outputs.is_moving = True
        if not self._pending:
            self._outputs.compare_vectors()

    def _window(self, same: list[Timed]) -> Window:
        cut = same[0].cut
        parts = {name: part for name, ahead in self._inputs.items() if (part := until(ahead, cut[name]))}
        audited = [(one.where, one.fact) for one in same if isinstance(one.fact, Reward | CommandApplied)]
        letters = [(one.where, one.fact) for one in same if isinstance(one.fact, DeadLetter)]
        obeyed = [(where, fact) for where, fact in audited if isinstance(fact, CommandApplied)]
        changes = [(where, fact) for where, fact in obeyed if fact.command_id == SETTINGS_CHANGE]
        window = Window(cut, parts, audited, letters, changes)
        for where, letter in letters:
            source = letter.source
            if not is_of_time(letter) and cut.get(source.topic) != source.offset + 1:
                raise Difference(where, f"a dead letter of {place(source)} at the cut {cut}", "none there")
            if letter.error_class == "SKIPPED":
                self.shadow.skip((source.topic, source.partition, source.offset))
        return window

    def _restart(self, where: str, settings: str) -> None:
        try:
            self.shadow.restart(settings)
        except (ValueError, TypeError, KeyError) as error:
            raise Difference(where, f"settings {settings[:100]!r}", "those of a task, as JSON") from error
        self._memory.max_positions = self.shadow.rules.rewards.max_positions_remembered
        for oracle in self.oracles.values():
            oracle.laws = self._laws

    def _flush(self) -> None:
        """Applies what is pending as one batch; where that cannot be, or an order is in doubt, cut by cut."""
        windows, self._pending, self._pending_records = self._pending, [], 0
        unordered = [window for window in windows if not window.is_ordered]
        is_doubtful = bool(unordered) and (self.lacks_letters or self._orders.may_hide(windows))
        is_plain = not is_doubtful and not any(window.changes or self._unregistered(window) for window in windows)
        try:
            if is_plain:
                self._apply([(window, self._likely(window)) for window in windows])
                for window in unordered:
                    self._note_causes(window)
                return
        except _NotSoError:
            if not unordered and not self.lacks_letters:
                raise
        for window in windows:
            self._apply_alone(window)

    def _likely(self, window: Window) -> Sequence[Record]:
        """The likeliest order."""
        if window.is_ordered:
            return next(iter(window.parts.values()), ())
        return next(window.orders(self._last(window)))

    def _last(self, window: Window) -> list[str]:
        """The topics whose record can have made what was published at the cut, the likelier first."""
        ends = window.ends()
        if len(ends) < 2:
            return ends
        named, sources = window.names(), window.sources()

        def is_likely(topic: str) -> bool:
            record = window.parts[topic][-1]
            if sources:
                return (topic, record.offset()) in sources
            (event,) = self.shadow.read([record])
            name = event.command_id if isinstance(event, Command) else getattr(event, "event_id", "")
            return not named or name in named

        likely = [topic for topic in ends if is_likely(topic)]
        return likely or ends

    def _apply_alone(self, window: Window) -> None:
        for bandit_id in self._orders.hidden_in(window):
            self.leave_out(bandit_id, _HIDDEN)
        last = self._last(window)
        while True:
            first: Difference | None = None
            orders = list(window.orders(last)) if window.parts else [[]]
            for records in orders[:1] if window.changes else orders:
                try:
                    known = set(self.shadow.bandits) if self.lacks_letters else set()
                    self._apply_changing(window, records)
                except _NotSoError as not_so:
                    first = first or not_so
                else:
                    self._note_causes(window)
                    for bandit_id in self._orders.told_by_refusals(window, self._unpublished, known):
                        self.leave_out(bandit_id, _GONE)
                    return
            assert first is not None  # there is always an order
            if not first.bandit_id or first.bandit_id in self.left_out:
                raise first
            if self.lacks_letters:
                self.leave_out(first.bandit_id, f"a dead letter of it may be gone, or {first}")
            elif self._orders.may_decide(window, first.bandit_id):
                self.leave_out(first.bandit_id, _HIDDEN)
            else:
                raise first

    def _apply_changing(self, window: Window, records: Sequence[Record]) -> None:
        """A change of settings stands before the last record: what comes before it is applied first."""
        unregistered = self._unregistered(window)
        if (window.changes or unregistered) and records:
            self._apply([(Window(window.cut, {}), records[:-1])])
            for where, fact in window.changes:
                self.shadow.begin_anew(fact.bandit_id, *settings_changed(where, fact))
            records = records[-1:]
        with self.shadow.unregistered(unregistered) if unregistered else nullcontext():
            self._apply([(window, records)])

    def _unregistered(self, window: Window) -> str:
        """A bandit that was refused here as one that may not be, and whose closes wait from when it might; else "".
        Its events tell it the time."""
        for _, letter in window.letters:
            bandit_id, is_of_trade = bandit_of(letter), letter.source.topic in self.log.topics.trades
            waits = bandit_id in self.shadow.bandits and not self.shadow.has_learner(bandit_id)
            if letter.error_class == "UNKNOWN_BANDIT" and is_of_trade and waits:
                return bandit_id
        return ""

    def _note_causes(self, window: Window) -> None:
        """Where more than one event can have come last, each of them may stand in what is published next."""
        last = self._last(window) if len(window.parts) > 1 else []
        if len(last) > 1 and any(isinstance(fact, Reward) for _, fact in window.audited):
            events = self.shadow.read([window.parts[topic][-1] for topic in last])
            causes = {(one.event_id, one.ts_event) for one in events if isinstance(one, Fill | Close)}
            for _, fact in window.audited:
                self._causes[fact.bandit_id] = causes
        else:
            for _, fact in window.audited:
                self._causes.pop(fact.bandit_id, None)

    def is_cause(self, bandit_id: str, cause: tuple[str, int]) -> bool:
        return cause in self._causes.get(bandit_id, ())

    def leave_out(self, bandit_id: str, why: str) -> None:
        if bandit_id not in self.left_out:
            self.left_out.add(bandit_id)
            self._unknown_events += sum(one.bandit_id == bandit_id for one in self.shadow.positions.values())
            who = "all bandits" if bandit_id == EVERYBODY else f"bandit {bandit_id!r}"
            self.account.leave_out(f"{who} from here on: {why}")

    def _leave_out_the_rest(self, events: Sequence[Input]) -> None:
        """Who has to make room hangs on all bandits together: nothing follows, where one was left out."""
        if self.left_out and EVERYBODY not in self.left_out:
            self._unknown_events += sum(getattr(event, "bandit_id", "") in self.left_out for event in events)
            if self.shadow.is_full_after(len(events) + self._unknown_events):
                self.leave_out(EVERYBODY, "a limit of the task is near, and how near hangs on what was left out")

    # One batch.

    def _apply(self, steps: Sequence[Step]) -> None:
        """Raises _NotSoError, and then nothing has changed; Difference where the oracle comes to something else."""
        records = [record for _, part in steps for record in part]
        due: dict[int, Window] = {}
        at = -1
        for window, part in steps:
            at += len(part)
            if window.audited or window.letters:
                if not part:
                    where, fact = (window.audited or window.letters)[0]
                    raise Difference(where, said(fact), f"nothing: no record was read on the way to {window.cut}")
                due[at] = window
        if not records:
            return
        events = self._at_their_word(records, due)
        self._leave_out_the_rest(events)
        applied = self.shadow.apply(records, events)
        try:
            self._compare(records, due, applied)
        except Difference as found:
            self.shadow.rollback()
            raise _NotSoError(found.where, found.published, found.derived, found.bandit_id) from None
        self._follow(records, events, due, applied)
        self.shadow.commit()
        self._outputs.note(applied)

    def _at_their_word(self, records: Sequence[Record], due: dict[int, Window]) -> list[Input]:
        """Events, but for those whose bandit was not registered then."""
        events = self.shadow.read(records)
        for index, window in due.items():
            event, own = events[index], (records[index].topic(), records[index].offset())
            if not isinstance(event, Fill | Close) or event.bandit_id in self.shadow.bandits:
                continue
            for _, letter in window.letters:
                is_of_it = (letter.source.topic, letter.source.offset) == own
                if is_of_it and letter.error_class == "UNKNOWN_BANDIT":
                    events[index] = Rejected(letter.error_class, letter.error, letter.ts_event)
        return events

    def _compare(self, records: Sequence[Record], due: dict[int, Window], applied: Applied) -> None:
        """What was published at each cut, and what comes out there."""
        self._unpublished.clear()
        audits: defaultdict[int, list[Audited]] = defaultdict(list)
        for record, index in zip(applied.audit, applied.audit_indexes, strict=True):
            audits[index].append(record)
        letters: defaultdict[int, list[DeadLetter]] = defaultdict(list)
        for letter, index in zip(applied.dead_letters, applied.dead_letter_indexes, strict=True):
            letters[index].append(letter)
        for index in sorted(audits.keys() | letters.keys() | due.keys()):
            window, at = due.get(index), records[index]
            if window is not None and window.cut[at.topic()] != at.offset() + 1:
                where, fact = (window.audited or window.letters)[0]
                raise Difference(where, f"the cut {window.cut}", f"one that ends with {place_of(at)}", _whose(fact))
            self._compare_audit(window.audited if window else [], audits[index], at)
            self._compare_letters(window.letters if window else [], letters[index])

    def _compare_audit(self, published: list[tuple[str, Audited]], derived: list[Audited], at: Record) -> None:
        if self.left_out:
            published = [one for one in published if one[1].bandit_id not in self.left_out]
            derived = [one for one in derived if one.bandit_id not in self.left_out]
        for (where, theirs), ours in zip(published, derived, strict=False):
            if theirs != structs.replace(ours, cut=theirs.cut):
                _compare_one(where, theirs, ours)
        if len(published) > len(derived):
            where, extra = published[len(derived)]
            what = "reward" if isinstance(extra, Reward) else "command"
            raise Difference(where, said(extra), f"no {what} here", extra.bandit_id)
        if len(derived) > len(published):
            missing = derived[len(published)]
            where = f"{self.log.topics.rewards}:{self.log.number}, at {place_of(at)}"
            what = "reward" if isinstance(missing, Reward) else "CommandApplied"
            raise Difference(where, f"no such {what}", said(missing), missing.bandit_id)

    def _compare_letters(self, published: list[tuple[str, DeadLetter]], derived: list[DeadLetter]) -> None:
        if self.left_out:
            published = [one for one in published if bandit_of(one[1]) not in self.left_out]
            derived = [one for one in derived if bandit_of(one) not in self.left_out]
        left = {(one.source.topic, one.source.offset, one.source.key): one for one in derived}
        for where, theirs in published:
            source = theirs.source
            ours = left.pop((source.topic, source.offset, source.key), None)
            if ours is None:
                raise Difference(where, said(theirs), "none there", bandit_of(theirs))
            try:
                require_same(where, theirs, ours, _CUT)
            except Difference as found:
                found.bandit_id = bandit_of(theirs)
                raise
        for missing in left.values():
            self._unpublished.append(missing)
            if not self.lacks_letters:
                raise Difference(place(missing.source), "no dead letter of it", said(missing), bandit_of(missing))

    # The oracle.

    def _oracle(self, bandit_id: str) -> BanditOracle:
        oracle = self.oracles.get(bandit_id)
        if oracle is None:
            first = self.log.first_settings.get(bandit_id)
            settings = told(first) if first else self.rules.resolved(bandit_id)
            memory = self._memory.of(bandit_id)
            oracle = self.oracles[bandit_id] = BanditOracle(bandit_id, settings, self._laws, formula_of, memory)
        return oracle

    @property
    def _laws(self) -> Laws:
        limits = self.shadow.rules.rewards
        return Laws(limits.dedupe_window_micros, limits.max_cost_ratio, limits.trades_share_topic)

    def _follow(
        self, records: Sequence[Record], events: Sequence[Input], due: dict[int, Window], applied: Applied
    ) -> None:
        """The oracle goes the same way, and compares each audit record."""
        counts, by_time = self.account.counts, defaultdict(list)
        counts["inputs"] += len(records)
        for letter, index in zip(applied.dead_letters, applied.dead_letter_indexes, strict=True):
            if is_of_time(letter):
                by_time[index].append(letter)
        nothing = Window({}, {})
        for index, event in enumerate(events):
            outcome, window = applied.outcomes[index], due.get(index, nothing)
            if window is not nothing:
                self._count(window)
                self._begin_anew(window)
            if isinstance(event, Fill | Close):
                self._tell_time(event)
            if outcome == DUPLICATE:
                counts["duplicates"] += 1
            elif outcome == DEAD_LETTER:
                counts["dead_letters"] += 1
            elif isinstance(event, Fill | Close):
                if event.bandit_id not in self.left_out:
                    self._accept(event, window)
            elif isinstance(event, Command):
                self._obey(event, window)
            for letter in by_time.get(index, ()):
                self._expire(letter)
            if isinstance(event, Fill | Close):
                self._forget(event.bandit_id)

    def _tell_time(self, event: Fill | Close) -> None:
        """To a bandit that there is."""
        oracle = self.oracles.get(event.bandit_id)
        if oracle is not None and event.bandit_id not in self.left_out:
            oracle.tell_time(event)

    def _forget(self, bandit_id: str) -> None:
        """What is old after an event of the bandit, and what there is no room for."""
        oracle = self.oracles.get(bandit_id)
        if oracle is not None and bandit_id not in self.left_out:
            oracle.forget_old()
            self._memory.make_room(oracle.memory)

    def _count(self, window: Window) -> None:
        for _, fact in (*window.audited, *window.letters):
            self.account.count(fact)
        skipped = [letter.source for _, letter in window.letters if letter.error_class == "SKIPPED"]
        self.account.skipped += [(source.topic, source.partition, source.offset) for source in skipped]

    def _accept(self, event: Fill | Close, window: Window) -> None:
        oracle = self.oracles.get(event.bandit_id)
        if oracle is None:
            oracle = self._oracle(event.bandit_id)
            oracle.tell_time(event)
        position, segments = oracle.accept(event)
        # Of a bandit that is left out any order was as good, so that its rewards may stand at another's event.
        rewards = [
            (where, fact)
            for where, fact in window.audited
            if isinstance(fact, Reward) and fact.bandit_id == event.bandit_id
        ]
        self._compare_rewards(event, rewards, position, segments)

    def _compare_rewards(
        self, event: Fill | Close, rewards: list[tuple[str, Reward]], position: Position, segments: list[Segment]
    ) -> None:
        oracle = self.oracles[event.bandit_id]
        for at, (where, reward) in enumerate(rewards):
            if at >= len(segments):
                raise Difference(_by_formulas(where), said(reward), "no reward here", event.bandit_id)
            oracle.compare(_by_formulas(where), reward, position, segments[at])
        if len(segments) > len(rewards):
            missing = segments[len(rewards)]
            what = f"one of fill {missing.fill.event_id!r} and close {missing.close_event_id!r}"
            raise Difference(_by_formulas(f"event {event.event_id!r}"), "no such reward", what, event.bandit_id)

    def _begin_anew(self, window: Window) -> None:
        for where, fact in window.changes:
            before, after = settings_changed(where, fact)
            self._oracle(fact.bandit_id).begin_anew(where, fact.version, before, after)

    def _obey(self, command: Command, window: Window) -> None:
        if command.bandit_id in self.left_out:
            return
        for _, fact in window.audited:
            if isinstance(fact, CommandApplied) and (fact.command_id, fact.outcome) == (command.command_id, "APPLIED"):
                self._oracle(fact.bandit_id).obey(fact, command)

    def _expire(self, letter: DeadLetter) -> None:
        """What time ended, or was evicted from the closes that wait."""
        oracle = self.oracles.get(bandit_of(letter))
        if oracle is None or oracle.bandit_id in self.left_out:
            return
        if letter.source.topic:
            self._end_wait(oracle, letter)
        else:
            position = oracle.memory.forget((letter.source.key or b"").partition(b"\0")[2].decode(errors="replace"))
            self.account.counts["expired"] += 0 if position is None else position.part_count
        oracle.forget_old()
        if oracle.is_gone:
            del self.oracles[oracle.bandit_id]
            self._memory.drop(oracle.bandit_id)

    def _end_wait(self, oracle: BanditOracle, letter: DeadLetter) -> None:
        try:
            close = decode(letter.source.value)
        except DecodeError:
            return
        part = oracle.drop_close(close.position_id, close.event_id) if isinstance(close, Close) else None
        if part is not None:
            self.account.counts["dead_letters"] += 1
            left = [("quantity_left", letter.quantity_left, float(part.left), part.scale)]
            require(_by_formulas(place(letter.source)), left)


_GONE = "a dead letter of it is gone, and with it the order in which it came"
_HIDDEN = "no record tells whether a position was forgotten before its next event"
_CUT = frozenset({"cut"})


def _compare_one(where: str, theirs: Audited, ours: Audited) -> None:
    try:
        if type(theirs) is not type(ours):
            raise Difference(where, said(theirs), said(ours))
        require_same(where, theirs, ours, _CUT)
    except Difference as found:
        found.bandit_id = ours.bandit_id
        raise


def _whose(fact: Audited | DeadLetter) -> str:
    return bandit_of(fact) if isinstance(fact, DeadLetter) else fact.bandit_id


def _by_formulas(where: str) -> str:
    return f"{where}, by the formulas"
