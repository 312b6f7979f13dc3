"""Commands: each once, what became of it, and what it made of its bandit.

Law: whether a command is obeyed follows from the bandit as it is; a change of settings is a reset that the settings in
its audit record describe. Where the command itself is no longer kept, what it changed is not known.
"""

import json
from collections.abc import Iterable, Mapping

from armstream.codec import HEADERS
from armstream.events import BanditSnapshot, Command, CommandApplied, Source
from armstream.stages.rules import COMMANDS_REMEMBERED, SETTINGS_CHANGE
from armstream.verify.comparison import Difference, require
from armstream.verify.known import Known
from armstream.verify.published import Cut, decoded, place
from armstream.verify.state import Bandit

MAX_WEIGHT = 1e6


class Commands:
    """One partition's commands."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def compare(self, where: str, cut: Cut, bandit: Bandit, applied: CommandApplied) -> None:
        """The command that was read on the way to this cut has this outcome, and changes the bandit."""
        command = self._matching(where, cut, applied)
        bandit.command_ids = (*bandit.command_ids, applied.command_id)[-COMMANDS_REMEMBERED:]
        bandit.causes = [(applied.command_id, applied.ts_event)]
        self._known.account.counts["commands"] += 1
        if command is not None:
            require(
                where, [("action", applied.action, command.action), ("ts_event", applied.ts_event, command.ts_event)]
            )
        if not bandit.is_known:
            return
        if command is None and applied.action not in ("RESET", "PAUSE", "RESUME"):
            bandit.is_known, bandit.learner = False, None
            self._known.account.leave_out(f"{where}: the command is no longer kept")
            return
        refusal = "" if command is None else self._refusal(bandit, command)
        if command is not None:
            self._compare_outcome(where, applied, command, refusal)
        if applied.outcome == "APPLIED":
            _obey(bandit, applied, command)

    def begin_anew(self, where: str, bandit: Bandit, applied: CommandApplied) -> None:
        """A change of settings: the learner is a new one of those that the record names."""
        before, after = settings_changed(where, applied)
        if bandit.is_known:
            require(where, [("the settings before", before, bandit.rules.determining_json())])
        bandit.arms_before = bandit.arms
        self._known.begun_anew.add(bandit.bandit_id)
        bandit.rules = bandit.rules.learned_under(after)
        bandit.make_learner()
        bandit.is_known = True
        bandit.causes = [(applied.command_id, applied.ts_event)]
        self._known.account.counts["settings_changes"] += 1

    def require_no_more(self, cut: Cut) -> None:
        for source, command in self._known.commanded:
            if self._known.is_whole:
                derived = f"one of {command.command_id!r}, {command.action} of {command.bandit_id!r}"
                raise Difference(place(source), f"no CommandApplied up to the cut {cut}", derived)
            self._known.account.leave_out(f"{place(source)}: what became of it is no longer kept")
        self._known.commanded.clear()

    def _matching(self, where: str, cut: Cut, applied: CommandApplied) -> Command | None:
        ahead = self._known.commanded
        if ahead:
            source, command = ahead[0]
            is_it = (command.bandit_id, command.command_id) == (applied.bandit_id, applied.command_id)
            if is_it and cut[source.topic] == source.offset + 1:
                ahead.popleft()
                return command
        if self._known.is_whole:
            raise Difference(where, f"what became of command {applied.command_id!r}", "no such command here")
        return None

    def _compare_outcome(self, where: str, applied: CommandApplied, command: Command, refusal: str) -> None:
        outcome = "REFUSED" if refusal else "APPLIED"
        if applied.outcome != outcome:
            raise Difference(
                where, f"outcome {applied.outcome!r} of {command.action}", f"{outcome!r} {refusal}".strip()
            )
        if refusal:
            require(where, [("a reason in detail", bool(applied.detail), True)])
        else:
            require(where, [("detail", applied.detail, command.reason)])

    def _refusal(self, bandit: Bandit, command: Command) -> str:
        """Why the bandit does not obey; "" where it does."""
        arms, arm, value = bandit.arms, command.arm or "", command.value
        if command.action == "ADD_ARM":
            if len(arms) >= self._known.rules.bandits.max_arms:
                return "there is no room for an arm"
            if bandit.rules.arm_mode == "family_horizon" and not all(arm.partition(":")[::2]):
                return "it is no family:horizon"
            legal_weight = value is None or 0 <= value <= MAX_WEIGHT
            return "it is an arm already" if arm in arms else "" if legal_weight else "the weight is out of range"
        if command.action == "REMOVE_ARM":
            if bandit.trust is not None and bandit.trust.needs_arm(arm, arms):
                return "base weights need it"
            return "it is no arm" if arm not in arms else "" if len(arms) > 2 else "two arms are the least"
        if command.action in ("ADD_EXPERT", "REMOVE_EXPERT"):
            return self._expert_refusal(bandit, command)
        if command.action == "PAUSE":
            return "it is paused" if bandit.paused else ""
        if command.action == "RESUME":
            return "" if bandit.paused else "it is not paused"
        if command.action == "SET_BOUND":
            return "" if bandit.rules.has_bound else "there is no bound"
        return "" if command.action == "RESET" else "it is not for this algorithm"

    def _expert_refusal(self, bandit: Bandit, command: Command) -> str:
        if bandit.trust is None:
            return "it is not for this algorithm"
        names, value = bandit.trust.names, command.value
        if command.action == "REMOVE_EXPERT":
            return "it is no expert" if command.expert not in names else "" if len(names) > 1 else "it is the last"
        if len(names) >= self._known.rules.bandits.max_experts:
            return "there is no room for an expert"
        if command.expert in names:
            return "it is an expert already"
        base = dict(bandit.rules.experts).get(command.expert or "")
        if isinstance(base, Mapping) and not any(base.get(arm) for arm in bandit.arms):
            return "it has no weight on these arms"
        return "" if value is None or 0 <= value <= MAX_WEIGHT else "the weight is out of range"


def _obey(bandit: Bandit, applied: CommandApplied, command: Command | None) -> None:
    assert bandit.learner is not None  # no bandit obeys before its first fill
    if applied.action in ("ADD_ARM", "REMOVE_ARM", "ADD_EXPERT", "REMOVE_EXPERT"):
        bandit.choices_version = applied.version
    if applied.action == "RESET":
        bandit.learner.reset()
        if bandit.trust is not None:
            bandit.trust.reset(bandit.arms)
    elif applied.action in ("PAUSE", "RESUME"):
        bandit.paused = applied.action == "PAUSE"
    elif command is not None and applied.action == "SET_BOUND":
        bandit.learner.bound_bps, bandit.learner.warm_up_bps = command.value, []
    elif command is not None and applied.action == "ADD_ARM":
        weight = 1.0 if command.value is None else command.value
        bandit.learner.add_arm(command.arm or "", weight)
        bandit.added_versions[command.arm or ""] = applied.version
        if bandit.trust is not None:
            bandit.trust.add_arm(command.arm or "", weight)
    elif command is not None and applied.action == "REMOVE_ARM":
        bandit.learner.remove_arm(command.arm or "")
        if bandit.trust is not None:
            bandit.trust.remove_arm(command.arm or "")
    elif command is not None and bandit.trust is not None:
        if applied.action == "ADD_EXPERT":
            bandit.trust.add(command.expert or "", 1.0 if command.value is None else command.value, bandit.arms)
        else:
            bandit.trust.remove(command.expert or "")


def settings_changed(where: str, applied: CommandApplied) -> tuple[str, str]:
    """The settings before and after a change, as snapshots hold them. Raises Difference where none are told."""
    try:
        told = json.loads(applied.detail)
        return json.dumps(told["settings_before"], sort_keys=True), json.dumps(told["settings"], sort_keys=True)
    except (ValueError, TypeError, KeyError) as error:
        raise Difference(where, f"detail {applied.detail[:100]!r}", "settings_before and settings, as JSON") from error


def first_settings(newest: Iterable[BanditSnapshot], audit: Iterable[Source]) -> dict[str, str]:
    """By bandit_id, what its learner was first made under: as the first change of settings says, else its newest
    snapshot. Raises Difference for an audit record that cannot be read."""
    settings = {snapshot.bandit_id: snapshot.settings for snapshot in newest if snapshot.arms}
    changed = set()
    for source in audit:
        if not (source.value or b"").startswith(HEADERS[CommandApplied]):
            continue
        applied = decoded(source, CommandApplied)
        if applied.command_id == SETTINGS_CHANGE and applied.bandit_id not in changed:
            changed.add(applied.bandit_id)
            settings[applied.bandit_id], _ = settings_changed(place(source), applied)
    return settings
