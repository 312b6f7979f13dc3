"""The older events of a position that has many: an event costs the same however many came before it.

Law: pages are state of their own, written once and forgotten with their position. Where a page ends is a question to
the position alone, so that neither the batch's boundaries nor a restart moves it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from armstream.events import PositionClose, PositionFill, PositionPage, PositionSnapshot

PAGE_EVENTS = 64

Known = PositionFill | PositionClose
Name = tuple[str, str]  # which id, and it
K = TypeVar("K", PositionFill, PositionClose)


class Fills(Protocol):
    """A position's fills, oldest first."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> PositionFill: ...


class Pages:
    """The pages of one position: its older fills in order, and every event in them by its ids."""

    __slots__ = ("_closes", "_fills", "fills", "pages")

    def __init__(self) -> None:
        self.pages: list[PositionPage] = []
        self.fills: list[PositionFill] = []
        self._fills: dict[Name, PositionFill] = {}
        self._closes: dict[Name, PositionClose] = {}

    def add(self, page: PositionPage) -> None:
        self.pages.append(page)
        self.fills += page.fills
        self._fills.update(_named(page.fills))
        self._closes.update(_named(page.closes))

    def put_back(self, page: PositionPage) -> None:
        """As add, in any order."""
        newer = [one for one in self.pages if one.number > page.number]
        for _ in newer:
            self.take_back()
        for one in (page, *newer):
            self.add(one)

    def take_back(self) -> PositionPage:
        """The newest page, which is no more."""
        page = self.pages.pop()
        del self.fills[len(self.fills) - len(page.fills) :]
        for name, _ in _named(page.fills):
            del self._fills[name]
        for name, _ in _named(page.closes):
            del self._closes[name]
        return page

    def fill(self, name: Name) -> PositionFill | None:
        return self._fills.get(name)

    def close(self, name: Name) -> PositionClose | None:
        return self._closes.get(name)


def _named(events: Iterable[K]) -> Iterator[tuple[Name, K]]:
    for event in events:
        yield ("event_id", event.event_id), event
        if event.exec_id:
            yield ("exec_id", event.exec_id), event


class AllFills:
    """Those in pages, and those that came after them."""

    __slots__ = ("_newer", "_older")

    def __init__(self, older: Sequence[PositionFill], newer: Sequence[PositionFill]) -> None:
        self._older, self._newer = older, newer

    def __len__(self) -> int:
        return len(self._older) + len(self._newer)

    def __getitem__(self, index: int) -> PositionFill:
        older = len(self._older)
        return self._older[index] if index < older else self._newer[index - older]


def event_count(position: PositionSnapshot) -> int:
    """How many fills and closes it has, those in pages too."""
    paged = position.paged
    inline = len(position.fills) + len(position.closes)
    return inline if paged is None else inline + paged.fills + paged.closes
