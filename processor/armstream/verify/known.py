"""What is known of one partition so far: its bandits, and how far the log goes back."""

from collections import deque
from dataclasses import dataclass

from armstream.events import Close, Command, Reward, Source
from armstream.verify.published import Account, Cut, PartitionLog
from armstream.verify.rewards import Part, Segment, reward_of
from armstream.verify.state import Bandit, Cause, Position, Rules

MAY_BE_OLDER = "it may have begun before what is kept"


@dataclass(frozen=True, slots=True)
class Realised:
    """A segment and where it belongs."""

    bandit: Bandit
    position: Position
    segment: Segment

    def causes(self, cut: Cut) -> list[Cause]:
        """Which of its two events realised it: the record before the cut. Both can be, where their topics differ."""
        parts = (self.segment.fill, self.segment.close)
        return [
            (part.event.event_id, part.event.ts_event)
            for part in parts
            if cut[part.source.topic] == part.source.offset + 1
        ]

    def is_that_of(self, reward: Reward) -> bool:
        fill, close = self.segment.fill.event, self.segment.close.event
        return (reward.bandit_id, reward.position_id, reward.fill_event_id, reward.close_event_id) == (
            *(fill.bandit_id, fill.position_id),
            *(fill.event_id, close.event_id),
        )

    def __str__(self) -> str:
        fill, close = self.segment.fill.event, self.segment.close.event
        reward_bps, _ = reward_of(fill, close, self.segment.quantity)
        return (
            f"a reward of {reward_bps:.10g} bps for {float(self.segment.quantity):.10g} of fill {fill.event_id!r} and "
            f"close {close.event_id!r}, position {fill.position_id!r} of {fill.bandit_id!r}"
        )


class Known:
    """The state that the parts of the walk share. `is_whole`: nothing of the log's beginning is gone.

    `realised` holds segments that no reward was compared with yet, `commanded` commands without a CommandApplied yet.
    """

    def __init__(self, log: PartitionLog, rules: Rules) -> None:
        self.log = log
        self.rules = rules
        self.names = log.topics
        self.account = Account()
        self.bandits: dict[str, Bandit] = {}
        self.realised: deque[Realised] = deque()
        self.commanded: deque[tuple[Source, Command]] = deque()
        self.begun_anew: set[str] = set()  # in the window that is admitted
        self.is_moving = False  # snapshots of positions may be from before or after what comes now
        self.gone_while_moving: set[tuple[str, str]] = set()
        self.has_all_rewards = not log.first[self.names.rewards]
        self.is_whole = self.has_all_rewards and not any(
            log.first[name] for name in (*self.names.inputs, self.names.dead_letters)
        )
        self.has_read_rewards = False
        self.lacks_rewards = not self.has_all_rewards  # until the first transaction that is kept whole has passed

    def new_bandit(self, bandit_id: str) -> Bandit:
        today = self.rules.bandits.of(bandit_id) or self.rules.bandits.template
        first = self.log.first_settings.get(bandit_id)
        rules = today if first is None else today.learned_under(first)
        return Bandit(bandit_id, rules, 0 if self.has_all_rewards else None, self.is_whole)

    def bandit(self, bandit_id: str) -> Bandit:
        """The bandit, made where something names it for the first time."""
        bandit = self.bandits.get(bandit_id)
        if bandit is None:
            bandit = self.bandits[bandit_id] = self.new_bandit(bandit_id)
        return bandit

    def doubt(self, bandit: Bandit, position: Position, why: str) -> None:
        """From here on nothing follows about this position."""
        position.doubt = why
        position.fills, position.closes = [], []
        self.realised = deque(one for one in self.realised if one.position is not position)
        self.account.leave_out(f"position {position.position_id!r} of {bandit.bandit_id!r}: {why}")

    def may_lack_rewards(self, bandit: Bandit) -> bool:
        """Whether rewards of it that are gone may stand before the first that is kept."""
        return self.lacks_rewards and not bandit.has_rewards

    def is_forgotten(self, position: Position, floor: int | None) -> bool:
        if position.doubt or not position.is_flat:
            return False
        return floor is not None and position.ts_last + self.rules.dedupe_window_micros < floor

    def is_orphan(self, bandit: Bandit, part: Part[Close]) -> bool:
        """Whether the fill watermark is orphan_ttl past it; taken as so where the watermark is not known."""
        if not bandit.knows_watermarks:
            return True
        return (
            bandit.fill_watermark is not None
            and part.event.ts_event + self.rules.orphan_ttl_micros < bandit.fill_watermark
        )

    def settle(self) -> None:
        """From here on snapshots of positions may have been read before or after they were touched."""
        self.is_moving = True
        for bandit in self.bandits.values():
            bandit.settled_floor = bandit.floor
