"""The inputs between two cuts, and the orders in which they can have been applied.

Law: nothing was published between two cuts, so the order there makes no difference but for the record that made the
cut, which came last; within a topic the order is its own. Where several topics have records, their order is tried.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from armstream.events import CommandApplied, DeadLetter, Reward
from armstream.runtime.intake import Record
from armstream.verify.published import Audited, Cut

Letters = list[tuple[str, DeadLetter]]


@dataclass(slots=True)
class Window:
    """`parts` are the records of each topic that has some; `audited` and `letters` what was published at the cut.

    `changes` are those of settings among it: each stands before the last record.
    """

    cut: Cut
    parts: Mapping[str, Sequence[Record]]
    audited: list[tuple[str, Audited]] = field(default_factory=list)
    letters: Letters = field(default_factory=list)
    changes: list[tuple[str, CommandApplied]] = field(default_factory=list)

    @property
    def is_ordered(self) -> bool:
        return len(self.parts) < 2

    def orders(self, last: Sequence[str]) -> Iterator[list[Record]]:
        """Each order that there may have been; `last` are the topics whose record may have made the cut, best first."""
        for topic in last:
            own = self.parts[topic]
            others = [part for name, part in self.parts.items() if name != topic]
            for order in permutations(others):
                rest = [record for part in order for record in part]
                yield [*rest, *own]
                if rest and len(own) > 1:
                    yield [*own[:-1], *rest, own[-1]]

    def ends(self) -> list[str]:
        """The topics whose last record stands right before the cut; all, where there is none."""
        ends = [name for name, part in self.parts.items() if part[-1].offset() + 1 == self.cut[name]]
        return ends or list(self.parts)

    def names(self) -> set[str]:
        """Ids of the events that the published records name."""
        named: set[str] = set()
        for _, fact in self.audited:
            named |= {fact.fill_event_id, fact.close_event_id} if isinstance(fact, Reward) else {fact.command_id}
        return named

    def sources(self) -> set[tuple[str, int]]:
        return {(letter.source.topic, letter.source.offset) for _, letter in self.letters if not is_of_time(letter)}


def is_of_time(letter: DeadLetter) -> bool:
    """Another record than its own may have brought it about: a close waited too long, or another one needed its room; a
    position was held too long."""
    has_waited = letter.error_class in ("ORPHAN_CLOSE", "LIMIT") and letter.quantity_left is not None
    return has_waited or not letter.source.topic


def bandit_of(letter: DeadLetter) -> str:
    """As its key says; the key of a position begins with its bandit's."""
    return (letter.source.key or b"").partition(b"\0")[0].decode(errors="replace")
