"""Vectors, snapshots and positions: what is published of a state, against the shadow's and the oracle's.

Law: versions of a bandit's vectors only rise, and each vector that is kept is the state at its version; snapshots are
compared whole at the task snapshot that follows them; what is not among the positions is forgotten.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import structs

from armstream.codec import encode
from armstream.events import BanditSnapshot, PositionPage, PositionSnapshot, Source, WeightVector
from armstream.keys import page_key, position_key
from armstream.oracle.comparison import Difference, Row, is_near, require
from armstream.oracle.position import open_fills
from armstream.verify.published import Account, Ahead, Snapshots, decode_as, decoded, place
from armstream.verify.same import require_same
from armstream.verify.shadow import Applied

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
        self._paged_otherwise: set[str] = set()  # keys of pages that end elsewhere, and were compared
        self.is_moving = False

    @property
    def _account(self) -> Account:
        return self._history.account

    def note(self, applied: Applied) -> None:
        """A batch is state now. Raises Difference where the oracle remembers what is forgotten."""
        if self.is_moving:
            self._moving |= {position_key(one.bandit_id, one.position_id) for one in applied.position_snapshots}
            self._moving |= set(map(_position_of, applied.forgotten))
        names = f"{self._log.state.position_snapshots}:{self._log.number}"
        for key in applied.forgotten:
            bandit_id, _, position_id = key.partition("\0")
            oracle = self._history.oracles.get(bandit_id)
            if oracle is None or bandit_id in self._history.left_out:
                continue
            if oracle.memory.get(position_id) is not None:
                raise Difference(
                    f"{names}, {position_id!r} of {bandit_id!r}", "that it is forgotten", "that it is not yet"
                )
        for bandit_id in applied.forgotten_bandits:
            if bandit_id in self._history.oracles and bandit_id not in self._history.left_out:
                where = f"{self._log.state.bandit_snapshots}:{self._log.number}, {bandit_id!r}"
                raise Difference(where, "that it is forgotten", "that it is not yet")

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
        ours, oracle = self._shadow.bandits.get(bandit_id), self._history.oracles.get(bandit_id)
        if value is None and ours is not None:
            raise Difference(where, "that it is forgotten", f"one of version {ours.version}")
        if value is None:
            return
        snapshot = ours if ours is not None and value == encode(ours) else decode_as(where, value, BanditSnapshot)
        if ours is None or oracle is None:
            raise Difference(where, "a snapshot", "none: no event of this bandit was accepted, or it is forgotten")
        assert snapshot is not None  # it was decoded, or is ours
        if snapshot is not ours:
            if self._takes_cause(snapshot, ours):
                ours = self._shadow.bandits[bandit_id]
            scaled = {name: getattr(ours, name) for name in _LEARNED} if snapshot.arms else {}
            require_same(where, structs.replace(snapshot, **scaled), ours)
        oracle.check_snapshot(where, snapshot)

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
            if bandit.version != last and bandit_id not in newer and bandit_id not in self._history.left_out:
                where = f"{self._log.topics.weights}:{self._log.number}, the newest of {bandit_id!r}"
                raise Difference(where, f"version {last}", f"version {bandit.version}")

    def _finish_bandits(self) -> None:
        """The newest snapshot of each bandit is its state where the task stands."""
        names = f"{self._log.state.bandit_snapshots}:{self._log.number}"
        newest = {key.decode(errors="replace"): value for key, value in self._log.bandits.items()}
        self._account.counts["bandits"] = len(self._shadow.bandits)
        for bandit_id, value in newest.items():
            if bandit_id not in self._history.left_out:
                self._compare_snapshot(f"{names}, the newest of {bandit_id!r}", bandit_id, value)
        for bandit_id in self._shadow.bandits.keys() - newest.keys():
            if bandit_id not in self._history.left_out:
                version = self._shadow.bandits[bandit_id].version
                raise Difference(names, f"no snapshot of {bandit_id!r}", f"one of version {version}")

    def _finish_positions(self) -> None:
        """The last snapshot of each position is its state, and there is one of each that is not forgotten."""
        names, counts = f"{self._log.state.position_snapshots}:{self._log.number}", self._account.counts
        all_of_them = {key.decode(errors="replace"): value for key, value in self._log.positions.items()}
        published = {key: value for key, value in all_of_them.items() if not key.startswith("\0")}
        for key in published.keys() | self._shadow.positions.keys():
            bandit_id, _, position_id = key.partition("\0")
            where, ours = f"{names}, {position_id!r} of {bandit_id!r}", self._shadow.positions.get(key)
            open_count = 0 if ours is None else len(list(open_fills(ours, self._shadow.pages_of(ours))))
            waiting_count = 0 if ours is None else len(ours.waiting)
            counts["open"] += open_count
            counts["waiting"] += waiting_count
            if bandit_id in self._history.left_out:
                counts["positions_not_checked"] += 1
            elif key in self._moving:
                counts["positions_in_motion"] += key in published
            elif ours is None:
                raise Difference(where, "a snapshot", "none: it is forgotten, or no event of it was accepted")
            elif key not in published:
                parts = open_count + waiting_count
                raise Difference(where, "no snapshot", f"one with {parts} events not matched yet")
            else:
                self._compare_position(where, published[key], ours)
        self._compare_pages(names, {key: value for key, value in all_of_them.items() if key.startswith("\0")})
        counts["realised"] = sum(oracle.realised for oracle in self._history.oracles.values())
        placed = ("realised", "open", "waiting", "expired", "duplicates", "dead_letters", "commands")
        counts["not_placed"] = counts["inputs"] + counts["carried"] - sum(counts[name] for name in placed)

    def _compare_pages(self, names: str, published: Mapping[str, bytes]) -> None:
        """Those of positions that were compared."""
        for key in sorted(published.keys() | self._shadow.pages.keys()):
            number, _, position = key[1:].partition("\0")
            bandit_id, _, position_id = position.partition("\0")
            where, ours = f"{names}, page {number} of {position_id!r} of {bandit_id!r}", self._shadow.pages.get(key)
            if bandit_id in self._history.left_out or position in self._moving or key in self._paged_otherwise:
                continue
            if ours is None:
                raise Difference(where, "a page", "none: it is forgotten, or the position has fewer")
            if key not in published:
                raise Difference(where, "no page", f"one of {len(ours.fills)} fills and {len(ours.closes)} closes")
            if published[key] != encode(ours):
                require_same(where, decode_as(where, published[key], PositionPage), ours)

    def _compare_position(self, where: str, value: bytes, ours: PositionSnapshot) -> None:
        snapshot = ours
        if value != encode(ours):
            snapshot = self._paged_alike(where, decode_as(where, value, PositionSnapshot), ours)
            require_same(where, snapshot, ours, _DECISION)
            if _logged(snapshot) != _logged(ours):
                self._require_decision(where, snapshot, ours)
        oracle = self._history.oracles[ours.bandit_id]
        oracle.check_position(f"{where}, by the formulas", snapshot, self._shadow.pages_of(ours))
        self._account.counts["position_snapshots"] += 1

    def _paged_alike(self, where: str, snapshot: PositionSnapshot, ours: PositionSnapshot) -> PositionSnapshot:
        """Where a page ends is a question to the order of two topics, which is hidden in part: the same events in as
        many pages of the same size are the same."""
        if len(self._log.topics.trades) < 2 or snapshot.paged is None or ours.paged is None:
            return snapshot
        require(where, [("pages", snapshot.paged.pages, ours.paged.pages)])
        keys = [page_key(ours.bandit_id, ours.position_id, number) for number in range(ours.paged.pages)]
        values = [self._log.positions.get(key.encode()) for key in keys]
        if all(
            value is None or value == encode(self._shadow.pages[key]) for key, value in zip(keys, values, strict=True)
        ):
            return snapshot
        pages = [decode_as(f"{where}, page {number}", value, PositionPage) for number, value in enumerate(values)]
        sizes = [len(page.fills) + len(page.closes) for page in pages]
        our_pages = self._shadow.pages_of(ours)
        rows: list[Row] = [
            ("events in each page", sizes, [len(page.fills) + len(page.closes) for page in our_pages]),
            ("fills in pages", snapshot.paged.fills, sum(len(page.fills) for page in pages)),
            ("closes in pages", snapshot.paged.closes, sum(len(page.closes) for page in pages)),
        ]
        require(where, rows)
        whole, our_whole = _unpaged(snapshot, pages), _unpaged(ours, our_pages)
        require_same(where, whole, our_whole, _DECISION)
        self._paged_otherwise |= set(keys)
        return structs.replace(snapshot, fills=ours.fills, closes=ours.closes, paged=ours.paged)

    def _require_decision(self, where: str, snapshot: PositionSnapshot, ours: PositionSnapshot) -> None:
        """Done and closed beyond that, a position has its decision or not by what came last: nothing hangs on it."""
        is_overclosed = bool(ours.waiting) and bool(ours.filled_quantity) and not ours.open_left
        position = self._history.oracles[ours.bandit_id].memory.get(ours.position_id)
        known = repr(position.decision) if position is not None else ""
        if not (is_overclosed and len(self._log.topics.trades) > 1 and _logged(snapshot) in ("None", known)):
            require(where, [("decision", _logged(snapshot), _logged(ours))])


def _logged(snapshot: PositionSnapshot) -> str:
    """Its decision as it was logged, for NaN is not NaN; what that came to, the oracle has the scales of."""
    decision = snapshot.decision
    return repr(decision if decision is None or not decision.terms else structs.replace(decision, terms={}))


def _unpaged(snapshot: PositionSnapshot, pages: Sequence[PositionPage]) -> PositionSnapshot:
    """As if all of its events stood in it."""
    fills = (*(fill for page in pages for fill in page.fills), *snapshot.fills)
    closes = (*(close for page in pages for close in page.closes), *snapshot.closes)
    return structs.replace(snapshot, fills=fills, closes=closes, paged=None)


def _position_of(key: str) -> str:
    """The key of the position that a key is of, or of a page of."""
    return key.split("\0", 2)[2] if key.startswith("\0") else key


def _read(source: Source) -> tuple[Source, WeightVector]:
    return source, decoded(source, WeightVector)
