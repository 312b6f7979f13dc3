"""Inputs become state: admitted up to a cut, found to be duplicates, late, dead letters, or ended by time.

Law: each input ends in exactly one place, and what refuses it is a dead letter with its bytes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from armstream.codec import DecodeError
from armstream.events import Close, Command, DeadLetter, Fill, PositionSnapshot, Source
from armstream.verify.comparison import Difference, require
from armstream.verify.known import MAY_BE_OLDER, Known, Realised
from armstream.verify.published import Ahead, Cut, Input, decoded, place, read_input
from armstream.verify.rewards import Part, Undecided
from armstream.verify.state import SWEPT_FROM, Bandit, Position, require_source

Floors = tuple[int | None, int | None]
Letters = list[tuple[str, DeadLetter]]


class Admission:
    """One partition's inputs on their way in."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._inputs = {name: Ahead(records) for name, records in known.log.inputs.items()}
        self._unordered: dict[str, Floors] = {}  # a bandit's floor before and after a window

    def admit(self, cut: Cut, letters: Letters) -> None:
        """Takes the inputs before a cut; what they realise is added to `known.realised`."""
        buried = self._buried(cut, [one for one in letters if not is_of_times_making(one[1])])
        self._admit(cut, buried)

    def expire(self, letters: Letters) -> None:
        """Takes what time ended at a cut, after its rewards."""
        for where, letter in letters:
            if is_of_times_making(letter):
                self._expire(where, letter)

    def _buried(self, cut: Cut, letters: list[tuple[str, DeadLetter]]) -> dict[tuple[str, int], tuple[str, DeadLetter]]:
        """The dead letters of a cut by their source, which is the record that made the cut."""
        buried: dict[tuple[str, int], tuple[str, DeadLetter]] = {}
        for where, letter in letters:
            source = letter.source
            if (source.topic, source.offset) in buried or cut.get(source.topic) != source.offset + 1:
                raise Difference(where, f"a dead letter of {place(source)} at the cut {cut}", "none there")
            buried[source.topic, source.offset] = where, letter
        return buried

    def _admit(self, cut: Cut, buried: dict[tuple[str, int], tuple[str, DeadLetter]]) -> None:
        windows: dict[str, Iterable[tuple[Source, Input]]] = {
            name: ((source, read_input(source)) for source in self._inputs[name].until(end))
            for name, end in cut.items()
        }
        if len(self._known.names.trades) > 1:
            windows = {name: list(window) for name, window in windows.items()}
            self._unordered = self._floors_of(windows)
        for window in windows.values():
            for source, event in window:
                self._known.account.counts["inputs"] += 1
                found = buried.pop((source.topic, source.offset), None)
                if found is not None:
                    self._compare_letter(*found, source, event)
                elif isinstance(event, Fill | Close):
                    self._admit_event(event, source)
                elif isinstance(event, Command):
                    self._admit_command(event, source)
                else:
                    self._refuse(source, str(event))
        for where, letter in buried.values():
            if letter.source.offset >= self._known.log.first[letter.source.topic]:
                raise Difference(where, f"a dead letter of {place(letter.source)}", "none: no such record is there")
            self._bury(letter)
        for bandit_id in self._known.begun_anew:
            self._known.bandits[bandit_id].arms_before = ()
        self._known.begun_anew.clear()

    def _floors_of(self, windows: Mapping[str, Iterable[tuple[Source, Input]]]) -> dict[str, Floors]:
        """Each bandit's floor before and after a window in which fills and closes have no order."""
        events: defaultdict[str, list[Fill | Close]] = defaultdict(list)
        for window in windows.values():
            for _, event in window:
                if isinstance(event, Fill | Close) and event.bandit_id in self._known.bandits:
                    events[event.bandit_id].append(event)
        bandits = self._known.bandits
        return {name: (bandits[name].floor, bandits[name].floor_after(found)) for name, found in events.items()}

    def _admit_event(self, event: Fill | Close, source: Source) -> None:
        known = self._known.bandits.get(event.bandit_id)
        position = self._find(known, event)
        if known is not None and position is not None and position.doubt and known.is_moved_by(event):
            known.knows_watermarks = False  # a duplicate moves nothing, and whether it is one is not known
        if position is not None and position.has_seen(event):
            self._known.account.counts["duplicates"] += 1
            return
        bandit = known or self._known.new_bandit(event.bandit_id)
        position = position or Position(event.position_id)
        refusal = position.refusal(event, {*bandit.arms, *bandit.arms_before})
        if not refusal and isinstance(event, Fill) and bandit.is_known and not bandit.arms_before:
            refusal = bandit.advice_refusal(event)
        if not refusal and self._is_late(bandit, event):
            refusal = "it is late"
        if refusal:
            self._refuse(source, refusal)
            return
        self._known.bandits[event.bandit_id] = bandit
        self._keep(bandit, position)
        bandit.see(event)
        if isinstance(event, Fill) and bandit.is_known and bandit.learner is None:
            bandit.make_learner()
        position.is_moving = position.is_moving or self._known.is_moving
        part_count = position.part_count
        try:
            segments = position.take(event, source)
        except Undecided as undecided:
            self._known.doubt(bandit, position, str(undecided))
        if position.doubt:
            return
        self._known.account.counts["realised"] += part_count + 1 - position.part_count
        self._known.realised.extend(Realised(bandit, position, segment) for segment in segments)

    def _admit_command(self, command: Command, source: Source) -> None:
        bandit = self._known.bandits.get(command.bandit_id)
        if bandit is not None and command.command_id in bandit.command_ids:
            self._known.account.counts["duplicates"] += 1
        elif self._known.is_whole and (bandit is None or bandit.learner is None):
            self._refuse(source, f"there is no bandit {command.bandit_id!r}")
        else:
            self._known.commanded.append((source, command))

    def _find(self, bandit: Bandit | None, event: Fill | Close) -> Position | None:
        """The event's position, None where there is none or it was forgotten before the event came."""
        position = None if bandit is None else bandit.positions.get(event.position_id)
        if bandit is None or position is None or position.doubt or not position.is_flat:
            return position
        due = position.ts_last + self._known.rules.dedupe_window_micros
        low, high = self._unordered.get(bandit.bandit_id, (bandit.floor, bandit.floor))
        if low is not None and due < low:
            return None
        if not bandit.knows_watermarks or (high is not None and due < high):
            self._known.doubt(bandit, position, "no record tells whether it was forgotten before its next event")
        return position

    def _keep(self, bandit: Bandit, position: Position) -> None:
        """Holds a position, and lets go of forgotten ones each time that there are twice as many."""
        bandit.positions[position.position_id] = position
        if len(bandit.positions) < bandit.sweep_at or self._known.is_moving:
            return
        kept = {name: one for name, one in bandit.positions.items() if not self._known.is_forgotten(one, bandit.floor)}
        kept[position.position_id] = position
        bandit.positions, bandit.sweep_at = kept, max(SWEPT_FROM, 2 * len(kept))

    def _is_late(self, bandit: Bandit, event: Fill | Close) -> bool:
        watermark = bandit.watermark(event)
        if not bandit.knows_watermarks or watermark is None:
            return False
        return event.ts_event < watermark - self._known.rules.dedupe_window_micros

    def _refuse(self, source: Source, why: str) -> None:
        """An input that no dead letter names, and should."""
        if self._known.is_whole:
            raise Difference(place(source), "no dead letter of it", f"one: {why}")
        self._known.account.leave_out(f"{place(source)}: {why}, and its dead letter may be gone")

    def _compare_letter(self, where: str, letter: DeadLetter, source: Source, event: Input) -> None:
        require_source(where, letter.source, source)
        bandit = self._known.bandits.get(event.bandit_id) if isinstance(event, Fill | Close) else None
        if letter.error_class == "LATE" and self._known.is_whole and (bandit is None or bandit.knows_watermarks):
            is_late = isinstance(event, Fill | Close) and bandit is not None and self._is_late(bandit, event)
            require(where, [("whether it was late", True, is_late)])
        self._bury(letter)
        self._known.account.counts["dead_letters"] += 1

    def _bury(self, letter: DeadLetter) -> None:
        self._known.account.dead_letters[letter.error_class] += 1
        if letter.error_class == "SKIPPED":
            self._known.account.skipped.append((letter.source.topic, letter.source.partition, letter.source.offset))

    def _expire(self, where: str, letter: DeadLetter) -> None:
        self._bury(letter)
        if letter.error_class == "ORPHAN_CLOSE":
            self._expire_close(where, letter)
        else:
            self._expire_position(where, letter)

    def _expire_close(self, where: str, letter: DeadLetter) -> None:
        bandit, position, part = self._waiting(letter)
        if position is not None and position.doubt:
            return
        try:
            self._compare_orphan(where, letter, bandit, part)
        except Difference:
            if self._known.is_whole:
                raise
            if bandit is not None and position is not None:
                self._known.doubt(bandit, position, MAY_BE_OLDER)
        if part is not None and position is not None and not position.doubt:
            position.closes.remove(part)
            position.is_moving = position.is_moving or self._known.is_moving
            self._known.account.counts["dead_letters"] += 1

    def _compare_orphan(self, where: str, letter: DeadLetter, bandit: Bandit | None, part: Part[Close] | None) -> None:
        if bandit is None or part is None:
            raise Difference(where, "ORPHAN_CLOSE", "that it does not wait")
        require_source(where, letter.source, part.source)
        require(
            where,
            [
                ("quantity_left", letter.quantity_left or 0.0, float(part.left), part.event.quantity),
                ("ts_event", letter.ts_event, part.event.ts_event),
                ("whether its time was up", True, self._known.is_orphan(bandit, part)),
            ],
        )

    def _waiting(self, letter: DeadLetter) -> tuple[Bandit | None, Position | None, Part[Close] | None]:
        """The close that the letter says has waited too long, told by its record, or by its place alone."""
        close = read_input(letter.source)
        for bandit in self._known.bandits.values() if isinstance(close, DecodeError) else ():
            for position in bandit.positions.values():
                for part in position.closes:
                    if (part.source.topic, part.source.offset) == (letter.source.topic, letter.source.offset):
                        return bandit, position, part
        if not isinstance(close, Close):
            return None, None, None
        found = self._known.bandits.get(close.bandit_id)
        position_found = None if found is None else found.positions.get(close.position_id)
        parts = [] if position_found is None else position_found.closes
        return found, position_found, next((one for one in parts if one.event.event_id == close.event_id), None)

    def _expire_position(self, where: str, letter: DeadLetter) -> None:
        """The letter carries the position's last state, and its key."""
        bandit_id, _, position_id = (letter.source.key or b"").decode().partition("\0")
        bandit = self._known.bandits.get(bandit_id)
        position = None if bandit is None else bandit.positions.get(position_id)
        if bandit is None or position is None:
            if self._known.is_whole:
                raise Difference(where, f"that position {position_id!r} was held too long", "no such position")
            return
        if self._known.is_whole and not position.doubt:
            position.check(where, decoded(letter.source, PositionSnapshot))
            floor = bandit.floor
            is_due = floor is None or position.ts_last + self._known.rules.max_holding_micros < floor
            require(where, [("whether it was open and its time was up", True, not position.is_flat and is_due)])
        self._known.account.counts["expired"] += position.part_count
        del bandit.positions[position_id]
        if self._known.is_moving:
            self._known.gone_while_moving.add((bandit_id, position_id))


def is_of_times_making(letter: DeadLetter) -> bool:
    """Another record than its own brought it about."""
    return letter.error_class == "ORPHAN_CLOSE" or not letter.source.topic
