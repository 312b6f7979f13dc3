"""The command stage: an operator's change to one bandit, applied in order with the data.

Law: a command is applied once, by its id, or refused with a reason; both are an audit record of their own, so that a
learner changes by records of the audit log and by nothing else. Learning is kept wherever it can be.
"""

from collections.abc import Callable, Mapping
from json import dumps, loads

from armstream.events import Action, Command, CommandApplied, Outcome
from armstream.learning import AdvisedBandit
from armstream.stages.rules import COMMANDS_REMEMBERED, SETTINGS_CHANGE
from armstream.stages.state import Book, TaskState
from armstream.stages.validation import Refused, check_command


class _NotDoneError(Exception):
    """Why a command is refused; nothing has changed."""


def obey(state: TaskState, command: Command) -> CommandApplied | None:
    """Applies a command or refuses it, and gives the audit record. None for a duplicate.

    Raises Refused, with nothing changed, for a dead letter: what no bandit could take, or a bandit that there is not.
    """
    check_command(command)
    if command.command_id.startswith("armstream:"):
        raise Refused(
            "VALIDATION", f"command_id {command.command_id!r} begins with armstream:, which is not yours to use"
        )
    known = state.book(command.bandit_id)
    if known is None or known.learner is None:
        raise Refused("UNKNOWN_BANDIT", f"there is no bandit {command.bandit_id!r}: its first fill makes it")
    if command.command_id in known.command_ids:
        return None
    book = state.touch(command.bandit_id)
    book.command_ids = (*book.command_ids, command.command_id)[-COMMANDS_REMEMBERED:]
    try:
        _DOERS[command.action](state, book, command)
    except (_NotDoneError, ValueError) as refusal:  # a learner refuses before anything changes
        return _audited(book, command.command_id, command.action, command.ts_event, str(refusal), "REFUSED")
    return _audited(book, command.command_id, command.action, command.ts_event, command.reason, "APPLIED")


def begin_anew(state: TaskState, bandit_id: str, settings_before: str) -> CommandApplied:
    """The learner's reset to today's settings; the detail says which they were and are."""
    book = state.touch(bandit_id)
    rules = state.bandit_rules.of(bandit_id)
    assert rules is not None  # else it was refused when it was restored
    state.create_learner(book, rules)
    detail = dumps({"settings_before": loads(settings_before), "settings": loads(book.settings)})
    return _audited(book, SETTINGS_CHANGE, "RESET", book.ts_event, detail, "APPLIED")


def _audited(
    book: Book, command_id: str, action: Action, ts_event: int, detail: str, outcome: Outcome
) -> CommandApplied:
    book.version += 1
    book.cause_event_id, book.ts_event = command_id, ts_event
    return CommandApplied(book.bandit_id, book.version, command_id, action, outcome, ts_event, detail)


def _add_arm(state: TaskState, book: Book, command: Command) -> None:
    assert command.arm is not None  # check_command
    assert book.rules is not None  # its learner was made by them
    if len(book.arm_index) >= state.bandit_rules.max_arms:
        raise _NotDoneError(
            f"there are {len(book.arm_index)} arms already, and limits.arms is {state.bandit_rules.max_arms}"
        )
    if book.rules.arm_mode == "family_horizon" and not all(command.arm.partition(":")[::2]):
        raise _NotDoneError(f"arm {command.arm!r} must be family:horizon, as this bandit's arms are")
    weight = 1.0 if command.value is None else command.value
    state.own_learner(book).add_arm(command.arm, weight)
    state.note_choices(book)


def _remove_arm(state: TaskState, book: Book, command: Command) -> None:
    assert command.arm is not None  # check_command
    state.own_learner(book).remove_arm(command.arm)
    state.note_choices(book)


def _add_expert(state: TaskState, book: Book, command: Command) -> None:
    assert command.expert is not None  # check_command
    learner = _advised(state, book, command)
    if len(learner.experts) >= state.bandit_rules.max_experts:
        raise _NotDoneError(
            f"there are {len(learner.experts)} experts already, and limits.experts is {state.bandit_rules.max_experts}"
        )
    learner.add_expert(command.expert, 1.0 if command.value is None else command.value)
    state.note_choices(book)


def _remove_expert(state: TaskState, book: Book, command: Command) -> None:
    assert command.expert is not None  # check_command
    _advised(state, book, command).remove_expert(command.expert)
    state.note_choices(book)


def _advised(state: TaskState, book: Book, command: Command) -> AdvisedBandit:
    learner = state.own_learner(book)
    if not isinstance(learner, AdvisedBandit):
        raise _not_offered(book, command)
    return learner


def _reset(state: TaskState, book: Book, _: Command) -> None:
    state.own_learner(book).reset()


def _set_bound(state: TaskState, book: Book, command: Command) -> None:
    assert command.value is not None  # check_command
    assert book.rules is not None  # its learner was made by them
    if not book.rules.has_bound:
        raise _NotDoneError(f"the {book.rules.estimator} estimator has no reward bound")
    state.own_learner(book).set_bound(command.value)


def _pause(_: TaskState, book: Book, __: Command) -> None:
    if book.paused:
        raise _NotDoneError("the bandit is paused already")
    book.paused = True


def _resume(_: TaskState, book: Book, __: Command) -> None:
    if not book.paused:
        raise _NotDoneError("the bandit is not paused")
    book.paused = False


def _not_offered(book: Book, command: Command) -> _NotDoneError:
    algorithm = book.rules and book.rules.algorithm
    return _NotDoneError(f"{command.action} is not for a bandit whose algorithm is {algorithm}")


_DOERS: Mapping[Action, Callable[[TaskState, Book, Command], None]] = {
    "ADD_ARM": _add_arm,
    "REMOVE_ARM": _remove_arm,
    "ADD_EXPERT": _add_expert,
    "REMOVE_EXPERT": _remove_expert,
    "RESET": _reset,
    "SET_BOUND": _set_bound,
    "PAUSE": _pause,
    "RESUME": _resume,
}
