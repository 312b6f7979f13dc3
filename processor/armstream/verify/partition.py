"""One partition: where verify starts with it.

Law: at a state of its own where there is one, else at the first record, else at the processor's snapshots, which are
taken as given and named. Where other settings are refused, those of each bandit are the file's, as the oracle reads it.
No other place compares them with the file.
"""

from armstream.events import BanditSnapshot
from armstream.oracle.comparison import Difference
from armstream.oracle.formula import Settings
from armstream.oracle.settings import difference, told
from armstream.verify.given import Given
from armstream.verify.history import History
from armstream.verify.published import Account, PartitionLog, State, decode_as
from armstream.verify.shadow import Rules, Shadow


def check_partition(log: PartitionLog, rules: Rules, state: State | None = None) -> Account:
    """Everything published in one partition against what follows from its inputs. Raises Difference for the first."""
    taken = _settings_taken(log, rules)
    is_whole = not any(log.first[name] for name in (*log.topics.inputs, log.topics.rewards))
    if state is None and not is_whole:
        account = Given(log, rules).check()
    else:
        shadow = Shadow(rules, log.partition_count)
        if state is not None:
            shadow.restart(state.in_force)
            shadow.restore(state.bandits, state.positions, state.pages)
        account = History(log, rules, shadow).check()
    account.taken += taken
    return account


def _settings_taken(log: PartitionLog, rules: Rules) -> list[str]:
    """What of the bandits' settings is the log's and not the file's. Raises Difference where that is refused."""
    taken = []
    for key, value in log.bandits.items():
        where = f"{log.state.bandit_snapshots}:{log.number}, the newest of {key.decode(errors='replace')!r}"
        snapshot = decode_as(where, value, BanditSnapshot)
        if not snapshot.arms:
            continue
        is_refused = rules.bandits.on_settings_change == "refuse"
        if is_refused and rules.bandits.of(snapshot.bandit_id) is None:
            raise Difference(where, "a bandit that learned", "none: the settings file registers it no more")
        theirs, ours = difference(_told(where, snapshot.settings), rules.resolved(snapshot.bandit_id))
        if theirs and is_refused:
            said = f"{ours}, as the settings file says: give verify the --config of the processors"
            raise Difference(where, f"settings with {theirs}", said)
        if theirs:
            taken.append(f"the settings of {snapshot.bandit_id!r}, from the log")
    return taken


def _told(where: str, settings: str) -> Settings:
    try:
        return told(settings)
    except ValueError as error:
        raise Difference(where, f"settings {settings!r}", f"some that can be: {error}") from error
