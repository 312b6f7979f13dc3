"""Weight vectors: each that is kept is its bandit's state at its version, and versions only rise.

Law: vectors stand in the order of the transactions, so each is due when its bandit has its version.
"""

from armstream.events import Source, WeightVector
from armstream.verify.comparison import Difference, require
from armstream.verify.known import Known
from armstream.verify.published import Ahead, Published, decoded, place
from armstream.verify.state import Bandit, ReadVector


class Vectors:
    """One partition's weight vectors."""

    def __init__(self, known: Known, published: Published) -> None:
        self._known = known
        self._published = published
        self._vectors = Ahead(known.log.weights)

    def compare_due(self, bandit_ids: set[str]) -> None:
        """Compares what was read before these bandits had its version."""
        for bandit_id in bandit_ids:
            self.compare(self._known.bandits[bandit_id])

    def read(self) -> None:
        """Takes vectors as far as their versions are reached: they stand in the order of the transactions."""
        while (source := self._vectors.head()) is not None:
            vector = decoded(source, WeightVector)
            bandit = self._known.bandits.get(vector.bandit_id)
            if bandit is None and not self._known.has_all_rewards:
                bandit = self._known.bandit(vector.bandit_id)
            if bandit is None or (bandit.version is not None and vector.version > bandit.version):
                break
            self._vectors.take()
            self._note(source, vector, bandit)
            self.compare(bandit)

    def _note(self, source: Source, vector: WeightVector, bandit: Bandit) -> None:
        require(place(source), [("key", source.key, vector.bandit_id.encode())])
        if vector.version <= bandit.last_vector_version:
            published = f"version {vector.version} of {vector.bandit_id!r}"
            raise Difference(place(source), published, f"one above {bandit.last_vector_version}, which came before")
        bandit.last_vector_version = vector.version
        bandit.vectors.append(ReadVector(source, vector))

    def compare(self, bandit: Bandit) -> None:
        while bandit.vectors and bandit.version is not None and bandit.vectors[0].vector.version <= bandit.version:
            source, vector = bandit.vectors.popleft()
            where = f"{place(source)}, version {vector.version} of {vector.bandit_id!r}"
            if bandit.is_known and bandit.known_from <= vector.version < bandit.version:
                raise Difference(where, "this version", f"version {bandit.version}, which came before it")
            if vector.version < bandit.version or not bandit.is_known:
                self._known.account.leave_out(f"{where}: the state behind it is no longer kept")
                continue
            doubt = bandit.check_vector(where, vector)
            if doubt:
                self._known.account.leave_out(doubt)
            self._known.account.counts["weight_vectors"] += 1

    def finish(self) -> None:
        newer: set[str] = set()
        left = [(one.source, one.vector) for bandit in self._known.bandits.values() for one in bandit.vectors]
        for source, vector in [*left, *((source, decoded(source, WeightVector)) for source in self._vectors.rest())]:
            bandit = self._known.bandits.get(vector.bandit_id)
            version = 0 if bandit is None else bandit.version
            if version is None:
                self._known.account.leave_out(f"{place(source)}: nothing else of {vector.bandit_id!r} is kept")
                continue
            published = f"version {vector.version} of {vector.bandit_id!r}"
            if vector.version <= version:
                raise Difference(place(source), published, f"that it stands before version {version}'s")
            self._published.require_undecided(source, published)
            newer.add(vector.bandit_id)
        for bandit in self._known.bandits.values():
            if bandit.version and bandit.last_vector_version != bandit.version and bandit.bandit_id not in newer:
                where = f"{self._known.names.weights}:{self._known.log.number}, the newest of {bandit.bandit_id!r}"
                raise Difference(where, f"version {bandit.last_vector_version}", f"version {bandit.version}")
