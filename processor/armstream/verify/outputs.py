"""Vectors, snapshots and positions: what is published of a state, against the shadow's and the oracle's.

Law: versions of a bandit's vectors only rise, and each vector that is kept is the state at its version; snapshots are
compared whole at the task snapshot that follows them; what is not among the positions is forgotten.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from armstream.codec import encode
from armstream.events import BanditSnapshot, Close, Fill, PositionSnapshot, Source, WeightVector
from armstream.oracle.comparison import Difference, is_near, require
from armstream.verify.published import Account, Ahead, Snapshots, decode_as, decoded, place
from armstream.verify.same import require_same
from armstream.verify.shadow import Applied
from armstream.verify.window import Window

if TYPE_CHECKING:
    from armstream.verify.history import History

_BLEND = frozenset({"phase", "blend_alpha"})
_LEARNED = frozenset({"arms", "experts", "warm_up_rewards_bps", "reward_bound_bps"})  # the oracle has their scales
_DECISION = frozenset({"decision"})


class Outputs:
    """One partition's. `is_moving`: snapshots of positions may be from before or after what comes now."""

    def __init__(self, history: "History") -> None:
        self._history = history
        self._log = history.log
        self._shadow = history.shadow
        self._vectors = Ahead(map(_read, history.log.weights))
        self._last_versions = {name: one.version for name, one in history.shadow.bandits.items()}
        self._moving: set[str] = set()
        self.is_moving = False

    @property
    def _account(self) -> Account:
        return self._history.account

    def note(self, applied: Applied) -> None:
        """A batch is state now."""
        if self.is_moving:
            self._moving |= {f"{one.bandit_id}\0{one.position_id}" for one in applied.position_snapshots}
            self._moving |= set(applied.forgotten)
        for key in applied.forgotten:
            bandit_id, _, position_id = key.partition("\0")
            self._history.oracles[bandit_id].positions.pop(position_id, None)

    # Vectors.

    def is_due(self, versions: Mapping[str, int]) -> bool:
        """Whether the next vector's version is among these."""
        head = self._vectors.head()
        return head is not None and versions.get(head[1].bandit_id, 0) >= head[1].version

    def compare_vectors(self) -> None:
        """Takes vectors as far as their versions are reached: they stand in the order of the transactions."""
        while (head := self._vectors.head()) is not None:
            source, vector = head
            bandit = self._shadow.bandits.get(vector.bandit_id)
            is_reached = bandit is not None and vector.version <= bandit.version
            if not is_reached and vector.bandit_id not in self._history.left_out:
                return
            self._vectors.take()
            self._history.published.next_offset[source.topic] = source.offset + 1
            require(place(source), [("key", source.key, vector.bandit_id.encode())])
            last = self._last_versions.get(vector.bandit_id, 0)
            if vector.version <= last:
                published = f"version {vector.version} of {vector.bandit_id!r}"
                raise Difference(place(source), published, f"one above {last}, which came before")
            self._last_versions[vector.bandit_id] = vector.version
            if vector.bandit_id not in self._history.left_out:
                self._compare_vector(f"{place(source)}, version {vector.version} of {vector.bandit_id!r}", vector)

    def _compare_vector(self, where: str, vector: WeightVector) -> None:
        ours = self._shadow.vectors[vector.bandit_id]
        if vector.version != ours.version:
            raise Difference(where, "this version", f"version {ours.version}, which came before it")
        if self._takes_cause(vector, ours):
            ours = self._shadow.vectors[vector.bandit_id]
        if vector != ours:
            require_same(where, vector, ours, _BLEND)
        self._history.oracles[vector.bandit_id].check_vector(f"{where}, by the formulas", vector)
        self._account.counts["weight_vectors"] += 1
        if vector.phase != ours.phase or not is_near(vector.blend_alpha, ours.blend_alpha):
            self._account.leave_out(
                f"{where}: phase {vector.phase} and blend_alpha {vector.blend_alpha!r} do not follow from today's "
                "blend_alpha, warm_start_steps and ramp_steps; they may have been others then"
            )

    def _takes_cause(self, published: WeightVector | BanditSnapshot, ours: WeightVector | BanditSnapshot) -> bool:
        """What came last in two topics is theirs to say, where the shadow may have had them the other way round."""
        cause = published.cause_event_id, published.ts_event
        if cause == (ours.cause_event_id, ours.ts_event) or not self._history.is_cause(published.bandit_id, cause):
            return False
        self._shadow.set_cause(published.bandit_id, *cause)
        return True

    # Snapshots.

    def compare_snapshots(self, snapshots: Snapshots) -> None:
        for source in snapshots.bandits:
            bandit_id = (source.key or b"").decode(errors="replace")
            where = f"{place(source)}, snapshot of {bandit_id!r}"
            if bandit_id not in self._history.left_out:
                self._compare_snapshot(where, bandit_id, source.value)
                self._account.counts["bandit_snapshots"] += 1

    def _compare_snapshot(self, where: str, bandit_id: str, value: bytes | None) -> None:
        ours = self._shadow.bandits.get(bandit_id)
        if ours is not None and value == encode(ours):
            snapshot = ours
        else:
            snapshot = decode_as(where, value, BanditSnapshot)
            if ours is None:
                raise Difference(where, "a snapshot", "none: no event of this bandit was accepted")
            if self._takes_cause(snapshot, ours):
                ours = self._shadow.bandits[bandit_id]
            scaled = {name: getattr(ours, name) for name in _LEARNED} if snapshot.arms else {}
            require_same(where, structs.replace(snapshot, **scaled), ours)
        self._history.oracles[bandit_id].check_snapshot(where, snapshot)

    # The end.

    def finish(self) -> None:
        self.compare_vectors()
        self._finish_vectors()
        self._finish_bandits()
        self._finish_positions()

    def _finish_vectors(self) -> None:
        """What is left is of later transactions, and each bandit's newest has its version."""
        newer: set[str] = set()
        if self._vectors.head() is None:
            self._history.published.reach_end(self._log.topics.weights)
        while (head := self._vectors.head()) is not None:
            self._vectors.take()
            source, vector = head
            bandit = self._shadow.bandits.get(vector.bandit_id)
            published = f"version {vector.version} of {vector.bandit_id!r}"
            if bandit is not None and vector.version <= bandit.version:
                raise Difference(place(source), published, f"that it stands before version {bandit.version}'s")
            if vector.bandit_id not in self._history.left_out:
                self._history.published.require_undecided(source, published)
            newer.add(vector.bandit_id)
        for bandit_id, bandit in self._shadow.bandits.items():
            last = self._last_versions.get(bandit_id, 0)
            if bandit.version != last and bandit_id not in newer | self._history.left_out:
                where = f"{self._log.topics.weights}:{self._log.number}, the newest of {bandit_id!r}"
                raise Difference(where, f"version {last}", f"version {bandit.version}")

    def _finish_bandits(self) -> None:
        """The newest snapshot of each bandit is its state where the task stands."""
        names = f"{self._log.topics.bandit_snapshots}:{self._log.number}"
        newest = {key.decode(): value for key, value in self._log.bandits.items()}
        self._account.counts["bandits"] = len(self._shadow.bandits)
        for bandit_id, value in newest.items():
            if bandit_id not in self._history.left_out:
                self._compare_snapshot(f"{names}, the newest of {bandit_id!r}", bandit_id, value)
        for bandit_id in self._shadow.bandits.keys() - newest.keys() - self._history.left_out:
            version = self._shadow.bandits[bandit_id].version
            raise Difference(names, f"no snapshot of {bandit_id!r}", f"one of version {version}")

    def _finish_positions(self) -> None:
        """The last snapshot of each position is its state, and there is one of each that is not forgotten."""
        names, counts = f"{self._log.topics.position_snapshots}:{self._log.number}", self._account.counts
        published = {key.decode(): value for key, value in self._log.positions.items()}
        for key in published.keys() | self._shadow.positions.keys():
            bandit_id, _, position_id = key.partition("\0")
            where, ours = f"{names}, {position_id!r} of {bandit_id!r}", self._shadow.positions.get(key)
            if ours is not None:
                counts["open"] += len(ours.fills)
                counts["waiting"] += len(ours.closes)
            if bandit_id in self._history.left_out:
                counts["positions_not_checked"] += 1
            elif key in self._moving:
                counts["positions_in_motion"] += key in published
            elif ours is None:
                raise Difference(where, "a snapshot", "none: it is forgotten, or no event of it was accepted")
            elif key not in published:
                parts = len(ours.fills) + len(ours.closes)
                raise Difference(where, "no snapshot", f"one with {parts} events not matched yet")
            else:
                self._compare_position(where, published[key], ours)
        counts["realised"] = sum(oracle.realised for oracle in self._history.oracles.values())
        placed = ("realised", "open", "waiting", "expired", "duplicates", "dead_letters", "commands")
        counts["not_placed"] = counts["inputs"] + counts["carried"] - sum(counts[name] for name in placed)

    def _compare_position(self, where: str, value: bytes, ours: PositionSnapshot) -> None:
        snapshot = ours
        if value != encode(ours):
            snapshot = decode_as(where, value, PositionSnapshot)
            require_same(where, snapshot, ours, _DECISION)
            if repr(snapshot.decision) != repr(ours.decision):  # NaN is not NaN
                self._require_decision(where, snapshot, ours)
        oracle = self._history.oracles[ours.bandit_id]
        oracle.check_position(f"{where}, by the formulas", ours.position_id, snapshot)
        self._account.counts["position_snapshots"] += 1

    def _require_decision(self, where: str, snapshot: PositionSnapshot, ours: PositionSnapshot) -> None:
        """Done and closed beyond that, a position has its decision or not by what came last: nothing hangs on it."""
        is_overclosed = bool(ours.closes) and bool(ours.fill_ids) and not ours.fills
        position = self._history.oracles[ours.bandit_id].positions.get(ours.position_id)
        known = repr(position.decision) if position is not None else ""
        if not (is_overclosed and len(self._log.topics.trades) > 1 and repr(snapshot.decision) in ("None", known)):
            require(where, [("decision", repr(snapshot.decision), repr(ours.decision))])

    # Orders that nobody recorded.

    def may_hide(self, windows: Sequence[Window]) -> bool:
        """Whether the order within some of these windows may decide if a position was forgotten."""
        events = [event for window in windows for event in self._events(window)]
        keys = [f"{event.bandit_id}\0{event.position_id}" for event in events]
        newest = max((event.ts_event for event in events), default=0)
        oldest = min((event.ts_event for event in events), default=0)
        known = [self._shadow.positions[key].ts_last for key in keys if key in self._shadow.positions]
        marks = [self._floor(bandit_id) for bandit_id in {event.bandit_id for event in events}]
        window_micros = self._shadow.rules.rewards.dedupe_window_micros
        return min([oldest, *known]) + window_micros < max([newest, *marks])

    def hidden_in(self, window: Window) -> set[str]:
        """The bandits of which the order within this window decides whether a position was forgotten before its next
        event."""
        if len([name for name in window.parts if name in self._log.topics.trades]) < 2:
            return set()
        window_micros = self._shadow.rules.rewards.dedupe_window_micros
        events, hidden = self._events(window), set()
        for event in events:
            position = self._shadow.positions.get(f"{event.bandit_id}\0{event.position_id}")
            if position is None or position.fills or position.closes:
                continue
            bandit = self._shadow.bandits[event.bandit_id]
            marks = {Fill: bandit.fill_watermark, Close: bandit.close_watermark}
            for other in events:
                if other.bandit_id == event.bandit_id:
                    marks[type(other)] = max(marks[type(other)] or other.ts_event, other.ts_event)
            floors = [mark for mark in marks.values() if mark is not None]
            if len(floors) == 2 and self._floor(event.bandit_id) <= position.ts_last + window_micros < min(floors):
                hidden.add(event.bandit_id)
        return hidden

    def _events(self, window: Window) -> list[Fill | Close]:
        records = [record for name in self._log.topics.trades for record in window.parts.get(name, ())]
        return [event for event in self._shadow.read(records) if isinstance(event, Fill | Close)]

    def _floor(self, bandit_id: str) -> int:
        bandit = self._shadow.bandits.get(bandit_id)
        if bandit is None or bandit.fill_watermark is None or bandit.close_watermark is None:
            return -(2**63)
        return min(bandit.fill_watermark, bandit.close_watermark)


def _read(source: Source) -> tuple[Source, WeightVector]:
    return source, decoded(source, WeightVector)
