"""An explanation as lines for people. Law: the answer first, then what it rests on; numbers stand under each other."""

from collections.abc import Iterator, Sequence

from armstream.explain.audit import time_text
from armstream.explain.facts import ArmMove, ArmTold, Explanation, Part, Read
from armstream.oracle.steps import Step
from armstream.printable import printable

_NO = "-"


def lines_of(told: Explanation) -> list[str]:
    """Without what moves a cursor."""
    return list(map(printable, _lines(told)))


def _lines(told: Explanation) -> Iterator[str]:
    yield f"{told.bandit_id}  version {told.version}  published {time_text(told.published_ts)}"
    yield f"{'DIFFERS: ' if told.result == 'differs' else ''}{told.text}"
    yield from (f"note: {note}" for note in told.notes)
    yield ""
    yield from _vectors(told)
    for part in told.parts:
        yield ""
        yield from _part(part)
    if told.reading:
        yield ""
        yield "the weights, as they are read from the state after it"
        yield from _steps(told.reading)


# Before and after.


def _vectors(told: Explanation) -> Iterator[str]:
    yield from _about(told)
    width = max(3, *(len(arm.name) for arm in told.arms)) if told.arms else 3
    has_mixing = any(_differ(arm) for arm in told.arms)
    head = f"  {'arm':<{width}}  {'before':>8}  {'after':>8}  {'moved':>9}"
    yield head + (f"  {'probability':>11}" if has_mixing else "")
    for arm in told.arms:
        was, now = arm.weight_before, arm.weight_after
        line = f"  {arm.name:<{width}}  {_percent(was):>8}  {_percent(now):>8}  {_moved(was, now):>9}"
        yield line + (f"  {_percent(arm.probability_after):>11}" if has_mixing else "")
    if told.experts:
        width = max(len(expert.name) for expert in told.experts)
        yield f"  {'expert':<{max(width, 6)}}  {'before':>8}  {'after':>8}  {'moved':>9}"
    for expert in told.experts:
        was, now = expert.weight_before, expert.weight_after
        yield f"  {expert.name:<{max(width, 6)}}  {_percent(was):>8}  {_percent(now):>8}  {_moved(was, now):>9}"


def _about(told: Explanation) -> Iterator[str]:
    rule = " ".join(filter(None, (told.rule, told.estimator)))
    for name, read in (("before", told.before), ("after", told.after)):
        if read is not None:
            yield f"{name:<6}  version {read.version}{_state(read)}"
    if rule:
        yield f"by {rule}{f', from {told.state_from}' if told.state_from else ''}"


def _state(read: Read) -> str:
    said = "" if read.total_steps is None else f"  {read.total_steps:,} decisions"
    said += "" if read.eta is None else f"  eta {read.eta:.6g}"
    said += "" if read.reward_bound_bps is None else f"  reward bound {read.reward_bound_bps:,.6g} bps"
    blend = "" if read.blend_alpha is None else f"  blend alpha {read.blend_alpha:.4g}"
    return said + ("" if read.phase is None else f"  {read.phase}{blend}")


def _differ(arm: ArmMove) -> bool:
    return arm.probability_after is not None and arm.probability_after != arm.weight_after


def _percent(weight: float | None) -> str:
    return _NO if weight is None else f"{100 * weight:.2f} %"


def _moved(was: float | None, now: float | None) -> str:
    if was is None:
        return "new"
    return "removed" if now is None else f"{100 * (now - was):+.2f} %"


# Parts.


def _part(part: Part) -> Iterator[str]:
    yield f"version {part.version}  {time_text(part.ts)}  {part.text}"
    if part.kind == "reward":
        yield from map("  {}".format, _reward(part))
    yield from _steps(part.steps)
    if part.missing:
        yield f"  {part.missing}: no more is known"
    if part.moved:
        moved = (f"{one.name} {_moved(one.before, one.after)}" for one in part.moved)
        yield f"  moved  {', '.join(moved)}"


def _reward(part: Part) -> Iterator[str]:
    if part.gross_bps is not None:
        costs = (
            ("fill fees", part.fill_fees_bps),
            ("close fees", part.close_fees_bps),
            ("slippage", part.slippage_bps),
        )
        said = ", ".join(f"{name} {cost or 0.0:+.6g}" for name, cost in costs)
        yield f"earned {part.reward_bps or 0.0:+.6g} bps = price {part.gross_bps:+.6g}, {said}"
    if part.fill is not None:
        fill = part.fill
        size = f"{fill.quantity:,.12g} of {fill.instrument_id}, fees {fill.fees:.6g}{_currency(fill.currency)}"
        yield f"fill   {fill.event_id}  {fill.topic}:{fill.partition}:{fill.offset}  {time_text(fill.ts)}  {size}"
    if part.close is not None:
        close = part.close
        slippage = f"slippage {close.slippage:.6g}{' (in the price)' if close.slippage_in_price else ''}"
        size = f"{close.quantity:,.12g}, fees {close.fees:.6g}, {slippage}"
        yield f"close  {close.event_id}  {close.topic}:{close.partition}:{close.offset}  {time_text(close.ts)}  {size}"
    yield from _decided(part)
    if part.applied and not part.steps:
        estimates = ", ".join(f"{arm.name} {arm.estimate:.6g}" for arm in part.arms if arm.estimate is not None)
        yield f"taught by the audit record: eta {part.eta or 0.0:.6g}, estimate of {estimates}"
    if not part.applied:
        yield f"withheld from the learner: {part.detail}"
    elif not part.counted:
        yield "a later part of a decision that was counted before"


def _currency(currency: str) -> str:
    return f" {currency}" if currency else ""


def _decided(part: Part) -> Iterator[str]:
    """Who was behind the decision, and what else of it was seen."""
    weight = "" if part.weight == 1.0 else f", {_percent(part.weight)} of the decision"
    played = [arm for arm in part.arms if arm.share]
    if part.drawn is not None or (len(played) == 1 and played[0].share == 1.0):
        yield f"drawn  {part.drawn or played[0].name}{_drawn_with(part, played)}{weight}"
    else:
        yield f"blend  {', '.join(f'{arm.name} {_percent(arm.share)}' for arm in played)}{weight}"
    chances = [arm for arm in part.arms if arm.propensity is not None]
    if len(part.arms) > len(played) and chances:
        seen = ", ".join(f"{arm.name} {arm.propensity:.6g}" for arm in chances)
        yield f"seen   {seen}: the probability o of seeing each"


def _drawn_with(part: Part, played: Sequence[ArmTold]) -> str:
    if part.propensity_source == "CURRENT":
        p = played[0].propensity if played else None
        return "" if p is None else f" with probability {p:.6g}, today's: none was logged"
    p = None if part.fill is None else part.fill.propensity
    return "" if p is None else f" with propensity {p:.6g}, as logged"


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    """NAME = FORMULA, and under it = NUMBERS = VALUE; a formula is said once."""
    names = [f"{step.name} of {step.of}" if step.of else step.name for step in steps]
    width, said = max(map(len, names), default=0), set[str]()
    for name, step in zip(names, steps, strict=True):
        value = f"{step.value:.6g}{f' {step.unit}' if step.unit else ''}"
        worked_out = value if step.numbers == value else f"{step.numbers} = {value}"
        is_said = step.formula in said
        said.add(step.formula)
        if not is_said:
            yield f"  {name:<{width}} = {step.formula}"
        yield f"  {name if is_said else '':<{width}} = {worked_out}"
