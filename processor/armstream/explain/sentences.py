"""What one audit record is about, in a sentence. Law: it says what was published, and nothing that was worked out."""

import json

from armstream.events import Command, CommandApplied, Reward
from armstream.explain.inputs import Behind
from armstream.oracle.settings import DEFAULTS, told

_SHOWN_CHARACTERS = 60


def reward_text(reward: Reward, behind: Behind) -> str:
    fill, close, quantity = behind.fill, behind.close, f"{reward.quantity:,.12g}"
    if fill is None:
        opened = f"{quantity} of fill {reward.fill_event_id!r}"
    else:
        opened = f"{fill.side} {quantity} {fill.instrument_id} at {fill.price:.12g}"
    if reward.detail.startswith("written off: "):
        return f"{opened}, {reward.detail}"
    closed = f"by close {reward.close_event_id!r}" if close is None else f"at {close.price:.12g}"
    return f"{opened}, closed {closed}: {reward.reward_bps:+.6g} bps net"


def command_text(applied: CommandApplied, command: Command | None) -> str:
    what: str = applied.action
    if command is not None:
        what += f" {command.choice}" if command.choice else ""
        what += f" {command.number:.12g}" if command.number is not None else ""
    said = f"{what} {applied.outcome}, command {applied.command_id!r}"
    because = applied.detail or (command.reason if command is not None else "")
    return f"{said}: {because}" if because else said


def settings_text(applied: CommandApplied) -> str:
    """Which settings changed."""
    try:
        detail = json.loads(applied.detail)
        before, after = (told(json.dumps(detail[name])) for name in ("settings_before", "settings"))
    except (ValueError, TypeError, KeyError):
        return "settings changed, and the learner began anew"
    changed = [
        f"{name} from {_short(before[name])} to {_short(after[name])}"
        for name in ("arms", *DEFAULTS)
        if before[name] != after[name]
    ]
    return f"settings changed, and the learner began anew: {', '.join(changed) or 'nothing that decides its numbers'}"


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
