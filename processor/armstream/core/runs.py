"""How many records go to the stages at once. Law: it is a question of cost alone: whoever applies a record gives the
same bytes.
"""

_USUAL, _MANY, _LEAST, _MOST = 2, 12, 256, 4_096
_LOOKS = 2


class Runs:
    """Where most records are unusual, the stages get whole runs of them, unseen by the core: to look at each first, and
    to turn its bandit and its position from one form into the other, costs about as much as the stages' own work.

    An unusual record adds 1, a usual one takes `usual` away. From `many` on a run goes to the stages, of `least`
    records; then the core looks at some again. Where it finds nothing usual, the next run is twice as long, up to
    `most`. So a stream gets runs where less than one record in `usual` + 1 is usual; and a usual one that is in a run
    costs what the stages cost.
    """

    def __init__(self, usual: int = _USUAL, many: int = _MANY, least: int = _LEAST, most: int = _MOST) -> None:
        self._usual, self._many, self._least, self._most = usual, many, least, most
        self._score, self._length = 0, least

    def note_usual(self, count: int) -> None:
        """So many in a row were the core's."""
        if count:
            self._score = max(0, self._score - self._usual * count)
            self._length = self._least

    def next(self) -> int:
        """How many records the stages take, from an unusual one on."""
        self._score += 1
        if self._score < self._many:
            return 1
        length, self._length = self._length, min(2 * self._length, self._most)
        self._score = max(0, self._many - _LOOKS)
        return length
