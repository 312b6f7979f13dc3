"""Snapshots: those of bandits at each task snapshot that is kept, those of positions at the horizon.

Law: what would be restored is the state that follows from the log; what is not there was flat, and is forgotten.
"""

from armstream.events import BanditSnapshot, PositionSnapshot
from armstream.verify.comparison import Difference, require
from armstream.verify.known import MAY_BE_OLDER, Known
from armstream.verify.published import Snapshots, decode_as, place
from armstream.verify.state import Bandit, Position


class Restorable:
    """One partition's snapshots."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def compare(self, snapshots: Snapshots) -> None:
        for where, snapshot in snapshots.bandits:
            bandit = self._known.bandits.get(snapshot.bandit_id)
            if bandit is None:
                if self._known.is_whole:
                    raise Difference(where, "a snapshot", "none: no event of this bandit was accepted")
                bandit = self._known.bandit(snapshot.bandit_id)
            if self._known.may_lack_rewards(bandit) and snapshot.version != bandit.version:
                bandit.is_known = False
            self._compare_snapshot(where, bandit, snapshot)
            self._known.account.counts["bandit_snapshots"] += 1
        self._known.lacks_rewards = self._known.lacks_rewards and not self._known.has_read_rewards

    def _compare_snapshot(self, where: str, bandit: Bandit, snapshot: BanditSnapshot) -> None:
        if bandit.version is not None and not bandit.is_known and not self._known.may_lack_rewards(bandit):
            require(where, [("version", snapshot.version, bandit.version)])
        if not self._known.is_whole:  # what created it or moved a watermark may be gone
            bandit.knows_watermarks = False
            if bandit.is_known and not bandit.version:
                bandit.learner = None
                if snapshot.arms:
                    bandit.make_learner()
        bandit.take_over(snapshot)
        bandit.check_snapshot(where, snapshot)

    def finish_bandits(self) -> None:
        """The newest snapshot of each bandit is its state at the horizon."""
        names = f"{self._known.names.bandit_snapshots}:{self._known.log.number}"
        newest = {key.decode(): value for key, value in self._known.log.bandits.items()}
        for bandit_id, value in newest.items():
            snapshot = decode_as(f"{names}, {bandit_id!r}", value, BanditSnapshot)
            if bandit_id not in self._known.bandits and self._known.is_whole:
                raise Difference(names, f"a snapshot of {bandit_id!r}", "none: no event of it was accepted")
            self._compare_snapshot(f"{names}, the newest of {bandit_id!r}", self._known.bandit(bandit_id), snapshot)
        for bandit_id in self._known.bandits.keys() - newest.keys():
            version = self._known.bandits[bandit_id].version
            if self._known.is_whole or version:
                raise Difference(names, f"no snapshot of {bandit_id!r}", f"one of version {version}")
            self._known.account.leave_out(f"{bandit_id!r}: what named it may have been a dead letter that is gone")

    def finish_positions(self) -> None:
        """The last snapshot of each position is its state, and there is one of each that is not forgotten."""
        names = f"{self._known.names.position_snapshots}:{self._known.log.number}"
        published = self._known.log.positions
        for key, value in published.items():
            bandit_id, _, position_id = key.decode().partition("\0")
            where = f"{names}, {position_id!r} of {bandit_id!r}"
            self._compare_position(where, bandit_id, position_id, decode_as(where, value, PositionSnapshot))
        for bandit in self._known.bandits.values():
            for position in bandit.positions.values():
                self._known.account.counts["open"] += len(position.fills)
                self._known.account.counts["waiting"] += len(position.closes)
                where = f"{names}, {position.position_id!r} of {bandit.bandit_id!r}"
                if f"{bandit.bandit_id}\0{position.position_id}".encode() not in published:
                    self._compare_missing(where, bandit, position)
                self._require_in_time(where, bandit, position)
        counts = self._known.account.counts
        placed = ("realised", "open", "waiting", "expired", "duplicates", "dead_letters", "commands")
        counts["not_placed"] = counts["inputs"] - sum(counts[name] for name in placed)

    def _compare_position(self, where: str, bandit_id: str, position_id: str, published: PositionSnapshot) -> None:
        bandit = self._known.bandits.get(bandit_id)
        position = None if bandit is None else bandit.positions.get(position_id)
        require(where, [("bandit_id", published.bandit_id, bandit_id)])
        if (bandit_id, position_id) in self._known.gone_while_moving or (position is not None and position.is_moving):
            self._known.account.counts["positions_in_motion"] += 1
        elif bandit is None or position is None:
            if self._known.is_whole:
                raise Difference(where, "a snapshot", "none: it is forgotten, or no event of it was accepted")
            self._known.account.leave_out(f"{where}: it began before what is kept")
        elif position.doubt:
            self._known.account.counts["positions_not_checked"] += 1
        elif self._known.is_forgotten(position, bandit.settled_floor):
            if self._known.is_whole:
                raise Difference(where, "a snapshot", "none: it is flat, and forgotten")
            self._known.doubt(bandit, position, MAY_BE_OLDER)
        elif self._known.is_forgotten(position, bandit.floor):
            self._known.account.counts["positions_in_motion"] += 1
        else:
            self._known.account.counts["position_snapshots"] += 1
            try:
                position.check(where, published)
            except Difference as difference:
                if self._known.is_whole:
                    raise
                self._known.doubt(bandit, position, f"{MAY_BE_OLDER}, or {difference}")

    def _compare_missing(self, where: str, bandit: Bandit, position: Position) -> None:
        if position.doubt or position.is_moving or self._known.is_forgotten(position, bandit.floor):
            return
        if self._known.is_whole:
            raise Difference(where, "no snapshot", f"one with {position.part_count} events not matched yet")
        self._known.doubt(bandit, position, "it has no snapshot, and may have begun before what is kept")

    def _require_in_time(self, where: str, bandit: Bandit, position: Position) -> None:
        """What time ends is ended by the event that brought the time, so nothing past due is left."""
        if not self._known.is_whole:
            return
        for part in position.closes:
            if bandit.knows_watermarks and self._known.is_orphan(bandit, part):
                raise Difference(f"{where}, {place(part.source)}", "no dead letter of it", "ORPHAN_CLOSE")
        held_until = position.ts_last + self._known.rules.max_holding_micros
        if not position.is_flat and bandit.floor is not None and held_until < bandit.floor:
            raise Difference(where, "no dead letter of it", "LIMIT: held too long")
