"""Orders that nobody recorded: what the order of two topics decides between two cuts, and leaves no record of.

Law: who asks is told of every bandit whose state may hang on such an order, and never wrongly that it does not. What
is published hangs on an order too, and then only the right ones fit.
"""

from collections.abc import Iterator, Mapping, Sequence, Set

from armstream.events import BanditSnapshot, Close, DeadLetter, Fill, PositionSnapshot
from armstream.keys import position_key
from armstream.oracle.bandit import BanditOracle
from armstream.verify.published import PartitionLog
from armstream.verify.shadow import Shadow
from armstream.verify.window import Window, bandit_of

NEVER = -(2**63)
EVERYBODY = ""  # no bandit's name

Event = Fill | Close


class Orders:
    """Within one partition. A bandit's floor is the time that forgetting is measured from."""

    def __init__(self, log: PartitionLog, shadow: Shadow, oracles: Mapping[str, BanditOracle]) -> None:
        self._trades = log.topics.trades
        self._shadow = shadow
        self._oracles = oracles

    @property
    def _window_micros(self) -> int:
        return self._shadow.rules.rewards.dedupe_window_micros

    def may_hide(self, windows: Sequence[Window]) -> bool:
        """Whether anything may be forgotten in these windows, all that is applied at once, that one of their events
        asks for."""
        events = [event for window in windows for event in self._events(window)]
        keys = [position_key(event.bandit_id, event.position_id) for event in events]
        newest = max((event.ts_event for event in events), default=0)
        oldest = min((event.ts_event for event in events), default=0)
        known = [self._shadow.positions[key].ts_last for key in keys if key in self._shadow.positions]
        floors = [_Floor(self._shadow.bandits.get(name)).now for name in {event.bandit_id for event in events}]
        is_old = min([oldest, *known]) + self._window_micros < max([newest, *floors])
        return is_old or self._shadow.makes_room_for(len(self._new(events)))

    def hidden_in(self, window: Window) -> set[str]:
        """The bandits of which the order within this window decides whether a position was forgotten before its next
        event; EVERYBODY, where it decides whose positions made room."""
        if not self._is_mixed(window):
            return set()
        hidden = {
            event.bandit_id
            for event, earliest, latest in self._floors(window)
            if (position := self._position(event)) is not None
            and not (position.open_left or position.waiting)
            and earliest <= position.ts_last + self._window_micros < latest
        }
        return hidden | ({EVERYBODY} if self._hides_who_made_room(window) else set())

    def may_decide(self, window: Window, bandit_id: str) -> bool:
        """Whether something of the bandit is forgotten in this window, so that an event is late in one order only."""
        if not self._is_mixed(window):
            return False
        floors = [
            (earliest, latest) for event, earliest, latest in self._floors(window) if event.bandit_id == bandit_id
        ]
        if not floors:
            return False
        first = _Floor(self._shadow.bandits.get(bandit_id)).now
        last = max(latest for _, latest in floors)
        return self._shadow.makes_room_for(len(self._new(self._events(window)))) or any(
            first <= one.ts_last + self._window_micros < last
            for one in self._shadow.positions.values()
            if one.bandit_id == bandit_id and not (one.open_left or one.waiting)
        )

    def told_by_refusals(self, window: Window, gone: Sequence[DeadLetter], known: Set[str]) -> set[str]:
        """The bandits of which a dead letter that is gone told the order: whether the refused event came before the
        first that was not, and so told its bandit no time. `known` are the bandits before the window."""
        if not gone or not self._is_mixed(window):
            return set()
        refused = {(letter.source.topic, letter.source.offset) for letter in gone}
        accepted: dict[tuple[str, str], int] = {}
        for name in self._trades:
            for record, event in zip(
                window.parts.get(name, ()), self._shadow.read(window.parts.get(name, ())), strict=True
            ):
                if isinstance(event, Event) and (name, record.offset()) not in refused:
                    at = event.bandit_id, name
                    accepted[at] = max(accepted.get(at, NEVER), event.ts_event)
        return {
            bandit_id
            for letter in gone
            if (bandit_id := bandit_of(letter)) not in known
            and accepted.get((bandit_id, letter.source.topic), NEVER) < letter.ts_event
        }

    def _hides_who_made_room(self, window: Window) -> bool:
        """Whether positions have to make room here, and it hangs on the order which. It does not where each bandit has
        enough old ones of its own, none of which is asked for, and time forgets none."""
        events = self._events(window)
        new = self._new(events)
        if not new or not self._shadow.makes_room_for(len(new)):
            return False
        asked = {position_key(event.bandit_id, event.position_id) for event in events}
        latest = {event.bandit_id: latest for event, _, latest in self._floors(window)}
        return any(self._is_who_made_room_open(name, events, new, asked, floor) for name, floor in latest.items())

    def _is_who_made_room_open(
        self, bandit_id: str, events: Sequence[Event], new: Set[str], asked: Set[str], floor: int
    ) -> bool:
        needed, oracle = sum(key.startswith(f"{bandit_id}\0") for key in new), self._oracles.get(bandit_id)
        oldest = [] if oracle is None else oracle.memory.eldest(needed + 1)
        return (
            len(oldest) < needed
            or bool(asked & {position_key(bandit_id, position_id) for _, position_id in oldest})
            or any(ts_last + self._window_micros < floor for ts_last, _ in oldest)
            or (bool(oldest) and min(event.ts_event for event in events) <= oldest[-1][0])
        )

    def _new(self, events: Sequence[Event]) -> set[str]:
        """Keys of positions that are not remembered."""
        keys = {position_key(event.bandit_id, event.position_id) for event in events}
        return keys - self._shadow.positions.keys()

    def _is_mixed(self, window: Window) -> bool:
        return len([name for name in window.parts if name in self._trades]) > 1

    def _floors(self, window: Window) -> Iterator[tuple[Event, int, int]]:
        """Each event, and its bandit's floor once it came, where it came as early and as late as it can have."""
        by_topic = {name: self._events(window, name) for name in self._trades}
        for name, own in by_topic.items():
            others = [event for other, events in by_topic.items() if other != name for event in events]
            earliest, latest = self._told(()), self._told(others)
            for event in own:
                for floors in (earliest, latest):
                    floors[event.bandit_id].tell(event)
                yield event, earliest[event.bandit_id].now, latest[event.bandit_id].now

    def _told(self, events: Sequence[Event]) -> "_Floors":
        floors = _Floors(self._shadow)
        for event in events:
            floors[event.bandit_id].tell(event)
        return floors

    def _position(self, event: Event) -> PositionSnapshot | None:
        return self._shadow.positions.get(position_key(event.bandit_id, event.position_id))

    def _events(self, window: Window, *names: str) -> list[Event]:
        records = [record for name in names or self._trades for record in window.parts.get(name, ())]
        return [event for event in self._shadow.read(records) if isinstance(event, Event)]


class _Floor:
    """Of a bandit, as its snapshot has the watermarks."""

    def __init__(self, bandit: BanditSnapshot | None) -> None:
        fill, close = (None, None) if bandit is None else (bandit.fill_watermark, bandit.close_watermark)
        self._fill = NEVER if fill is None else fill
        self._close = NEVER if close is None else close

    @property
    def now(self) -> int:
        return self._close if self._fill == NEVER else min(self._fill, self._close)

    def tell(self, event: Event) -> None:
        if isinstance(event, Fill):
            self._fill = max(self._fill, event.ts_event)
        else:
            self._close = max(self._close, event.ts_event)


class _Floors(dict[str, _Floor]):
    """By bandit, from where the shadow stands."""

    def __init__(self, shadow: Shadow) -> None:
        super().__init__()
        self._shadow = shadow

    def __missing__(self, bandit_id: str) -> _Floor:
        floor = self[bandit_id] = _Floor(self._shadow.bandits.get(bandit_id))
        return floor
