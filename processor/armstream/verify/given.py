"""A partition whose beginning is gone, and of which verify has no state: its snapshots are taken as given.

Law: what can be judged without the state before it is judged: versions without a gap, cuts in their order, keys and
kinds, what a reward's fill and close come to where both are kept, and that snapshots, vectors and the last audit record
of a bandit agree. The rest is named.
"""

from collections.abc import Iterator

from armstream.codec import decode_inputs
from armstream.events import (
    BanditSnapshot,
    Close,
    DeadLetter,
    Fill,
    OpenFill,
    PositionSnapshot,
    Reward,
    WaitingClose,
    WeightVector,
)
from armstream.oracle.bandit import BanditOracle
from armstream.oracle.comparison import Difference, require
from armstream.oracle.matching import exact, reward_of, weight_of
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

Event = Fill | Close
EventId = tuple[type, str, str, str]  # kind, bandit, position, event


def given(log: PartitionLog) -> tuple[list[BanditSnapshot], list[PositionSnapshot]]:
    """The newest snapshots. Raises Difference for what is none."""
    topics, bandits, positions = log.topics, [], []
    for key, value in log.bandits.items():
        where = f"{topics.bandit_snapshots}:{log.number}, the newest of {key.decode()!r}"
        bandits.append(decode_as(where, value, BanditSnapshot))
        require(where, [("bandit_id", bandits[-1].bandit_id, key.decode())])
    for key, value in log.positions.items():
        where = f"{topics.position_snapshots}:{log.number}, {key.decode()!r}"
        positions.append(decode_as(where, value, PositionSnapshot))
        require(where, [("its key", f"{positions[-1].bandit_id}\0{positions[-1].position_id}", key.decode())])
    return bandits, positions


class Given:
    """One such partition."""

    def __init__(self, log: PartitionLog, rules: Rules) -> None:
        self._log = log
        self._rules = rules
        self._account = Account()
        self._published = Published(log, {}, knows_versions=False)
        self._inputs = {name: Ahead(records) for name, records in log.inputs.items()}
        self._events: dict[EventId, Event | None] = {}  # None: an id with two contents
        self._in_force = ""
        self._versions: dict[str, int] = {}  # of each bandit's last audit record
        self._bandits, self._positions = given(log)
        self._snapshots = {one.bandit_id: one for one in self._bandits}

    def check(self) -> Account:
        """Raises Difference for the first thing that is not as it should be."""
        counts = self._account.counts
        offsets = dict(self._log.stands_at)
        self._account.leave_out(
            f"what is no longer kept; from here on: taken from the processor's snapshots at {offsets}"
        )
        for same in self._published.by_cut():
            for name, ahead in self._inputs.items():
                self._read(until(ahead, same[0].cut[name]))
            for one in same:
                if isinstance(one.fact, Audited | DeadLetter):
                    self._account.count(one.fact)
                if isinstance(one.fact, Reward):
                    self._compare_reward(one.where, one.fact)
                if isinstance(one.fact, Audited):
                    self._versions[one.fact.bandit_id] = one.fact.version
                elif isinstance(one.fact, Snapshots):
                    self._in_force = one.fact.task.settings
                    for source in one.fact.bandits:
                        require(
                            place(source), [("key", source.key, decoded(source, BanditSnapshot).bandit_id.encode())]
                        )
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
        return State(next_offset, self._in_force, self._bandits, self._positions)

    def _read(self, records: list[Record]) -> None:
        self._account.counts["inputs"] += len(records)
        for event in decode_inputs([record.value() for record in records]):
            if isinstance(event, Fill | Close):
                name = (type(event), event.bandit_id, event.position_id, event.event_id)
                self._events[name] = event if self._events.get(name, event) == event else None

    def _compare_reward(self, where: str, reward: Reward) -> None:
        named = reward.bandit_id, reward.position_id
        fill = self._events.get((Fill, *named, reward.fill_event_id))
        close = self._events.get((Close, *named, reward.close_event_id))
        if not (isinstance(fill, Fill) and isinstance(close, Close)) or reward.quantity <= 0:
            return
        if not (_is_number(fill.quantity, fill.price, fill.multiplier) and _is_number(close.quantity, close.price)):
            return
        reward_bps, scale = reward_of(fill, close, exact(reward.quantity))
        require(
            where,
            [
                ("reward_bps", reward.reward_bps, reward_bps, scale),
                ("weight", reward.weight, weight_of(fill, reward.quantity), 0.0),
                ("ts_event", reward.ts_event, max(fill.ts_event, close.ts_event)),
            ],
        )

    def _compare_bandits(self) -> None:
        for bandit in self._bandits:
            where = f"{self._log.topics.bandit_snapshots}:{self._log.number}, the newest of {bandit.bandit_id!r}"
            last = self._versions.get(bandit.bandit_id, bandit.version)
            require(where, [("version", bandit.version, last)])
            self._account.counts["bandit_snapshots"] += 1
        for bandit_id in self._versions.keys() - self._snapshots.keys():
            where = f"{self._log.topics.bandit_snapshots}:{self._log.number}"
            raise Difference(where, f"no snapshot of {bandit_id!r}", f"one of version {self._versions[bandit_id]}")

    def _compare_vectors(self) -> None:
        """Each bandit's newest vector is what its newest snapshot gives."""
        shadow = Shadow(self._rules, self._log.partition_count)
        try:
            shadow.restore(self._bandits, self._positions)
        except ValueError as error:
            where = f"{self._log.topics.bandit_snapshots}:{self._log.number}"
            raise Difference(where, f"snapshots that no processor can restore: {error}", "some that one can") from error
        seen: dict[str, int] = {}
        for where, vector in self._vectors():
            last, bandit = seen.get(vector.bandit_id, 0), self._snapshots.get(vector.bandit_id)
            if vector.version <= last:
                raise Difference(where, f"version {vector.version}", f"one above {last}, which came before")
            seen[vector.bandit_id] = vector.version
            if bandit is None or vector.version != bandit.version:
                continue
            oracle = BanditOracle(bandit.bandit_id, told(bandit.settings), 0, formula_of)
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
        """What is open of a position, where its event is kept."""
        for position in self._positions:
            named = position.bandit_id, position.position_id
            where = f"{self._log.topics.position_snapshots}:{self._log.number}, {named[1]!r} of {named[0]!r}"
            parts: list[OpenFill | WaitingClose] = [*position.fills, *position.closes]
            is_known = True
            for one in parts:
                kind = Fill if isinstance(one, OpenFill) else Close
                event = self._events.get((kind, *named, one.event_id))
                if event is not None:
                    require(
                        f"{where}, {one.event_id!r}", [("quantity, price, fees and time", _terms(one), _terms(event))]
                    )
                is_known = is_known and event is not None
            self._account.counts["position_snapshots" if is_known else "positions_not_checked"] += 1


def _terms(one: Event | OpenFill | WaitingClose) -> tuple[float, float, float, int]:
    return one.quantity, one.price, one.fees, one.ts_event


def _is_number(*numbers: float) -> bool:
    return all(0.0 < number < float("inf") for number in numbers)
