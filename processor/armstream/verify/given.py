"""A partition whose beginning is gone, and of which verify has no state: its snapshots are taken as given.

Law: what can be judged without the state before it is judged: versions without a gap, cuts in their order, keys and
kinds, what a reward's fill and close come to where both are kept, and that snapshots, vectors and the last audit record
of a bandit agree. The rest is named.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from armstream.codec import DecodeError, decode, decode_inputs
from armstream.events import (
    BanditSnapshot,
    Close,
    DeadLetter,
    Fill,
    PositionClose,
    PositionFill,
    PositionPage,
    PositionSnapshot,
    Reward,
    WaitingClose,
    WeightVector,
)
from armstream.keys import page_key, position_key
from armstream.oracle.bandit import BanditOracle, Laws
from armstream.oracle.comparison import Difference, Row, require
from armstream.oracle.matching import reward_of
from armstream.oracle.settings import told
from armstream.rules import formula_of
from armstream.runtime.intake import Record
from armstream.verify.published import (
    Account,
    Ahead,
    Audited,
    PartitionLog,
    Published,
    Snapshots,
    State,
    decode_as,
    decoded,
    place,
    until,
)
from armstream.verify.same import require_same
from armstream.verify.shadow import Rules, Shadow
from armstream.verify.window import is_of_time

Event = Fill | Close
EventId = tuple[type, str, str, str]  # kind, bandit, position, event
Kept = PositionFill | PositionClose | WaitingClose


class Newest(NamedTuple):
    """The newest snapshots of a partition."""

    bandits: list[BanditSnapshot]
    positions: list[PositionSnapshot]
    pages: list[PositionPage]


def given(log: PartitionLog) -> Newest:
    """Raises Difference for what is no snapshot, and for a position that has not the pages that it says."""
    state, newest = log.state, Newest([], [], [])
    for key, value in log.bandits.items():
        where = f"{state.bandit_snapshots}:{log.number}, the newest of {_text(key)!r}"
        newest.bandits.append(decode_as(where, value, BanditSnapshot))
        require(where, [("bandit_id", newest.bandits[-1].bandit_id, _text(key))])
    for key, value in log.positions.items():
        where = f"{state.position_snapshots}:{log.number}, {_text(key)!r}"
        if key.startswith(b"\0"):
            page = decode_as(where, value, PositionPage)
            require(where, [("its key", page_key(page.bandit_id, page.position_id, page.number), _text(key))])
            newest.pages.append(page)
        else:
            position = decode_as(where, value, PositionSnapshot)
            require(where, [("its key", position_key(position.bandit_id, position.position_id), _text(key))])
            newest.positions.append(position)
    if dict(log.settled) == dict(log.stands_at):  # else they were read while they moved
        _require_pages(f"{state.position_snapshots}:{log.number}", newest)
    return newest


def _require_pages(names: str, newest: Newest) -> None:
    fills, closes = Counter[str](), Counter[str]()
    numbers = defaultdict(list)
    for page in newest.pages:
        key = position_key(page.bandit_id, page.position_id)
        numbers[key].append(page.number)
        fills[key] += len(page.fills)
        closes[key] += len(page.closes)
    for position in newest.positions:
        key, paged = position_key(position.bandit_id, position.position_id), position.paged
        theirs = (sorted(numbers.pop(key, [])), fills[key], closes[key])
        ours = ([], 0, 0) if paged is None else (list(range(paged.pages)), paged.fills, paged.closes)
        where = f"{names}, {position.position_id!r} of {position.bandit_id!r}"
        require(where, [("pages, and the fills and closes in them,", theirs, ours)])
    for key in numbers:
        raise Difference(f"{names}, {key!r}", "pages", "none: there is no such position")


class Given:
    """One such partition."""

    def __init__(self, log: PartitionLog, rules: Rules) -> None:
        self._log = log
        self._rules = rules
        self._account = Account()
        self._published = Published(log, {}, knows_versions=False)
        self._inputs = {name: Ahead(records) for name, records in log.inputs.items()}
        self._events: defaultdict[EventId, list[Event | None]] = defaultdict(list)  # those that were not refused
        self._knows_letters = not log.first[log.topics.dead_letters]
        self._in_force = ""
        self._versions: dict[str, int] = {}  # of each bandit's last audit record
        self._bandits, self._positions, self._pages = given(log)
        self._snapshots = {one.bandit_id: one for one in self._bandits}

    def check(self) -> Account:
        """Raises Difference for the first thing that is not as it should be."""
        counts = self._account.counts
        offsets = dict(self._log.stands_at)
        self._account.leave_out(
            f"what is no longer kept; from here on: taken from the processor's snapshots at {offsets}"
        )
        for same in self._published.by_cut():
            skipped = {
                (one.fact.source.topic, one.fact.source.offset)
                for one in same
                if isinstance(one.fact, DeadLetter) and one.fact.error_class == "SKIPPED"
            }
            for name, ahead in self._inputs.items():
                self._read(until(ahead, same[0].cut[name]), skipped)
            for one in same:
                if isinstance(one.fact, Audited | DeadLetter):
                    self._account.count(one.fact)
                if isinstance(one.fact, DeadLetter):
                    self._refuse(one.fact)
                if isinstance(one.fact, Reward):
                    self._compare_reward(one.where, one.fact)
                if isinstance(one.fact, Audited):
                    self._versions[one.fact.bandit_id] = one.fact.version
                elif isinstance(one.fact, Snapshots):
                    self._in_force = one.fact.task.settings
                    for source in one.fact.bandits:
                        if source.value is not None:  # else the bandit is forgotten
                            bandit_id = decoded(source, BanditSnapshot).bandit_id
                            require(place(source), [("key", source.key, bandit_id.encode())])
        self._compare_bandits()
        self._compare_vectors()
        self._compare_positions()
        counts["bandits"] = len(self._bandits)
        counts["not_placed"] = counts["inputs"]
        self._account.state = self._state()
        return self._account

    def _state(self) -> State | None:
        """None where a processor moved meanwhile: then the snapshots are not of one moment."""
        if dict(self._log.settled) != dict(self._log.stands_at):
            return None
        next_offset = {**self._published.next_offset, **self._log.stands_at}
        return State(next_offset, self._in_force, self._bandits, self._positions, self._pages)

    def _read(self, records: list[Record], skipped: set[tuple[str, int]]) -> None:
        self._account.counts["inputs"] += len(records)
        read = [record for record in records if (record.topic(), record.offset()) not in skipped]
        for event in decode_inputs([record.value() for record in read]):
            if isinstance(event, Fill | Close):
                self._events[_id_of(event)].append(event if self._knows_letters else None)

    def _refuse(self, letter: DeadLetter) -> None:
        """Its event, which was just read, is none of its position."""
        self._knows_letters = True
        if is_of_time(letter) or letter.error_class == "SKIPPED":
            return
        try:
            event = decode(letter.source.value)
        except DecodeError:
            return
        if isinstance(event, Fill | Close):
            same = self._events[_id_of(event)]
            at = next((at for at, one in enumerate(same) if repr(one) == repr(event)), None)  # NaN is not NaN
            if at is not None:
                del same[at]

    def _known(self, kind: type, bandit_id: str, position_id: str, event_id: str) -> Event | None:
        """The event of that name; None where it is not kept, or there are several, or it may have been refused."""
        contents = self._events.get((kind, bandit_id, position_id, event_id), [])
        return contents[0] if contents and all(one == contents[0] for one in contents) else None

    def _compare_reward(self, where: str, reward: Reward) -> None:
        """Of times nothing is said, since the event that is kept may be a duplicate. A fill's weight hangs on those
        before it: it is at most its part of itself, and a fill that tells of no order is all of it."""
        named = reward.bandit_id, reward.position_id
        fill = self._known(Fill, *named, reward.fill_event_id)
        close = self._known(Close, *named, reward.close_event_id)
        if not (isinstance(fill, Fill) and isinstance(close, Close)) or reward.quantity <= 0:
            return
        if not (_is_number(fill.quantity, fill.multiplier) and _is_number(close.quantity)):
            return
        share = reward.quantity / fill.quantity
        rows: list[Row] = [("weight", reward.weight, min(max(reward.weight, 0.0), share), 1.0)]
        if not reward.detail.startswith("written off: "):
            reward_bps, scale = reward_of(fill, close, reward.quantity)
            rows.append(("reward_bps", reward.reward_bps, reward_bps, scale))
            if fill.order_quantity is None:
                rows.append(("weight", reward.weight, share, 1.0))
        require(where, rows)

    def _compare_bandits(self) -> None:
        for bandit in self._bandits:
            where = f"{self._log.state.bandit_snapshots}:{self._log.number}, the newest of {bandit.bandit_id!r}"
            last = self._versions.get(bandit.bandit_id, bandit.version)
            require(where, [("version", bandit.version, last)])
            self._account.counts["bandit_snapshots"] += 1
        for bandit_id in self._versions.keys() - self._snapshots.keys():
            where = f"{self._log.state.bandit_snapshots}:{self._log.number}"
            raise Difference(where, f"no snapshot of {bandit_id!r}", f"one of version {self._versions[bandit_id]}")

    def _compare_vectors(self) -> None:
        """Each bandit's newest vector is what its newest snapshot gives."""
        shadow = Shadow(self._rules, self._log.partition_count)
        try:
            shadow.restore(self._bandits, self._positions, self._pages)
        except ValueError as error:
            where = f"{self._log.state.bandit_snapshots}:{self._log.number}"
            raise Difference(where, f"snapshots that no processor can restore: {error}", "some that one can") from error
        seen: dict[str, int] = {}
        for where, vector in self._vectors():
            last, bandit = seen.get(vector.bandit_id, 0), self._snapshots.get(vector.bandit_id)
            if vector.version <= last:
                raise Difference(where, f"version {vector.version}", f"one above {last}, which came before")
            seen[vector.bandit_id] = vector.version
            if bandit is None or vector.version != bandit.version:
                continue
            oracle = BanditOracle(bandit.bandit_id, told(bandit.settings), Laws(0), formula_of)
            oracle.restore(bandit)
            require_same(where, vector, shadow.vectors[vector.bandit_id], frozenset({"phase", "blend_alpha"}))
            oracle.check_vector(f"{where}, by the formulas", vector)
            self._account.counts["weight_vectors"] += 1
        for bandit in self._bandits:
            version = seen.get(bandit.bandit_id, 0)
            if version < bandit.version:
                where = f"{self._log.topics.weights}:{self._log.number}, the newest of {bandit.bandit_id!r}"
                raise Difference(where, f"version {version}", f"version {bandit.version}")

    def _vectors(self) -> Iterator[tuple[str, WeightVector]]:
        for source in self._log.weights:
            vector = decoded(source, WeightVector)
            where = f"{place(source)}, version {vector.version} of {vector.bandit_id!r}"
            require(where, [("key", source.key, vector.bandit_id.encode())])
            bandit = self._snapshots.get(vector.bandit_id)
            if bandit is None or vector.version > bandit.version:
                self._published.require_undecided(source, f"version {vector.version} of {vector.bandit_id!r}")
            else:
                self._published.next_offset[source.topic] = source.offset + 1
            yield where, vector

    def _compare_positions(self) -> None:
        """What was accepted in a position, where its event is kept."""
        pages: defaultdict[str, list[PositionPage]] = defaultdict(list)
        for page in self._pages:
            pages[position_key(page.bandit_id, page.position_id)].append(page)
        for position in self._positions:
            named = position.bandit_id, position.position_id
            where = f"{self._log.state.position_snapshots}:{self._log.number}, {named[1]!r} of {named[0]!r}"
            kept: list[Kept] = [*position.fills, *position.closes, *position.waiting]
            for page in pages[position_key(*named)]:
                kept += [*page.fills, *page.closes]
            known = [self._compare_kept(where, named, one) for one in kept]
            self._account.counts["position_snapshots" if all(known) else "positions_not_checked"] += 1

    def _compare_kept(self, where: str, named: tuple[str, str], kept: Kept) -> bool:
        """Whether its event is known. What is not compared, a duplicate may have otherwise."""
        if not kept.quantity:  # only its id was remembered
            return True
        event = self._known(Fill if isinstance(kept, PositionFill) else Close, *named, kept.event_id)
        if event is None:
            return False
        rows: list[Row] = [(name, getattr(kept, name), getattr(event, name)) for name in ("quantity", "price", "fees")]
        if isinstance(event, Close) and not isinstance(kept, PositionFill):
            rows.append(("slippage", kept.slippage, 0.0 if event.slippage_in_price else event.slippage))
        if isinstance(event, Close) and isinstance(kept, WaitingClose) and kept.slippage_in_price:  # 0: or not known
            in_price = event.slippage if event.slippage_in_price else 0.0
            rows.append(("slippage_in_price", kept.slippage_in_price, in_price))
        require(f"{where}, {kept.event_id!r}", rows)
        return True


def _text(key: bytes) -> str:
    return key.decode(errors="replace")


def _id_of(event: Event) -> EventId:
    return type(event), event.bandit_id, event.position_id, event.event_id


def _is_number(*numbers: float) -> bool:
    return all(0.0 < number < float("inf") for number in numbers)
