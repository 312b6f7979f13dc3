"""One partition: where verify starts with it, and what it keeps of where it got to.

Law: at a state of its own where there is one, else at the first record, else at the processor's snapshots, which are
taken as given and named.
"""

from armstream.verify.history import History
from armstream.verify.published import Account, PartitionLog
from armstream.verify.shadow import Rules, Shadow


def check_partition(log: PartitionLog, rules: Rules) -> Account:
    """Everything published in one partition against what follows from its inputs. Raises Difference for the first."""
    return History(log, rules, Shadow(rules, log.partition_count)).check()
