"""The command stage: an operator's change to one bandit, applied in order with the data.

Law: a command is applied once, by its id, or refused with a reason; both are an audit record of their own, so that a
learner changes by records of the audit log and by nothing else. Learning is kept wherever it can be.
"""

from collections.abc import Callable, Mapping
from json import dumps, loads

from armstream.events import Action, Command, CommandApplied, Outcome
from armstream.stages.facts import COMMANDS_REMEMBERED, SETTINGS_CHANGE
from armstream.stages.state import Bandit, TaskState
from armstream.stages.validation import Refused, check_command, shortened


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
    known = state.bandit(command.bandit_id)
    if known is None or known.learner is None:
        raise Refused("UNKNOWN_BANDIT", f"there is no bandit {command.bandit_id!r}: its first fill makes it")
    if command.command_id in known.command_ids:
        return None
    bandit = state.touch(command.bandit_id)
    bandit.command_ids = (*bandit.command_ids, command.command_id)[-COMMANDS_REMEMBERED:]
    try:
        _DOERS[command.action](state, bandit, command)
    except (_NotDoneError, ValueError) as refusal:  # a learner refuses before anything changes
        return _audited(
            bandit, command.command_id, command.action, command.ts_event, shortened(str(refusal)), "REFUSED"
        )
    return _audited(bandit, command.command_id, command.action, command.ts_event, command.reason, "APPLIED")


def begin_anew(state: TaskState, bandit_id: str, settings_before: str) -> CommandApplied:
    """The learner's reset to today's settings; the detail says which they were and are."""
    bandit = state.touch(bandit_id)
    settings = state.registry.of(bandit_id)
    assert settings is not None  # else it was refused when it was restored
    state.create_learner(bandit, settings)
    detail = dumps({"settings_before": loads(settings_before), "settings": loads(bandit.settings_json)})
    return _audited(bandit, SETTINGS_CHANGE, "RESET", bandit.ts_event, detail, "APPLIED")


def _audited(
    bandit: Bandit, command_id: str, action: Action, ts_event: int, detail: str, outcome: Outcome
) -> CommandApplied:
    bandit.version += 1
    bandit.cause_event_id, bandit.ts_event = command_id, ts_event
    return CommandApplied(bandit.bandit_id, bandit.version, command_id, action, outcome, ts_event, detail)


def _add_arm(state: TaskState, bandit: Bandit, command: Command) -> None:
    assert command.arm is not None  # check_command
    assert bandit.settings is not None  # its learner was made by them
    if len(bandit.arm_index) >= state.registry.max_arms:
        raise _NotDoneError(
            f"there are {len(bandit.arm_index)} arms already, and limits.arms is {state.registry.max_arms}"
        )
    if bandit.settings.arm_mode == "family_horizon" and not all(command.arm.partition(":")[::2]):
        raise _NotDoneError(f"arm {command.arm!r} must be family:horizon, as this bandit's arms are")
    weight = 1.0 if command.value is None else command.value
    state.own_learner(bandit).add_arm(command.arm, weight)
    state.note_choices(bandit)


def _remove_arm(state: TaskState, bandit: Bandit, command: Command) -> None:
    assert command.arm is not None  # check_command
    state.own_learner(bandit).remove_arm(command.arm)
    state.note_choices(bandit)


def _add_expert(state: TaskState, bandit: Bandit, command: Command) -> None:
    assert command.expert is not None  # check_command
    _refuse_without_experts(bandit, command)
    learner = state.own_learner(bandit)
    if len(learner.experts) >= state.registry.max_experts:
        raise _NotDoneError(
            f"there are {len(learner.experts)} experts already, and limits.experts is {state.registry.max_experts}"
        )
    learner.add_expert(command.expert, 1.0 if command.value is None else command.value)
    state.note_choices(bandit)


def _remove_expert(state: TaskState, bandit: Bandit, command: Command) -> None:
    assert command.expert is not None  # check_command
    _refuse_without_experts(bandit, command)
    state.own_learner(bandit).remove_expert(command.expert)
    state.note_choices(bandit)


def _refuse_without_experts(bandit: Bandit, command: Command) -> None:
    assert bandit.learner is not None  # no bandit obeys before its first fill
    assert bandit.rule is not None
    if not bandit.learner.experts:
        raise _NotDoneError(f"{command.action} is not for a bandit whose algorithm is {bandit.rule.name}")


def _reset(state: TaskState, bandit: Bandit, _: Command) -> None:
    state.own_learner(bandit).reset()


def _set_bound(state: TaskState, bandit: Bandit, command: Command) -> None:
    assert command.value is not None  # check_command
    assert bandit.rule is not None  # its learner was made by it
    if not bandit.rule.clips(bandit.estimator):
        raise _NotDoneError(f"the {bandit.estimator} estimator has no reward bound")
    state.own_learner(bandit).set_bound(command.value)


def _pause(_: TaskState, bandit: Bandit, __: Command) -> None:
    if bandit.paused:
        raise _NotDoneError("the bandit is paused already")
    bandit.paused = True


def _resume(_: TaskState, bandit: Bandit, __: Command) -> None:
    if not bandit.paused:
        raise _NotDoneError("the bandit is not paused")
    bandit.paused = False


_DOERS: Mapping[Action, Callable[[TaskState, Bandit, Command], None]] = {
    "ADD_ARM": _add_arm,
    "REMOVE_ARM": _remove_arm,
    "ADD_EXPERT": _add_expert,
    "REMOVE_EXPERT": _remove_expert,
    "RESET": _reset,
    "SET_BOUND": _set_bound,
    "PAUSE": _pause,
    "RESUME": _resume,
}
