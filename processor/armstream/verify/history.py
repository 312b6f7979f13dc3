"""One partition from its first record to its horizon, pure: what was published is compared with what follows.

Law: inputs are admitted up to each cut, in the order of the cuts, and what they realise must be what was published at
that cut, no more and no less. A dead letter is taken at its word on why its input was refused, but for its bytes,
lateness and orphans; so is a reward that was not applied, since `enabled` may have been false then. Windows are
today's. Where inputs, letters or rewards begin above their first record, a position that does not follow may have
begun before: it is named as not checked, and its rewards teach as they were published. So is a position that hangs on
a rounding, or on an order between topics that no record tells.
"""

from typing import TypeGuard

from armstream.events import CommandApplied, DeadLetter, Reward
from armstream.stages.rules import SETTINGS_CHANGE
from armstream.verify.admission import Admission
from armstream.verify.audit import Audit
from armstream.verify.known import Known
from armstream.verify.published import Account, Moment, PartitionLog, Published, Snapshots, Timed
from armstream.verify.restorable import Restorable
from armstream.verify.state import Rules
from armstream.verify.vectors import Vectors


def check_partition(log: PartitionLog, rules: Rules) -> Account:
    """Everything published in one partition against what follows from its inputs. Raises Difference for the first."""
    known, published = Known(log, rules), Published(log)
    admission, audit, restorable = Admission(known), Audit(known), Restorable(known)
    vectors = Vectors(known, published)
    for same in published.by_cut():
        cut = same[0].cut
        letters = [(one.where, one.fact) for one in same if isinstance(one.fact, DeadLetter)]
        audited = [(one.where, one.fact) for one in same if isinstance(one.fact, Reward | CommandApplied)]
        audit.begin_anew([(where, fact) for where, fact in audited if _is_settings_change(fact)])
        admission.admit(cut, letters)
        audit.compare(cut, [(where, fact) for where, fact in audited if not _is_settings_change(fact)])
        admission.expire(letters)
        for one in same:
            if isinstance(one.fact, Snapshots):
                restorable.compare(one.fact)
            elif isinstance(one.fact, Moment) and one.fact.is_settled:
                known.settle()
        vectors.compare_due(_named(same))
        vectors.read()
    vectors.finish()
    restorable.finish_bandits()
    restorable.finish_positions()
    known.account.counts["bandits"] = len(known.bandits)
    return known.account


def _is_settings_change(fact: Reward | CommandApplied) -> TypeGuard[CommandApplied]:
    return isinstance(fact, CommandApplied) and fact.command_id == SETTINGS_CHANGE


def _named(same: list[Timed]) -> set[str]:
    """The bandits whose version may have changed."""
    named = {one.fact.bandit_id for one in same if isinstance(one.fact, Reward | CommandApplied)}
    for one in same:
        if isinstance(one.fact, Snapshots):
            named |= {snapshot.bandit_id for _, snapshot in one.fact.bandits}
    return named
