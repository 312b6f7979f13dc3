//! Fills and closes of the usual shape become part of their position, and what they realise is learned:
//! `stages/reward.py`, `stages/validation.py` and `stages/expiry.py`, as far as nothing is refused.
//!
//! Law: what is unusual is found before anything changes but the bandit's time; the Python stages take the event then.

use std::cmp::Reverse;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::avro::{
    BUY, Reader, SELL, Unusual, Usual, ids_of, position_key, put_bytes, put_long, put_optional_bytes, put_optional_double,
};
use crate::bandit::{Bandit, NEVER, Of, Taught, is_unlogged, teach, why_withheld};
use crate::events::{Close, Fill};
use crate::learning::summation::fsum;
use crate::matching::{Closing, Segment, close_fills, fill_closes, is_done, segment_of, weight_of, write_off};
use crate::position::{Decision, Position, PositionClose, PositionFill, WaitingClose, terms_bytes};
use crate::state::{Change, Limits, Loaded, State, Waiting};

const LARGEST: f64 = 1e300;
const MIN_PROPENSITY: f64 = 1e-200;
const MAX_SHARE: f64 = 1e6;
const MAX_CONTRIBUTED: f64 = 1.0 + 1e-6;
const ID_MAX_BYTES: usize = 200;
const NAME_MAX_CHARACTERS: usize = 100;
const LISTED_MAX: usize = 1_000;
const NAMES_SURELY_FIT: usize = 256;
const PAGE_EVENTS: usize = 64;
const MAX_WAITING_BYTES: usize = 262_144;
const FIRST_CREDIBLE_MICROS: i64 = 631_152_000_000_000;
const ORPHAN_CLOSE: i64 = 7; // of the classes in the schema

/// Why the core goes no further with an event.
pub enum Stop {
    Unusual,
    Failed(PyErr),
}

impl From<Unusual> for Stop {
    fn from(_: Unusual) -> Self {
        Stop::Unusual
    }
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Stop::Failed(error)
    }
}

/// A record's place and bytes, as an early close keeps them; `may_be_kept` is asked only for such a one.
pub struct Envelope<'a> {
    pub topic: &'a str,
    pub partition: i64,
    pub offset: i64,
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub may_be_kept: &'a dyn Fn() -> PyResult<bool>,
}

/// What every event of a batch is applied with.
pub struct With<'a, R> {
    pub read: &'a R,
    pub reward_header: &'a [u8],
    pub cut: &'a [u8],
}

fn require(holds: bool) -> Usual<()> {
    if holds { Ok(()) } else { Err(Unusual) }
}

fn is_positive(value: f64) -> bool {
    value > 0.0 && value <= LARGEST
}

fn is_price(value: f64) -> bool {
    (-LARGEST..=LARGEST).contains(&value)
}

/// Whether Python's repr of it is the text in single quotes.
fn is_quoted_as_it_is(id: &str) -> bool {
    id.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\'' && byte != b'\\')
}

fn fits(id: &str) -> bool {
    (1..=ID_MAX_BYTES).contains(&id.len())
}

/// Tells the time to a bandit, where it is one that the core can teach.
pub fn tell_time<R>(state: &mut State, slot: usize, ts_event: i64, is_fill: bool, read: &R) -> Result<(), Stop>
where
    R: Fn(&Py<PyAny>) -> PyResult<Option<Position>>,
{
    let bandit = state.bandit(slot).ok_or(Unusual)?;
    require(bandit.native().is_some() && state.slots[slot].is_here && ts_event >= FIRST_CREDIBLE_MICROS)?;
    Ok(state.tell_time(slot, ts_event, is_fill, read)?)
}

// --- fills -----------------------------------------------------------------------------------------------------------

/// False for a duplicate.
pub fn take_fill<R>(state: &mut State, slot: usize, fill: &Fill, with: &With<R>) -> Result<Option<Event>, Stop>
where
    R: Fn(&Py<PyAny>) -> PyResult<Option<Position>>,
{
    let mut loaded = state.load(fill.key, with.read)?.ok_or(Unusual)?;
    match fill_into(state, slot, fill, with, &mut loaded) {
        Ok(Some(done)) => Ok(Some(put(state, slot, loaded, done))),
        Ok(None) => {
            state.unload(loaded);
            Ok(None)
        }
        Err(stop) => {
            state.unload(loaded);
            Err(stop.into())
        }
    }
}

fn fill_into<R>(
    state: &State,
    slot: usize,
    fill: &Fill,
    with: &With<R>,
    loaded: &mut Loaded,
) -> Usual<Option<Done>> {
    let (was, limits) = (&loaded.position, &state.limits);
    let bandit = state.bandit(slot).ok_or(Unusual)?;
    require(!was.is_paged)?;
    if let Some(known) = was.known_fill(fill) {
        let is_same = known.quantity == fill.quantity
            && known.price == fill.price
            && known.fees == fill.fees
            && was.side == fill.side
            && known.notional == fill.notional;
        require(known.quantity == 0.0 || is_same)?;
        return Ok(None);
    }
    check_fill(bandit, limits, fill)?;
    let oldest_taken = bandit.fill_watermark.saturating_sub(limits.dedupe_window_micros);
    require(fill.ts_event >= oldest_taken && !(loaded.is_new && fill.ts_event <= bandit.forgotten_until))?;
    let decision = agreed_decision(was, fill)?;
    let count = was.fill_count + was.close_count + 1;
    require(count < PAGE_EVENTS)?;
    require_room(state, loaded.is_new, count)?;

    let filled = PositionFill {
        event_id: fill.event_id.as_bytes(),
        quantity: fill.quantity,
        price: fill.price,
        fees: fill.fees,
        weight: weight_of(was.filled_weight, was.filled_quantity, fill.quantity, fill.order_quantity),
        ts_event: fill.ts_event,
        exec_id: fill.exec_id.map(str::as_bytes),
        notional: fill.notional,
    };
    let filled_quantity = was.filled_quantity + fill.quantity;
    let matched = fill_closes(&was.waiting, fill.quantity, filled_quantity, count);
    let mut open_left = was.open_left;
    if matched.left != 0.0 && open_left == 0.0 {
        open_left = matched.left;
        require(state.counts.open < limits.max_open_positions)?;
    }
    let mut segments = Vec::with_capacity(matched.parts.len());
    for (at, part) in &matched.parts {
        let close = Closing::of(&was.waiting[*at]);
        segments.push(segment_of(
            decision.multiplier,
            fill.side,
            &filled,
            &close,
            *part,
            limits.max_cost_ratio,
        )?);
    }
    let of = Of {
        bandit_id: fill.bandit_id.as_bytes(),
        position_id: ids_of(fill.key).1,
        side: fill.side,
        counted: was.counted,
        header: with.reward_header,
        cut: with.cut,
    };
    let lesson = lesson_of(bandit, limits, &decision, &segments, &of)?;
    let counts = lesson.as_ref().is_some_and(|lesson| lesson.counts);
    let has_waiting = matched.ended < was.waiting.len();
    let is_flat = open_left == 0.0 && !has_waiting;
    let is_over = is_flat && is_done(false, decision.order_quantity, filled_quantity, count);
    let decision_after = if is_over { None } else { Some(decision_bytes(&decision, lesson.as_ref())) };

    let (before, after) = (Before::of(loaded), &mut loaded.position);
    after.add_fill(&filled);
    after.ts_last = after.ts_last.max(fill.ts_event);
    after.counted = after.counted || counts;
    after.filled_quantity = filled_quantity;
    after.filled_weight += filled.weight;
    after.side = fill.side;
    if before.open_left == 0.0 {
        after.open_from = after.fill_count as i64 - i64::from(open_left > 0.0);
    }
    after.open_left = open_left;
    after.set_decision(decision_after);
    after.waiting.drain(..matched.ended);
    let partly_matched = after.waiting.first_mut().filter(|_| matched.close_left != 0.0);
    if let Some(first) = partly_matched {
        first.left = matched.close_left;
    }
    Ok(Some(Done { before, lesson, event_id: fill.event_id.into(), ts_event: fill.ts_event }))
}

fn check_fill(bandit: &Bandit, limits: &Limits, fill: &Fill) -> Usual<()> {
    let choice = &fill.choice;
    let is_text = |text: &str| text.len() <= ID_MAX_BYTES;
    require(fits(fill.event_id) && fits(text_of_position(fill.key)))?;
    require(is_text(fill.instrument_id) && is_text(fill.currency) && fill.exec_id.is_none_or(is_text))?;
    require(choice.probabilities.len() <= LISTED_MAX && choice.advice.is_empty())?;
    require(fill.side != 0 && is_positive(fill.quantity) && is_positive(fill.multiplier))?;
    match fill.notional {
        None => require(is_positive(fill.price))?,
        Some(notional) => require(is_price(fill.price) && is_positive(notional))?,
    }
    require(fill.order_quantity.is_none_or(is_positive) && fill.fees.is_finite())?;
    require(choice.propensity.is_none_or(|propensity| (MIN_PROPENSITY..=1.0).contains(&propensity)))?;
    match choice.arm {
        Some(arm) => {
            require(choice.contributions.is_empty() && bandit.arms.index_of(arm).is_some())?;
            let is_tsallis = bandit.rules.as_ref().is_some_and(|rules| rules.parameters.is_tsallis);
            require(!(is_tsallis && is_unlogged(choice.propensity)))?;
        }
        None => check_contributions(bandit, fill)?,
    }
    check_signals(bandit, limits, fill)
}

fn text_of_position(key: &[u8]) -> &str {
    crate::state::text_of(ids_of(key).1)
}

fn check_contributions(bandit: &Bandit, fill: &Fill) -> Usual<()> {
    let contributions = fill.choice.contributions;
    let is_legal = |(name, share): (&str, f64)| {
        (0.0..=MAX_SHARE).contains(&share) && bandit.arms.index_of(name).is_some()
    };
    require(contributions.iter().all(is_legal))?;
    let contributed = fsum(contributions.iter().map(|(_, share)| share));
    require(contributed > 0.0 && contributed <= MAX_CONTRIBUTED)
}

fn check_signals(bandit: &Bandit, limits: &Limits, fill: &Fill) -> Usual<()> {
    let (signals, choice) = (&fill.signals, &fill.choice);
    require(signals.len() + choice.contributions.items.count <= NAMES_SURELY_FIT)?;
    if signals.is_empty() {
        return Ok(());
    }
    require(signals.len() <= limits.max_arms || signals.len() <= bandit.arms.names.len())?;
    let is_older = bandit.is_older(choice.weights_version);
    let is_legal = |(name, signal): (&str, u8)| {
        let is_known = bandit.arms.index_of(name).is_some();
        signal != 0 && (is_known || (is_older && name.chars().count() <= NAME_MAX_CHARACTERS))
    };
    require(signals.iter().all(is_legal))?;
    match choice.arm {
        Some(arm) => require(signals.get(arm) == Some(fill.side)),
        None => {
            let mut shares = choice.contributions.iter();
            require(shares.all(|(name, share)| share == 0.0 || matches!(signals.get(name), Some(BUY | SELL))))
        }
    }
}

/// The position's decision, which the fill shares or makes; the order may have been amended since.
fn agreed_decision<'a>(was: &'a Position, fill: &Fill<'a>) -> Usual<Decision<'a>> {
    let decision = Decision::of(fill);
    require(was.final_close_id.is_none() && (was.side == 0 || was.side == fill.side))?;
    let Some(known) = was.decision() else {
        require(was.filled_quantity == 0.0)?;
        return Ok(decision);
    };
    require(decision.is_same(&known) && known.order_quantity.is_some() && fill.order_quantity.is_some())?;
    Ok(Decision { order_quantity: fill.order_quantity, ..known })
}

fn require_room(state: &State, is_new: bool, count: usize) -> Usual<()> {
    let limits = &state.limits;
    let is_full = is_new && state.counts.positions >= limits.max_positions_remembered && state.counts.finished == 0;
    require(!is_full && count <= limits.max_events_per_position)
}

// --- closes ----------------------------------------------------------------------------------------------------------

/// None for a duplicate.
pub fn take_close<R>(
    state: &mut State,
    slot: usize,
    close: &Close,
    envelope: &Envelope,
    with: &With<R>,
) -> Result<Option<Event>, Stop>
where
    R: Fn(&Py<PyAny>) -> PyResult<Option<Position>>,
{
    let mut loaded = state.load(close.key, with.read)?.ok_or(Unusual)?;
    match close_into(state, slot, close, envelope, with, &mut loaded) {
        Ok(Some(done)) => Ok(Some(put(state, slot, loaded, done))),
        Ok(None) => {
            state.unload(loaded);
            Ok(None)
        }
        Err(stop) => {
            state.unload(loaded);
            Err(stop)
        }
    }
}

fn close_into<R>(
    state: &State,
    slot: usize,
    close: &Close,
    envelope: &Envelope,
    with: &With<R>,
    loaded: &mut Loaded,
) -> Result<Option<Done>, Stop> {
    let (was, limits) = (&loaded.position, &state.limits);
    let bandit = state.bandit(slot).ok_or(Unusual)?;
    require(!was.is_paged)?;
    let (mut slippage, mut slippage_in_price) = (close.slippage, 0.0);
    if close.slippage_in_price && close.slippage != 0.0 {
        slippage_in_price = if is_price(slippage) { slippage } else { 0.0 };
        slippage = 0.0;
    }
    if let Some(known) = was.known_close(close) {
        let was_final = was.final_close_id.as_deref() == Some(known.event_id);
        let is_same = known.quantity == close.quantity
            && known.price == close.price
            && known.fees == close.fees
            && known.slippage == slippage
            && was_final == close.is_final;
        require(known.quantity == 0.0 || is_same)?;
        return Ok(None);
    }
    check_close(close, slippage)?;
    let oldest_taken = bandit.close_watermark.saturating_sub(limits.dedupe_window_micros);
    require(close.ts_event >= oldest_taken && !(loaded.is_new && close.ts_event <= bandit.forgotten_until))?;
    let count = was.fill_count + was.close_count + 1;
    require(count < PAGE_EVENTS && was.final_close_id.is_none())?;
    require_room(state, loaded.is_new, 1)?;

    let fills: Vec<PositionFill> = if was.open_left == 0.0 { vec![] } else { was.fills().collect() };
    let (mut at, mut open_left, mut left, mut parts) = (was.open_from, 0.0, close.quantity, vec![]);
    if was.open_left != 0.0 {
        let from = usize::try_from(at).map_err(|_| Unusual)?;
        let closed = close_fills(&fills, from, was.open_left, close.quantity, was.filled_quantity, count)?;
        at = closed.at as i64;
        (open_left, left, parts) = (closed.open_left, closed.left, closed.parts);
    }
    let waits = if left == 0.0 { None } else { Some(waiting_close(was, close, slippage, left, envelope)?) };
    let closing = Closing {
        event_id: close.event_id.as_bytes(),
        quantity: close.quantity,
        price: close.price,
        fees: close.fees,
        slippage,
        slippage_in_price,
        ts_event: close.ts_event,
    };
    let decision = was.decision();
    let (mut lesson, mut segments) = (None, Vec::with_capacity(parts.len()));
    if !parts.is_empty() {
        let decision = decision.as_ref().ok_or(Unusual)?;
        for (index, part) in &parts {
            let fill = fills.get(*index).ok_or(Unusual)?;
            segments.push(segment_of(decision.multiplier, was.side, fill, &closing, *part, limits.max_cost_ratio)?);
        }
        if close.is_final && open_left != 0.0 {
            require(is_quoted_as_it_is(close.event_id))?;
            segments.extend(write_off(&fills, usize::try_from(at).map_err(|_| Unusual)?, open_left, &closing));
            (at, open_left) = (fills.len() as i64, 0.0);
        }
        let of = Of {
            bandit_id: close.bandit_id.as_bytes(),
            position_id: ids_of(close.key).1,
            side: was.side,
            counted: was.counted,
            header: with.reward_header,
            cut: with.cut,
        };
        lesson = lesson_of(bandit, limits, decision, &segments, &of)?;
    }
    let counts = lesson.as_ref().is_some_and(|lesson| lesson.counts);
    let is_flat = open_left == 0.0 && waits.is_none() && was.waiting.is_empty();
    let decision_after = match &decision {
        None => None,
        Some(decision)
            if is_flat && is_done(close.is_final, decision.order_quantity, was.filled_quantity, count) =>
        {
            None
        }
        Some(decision) => Some(decision_bytes(decision, lesson.as_ref())),
    };

    let (before, after) = (Before::of(loaded), &mut loaded.position);
    after.add_close(&PositionClose {
        event_id: close.event_id.as_bytes(),
        quantity: close.quantity,
        price: close.price,
        fees: close.fees,
        slippage,
        exec_id: close.exec_id.map(str::as_bytes),
    });
    after.ts_last = after.ts_last.max(close.ts_event);
    after.counted = after.counted || counts;
    after.open_from = at;
    after.open_left = open_left;
    after.set_decision(decision_after);
    if let Some(mut waits) = waits {
        waits.slippage_in_price = slippage_in_price;
        after.waiting.push(waits);
    }
    if close.is_final {
        after.final_close_id = Some(close.event_id.as_bytes().into());
    }
    Ok(Some(Done { before, lesson, event_id: close.event_id.into(), ts_event: close.ts_event }))
}

fn check_close(close: &Close, slippage: f64) -> Usual<()> {
    require(fits(close.event_id) && fits(text_of_position(close.key)))?;
    require(close.exec_id.is_none_or(|id| id.len() <= ID_MAX_BYTES))?;
    require(is_positive(close.quantity) && is_price(close.price))?;
    require(close.fees.is_finite() && slippage.is_finite())
}

fn waiting_close(
    was: &Position,
    close: &Close,
    slippage: f64,
    left: f64,
    envelope: &Envelope,
) -> Result<WaitingClose, Stop> {
    require((envelope.may_be_kept)()?)?;
    let mut source = Vec::with_capacity(envelope.value.len() + 64);
    put_bytes(&mut source, envelope.topic.as_bytes());
    put_long(&mut source, envelope.partition);
    put_long(&mut source, envelope.offset);
    put_optional_bytes(&mut source, Some(envelope.key));
    put_optional_bytes(&mut source, Some(envelope.value));
    source.push(0); // no headers
    let sources = was.waiting.iter().map(|one| one.source.len()).sum::<usize>() + source.len();
    let most_bytes = 4 * sources + (88 + ID_MAX_BYTES) * (was.waiting.len() + 1); // rather too many than too few
    require(most_bytes <= MAX_WAITING_BYTES)?;
    Ok(WaitingClose {
        event_id: close.event_id.as_bytes().into(),
        quantity: close.quantity,
        price: close.price,
        fees: close.fees,
        slippage,
        left,
        ts_event: close.ts_event,
        source: source.into(),
        slippage_in_price: 0.0,
    })
}

// --- both ------------------------------------------------------------------------------------------------------------

/// What was learned of an event's segments.
pub struct Lesson {
    pub taught: Taught,
    counts: bool,
}

fn lesson_of(
    bandit: &Bandit,
    limits: &Limits,
    decision: &Decision,
    segments: &[Segment],
    of: &Of,
) -> Usual<Option<Lesson>> {
    if segments.is_empty() {
        return Ok(None);
    }
    let withheld = why_withheld(bandit, limits.enabled, decision)?;
    let taught = teach(bandit, decision, segments, withheld, of)?;
    Ok(Some(Lesson { taught, counts: withheld.is_none() }))
}

fn decision_bytes(decision: &Decision, lesson: Option<&Lesson>) -> Box<[u8]> {
    match lesson.and_then(|lesson| lesson.taught.terms.as_ref()) {
        None => decision.bytes(),
        Some(terms) => decision.with_terms(&terms_bytes(terms), terms.len()).bytes(),
    }
}

struct Before {
    is_new: bool,
    was_flat: bool,
    open_left: f64,
    waiting: usize,
}

impl Before {
    fn of(loaded: &Loaded) -> Self {
        let position = &loaded.position;
        Self {
            is_new: loaded.is_new,
            was_flat: !loaded.is_new && position.is_flat(),
            open_left: position.open_left,
            waiting: position.waiting.len(),
        }
    }
}

struct Done {
    before: Before,
    lesson: Option<Lesson>,
    event_id: Box<str>,
    ts_event: i64,
}

/// What an accepted event did.
pub struct Event {
    pub lesson: Option<Lesson>,
}

/// State as it is after the event.
fn put(state: &mut State, slot: usize, loaded: Loaded, done: Done) -> Event {
    let Done { before, mut lesson, event_id, ts_event } = done;
    let Loaded { position, changed, hash, .. } = loaded;
    let bandit = state.touch(slot);
    if let Some(lesson) = &mut lesson {
        bandit.learner = Some(Arc::new(std::mem::take(&mut lesson.taught.learner)));
        bandit.version = lesson.taught.version;
        bandit.cause_event_id = event_id.as_bytes().into();
        bandit.ts_event = ts_event;
    }
    let is_open = i64::from(position.open_left > 0.0);
    state.counts.positions += i64::from(before.is_new);
    state.counts.open += is_open - i64::from(before.open_left > 0.0);
    state.counts.waiting += position.waiting.len() as i64 - before.waiting as i64;
    let (key, is_flat, ts_last) = (position.key.clone(), position.is_flat(), position.ts_last);
    let position_id = ids_of(&key).1;
    let newest = position.waiting.last().filter(|_| position.waiting.len() > before.waiting);
    let newest = newest.map(|close| (close.ts_event, close.event_id.clone()));
    state.change(&key, hash, changed, Change::Native(position));
    state.note_flat(slot, before.was_flat, is_flat, ts_last, position_id);
    if let Some((ts_event, event_id)) = newest {
        state.note_waiting(slot, ts_event, &event_id, position_id);
    }
    Event { lesson }
}

/// A close that found no fill in time, as a record for `dead-letters`.
pub struct Orphan {
    pub key: Option<Box<[u8]>>,
    pub record: Vec<u8>,
}

/// Ends what is due in a bandit after one of its events, as far as its closes are the only dead letters; whether Python
/// must go on.
pub fn expire<R>(
    state: &mut State,
    slot: usize,
    read: &R,
    frame: &Frame,
    orphans: &mut Vec<Orphan>,
) -> PyResult<bool>
where
    R: Fn(&Py<PyAny>) -> PyResult<Option<Position>>,
{
    let Some(bandit) = state.touched_bandit(slot) else { return Ok(false) };
    let (oldest_wait, waited) = match bandit.fill_watermark {
        NEVER => (
            bandit.close_watermark.saturating_sub(state.limits.dedupe_window_micros),
            state.limits.dedupe_window_seconds.clone(),
        ),
        watermark => {
            (watermark.saturating_sub(state.limits.orphan_ttl_micros), state.limits.orphan_ttl_seconds.clone())
        }
    };
    while let Some(Reverse(hint)) = state.slots[slot].waiting.peek().filter(|hint| hint.0.0 < oldest_wait).cloned() {
        match end_waiting(state, slot, &hint, read, frame, &waited)? {
            Ok(orphan) => orphans.extend(orphan),
            Err(Unusual) => return Ok(true),
        }
        state.pop_waiting(slot);
    }
    if state.counts.waiting > state.limits.max_waiting_closes {
        return Ok(true);
    }
    state.forget_finished(slot, read)?;
    if state.touched_bandit(slot).is_some_and(|bandit| bandit.held_until < bandit.floor) {
        return Ok(true);
    }
    while state.counts.positions > state.limits.max_positions_remembered && state.counts.finished > 0 {
        if !state.make_room(slot, read)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What every dead letter of a record begins and ends with.
pub struct Frame<'a> {
    pub header: &'a [u8],
    pub cut: &'a [u8],
}

/// Ends the close that a hint names. None where it waits no more; Unusual, with nothing changed, for Python.
fn end_waiting<R>(
    state: &mut State,
    slot: usize,
    hint: &Waiting,
    read: &R,
    frame: &Frame,
    waited: &str,
) -> PyResult<Usual<Option<Orphan>>>
where
    R: Fn(&Py<PyAny>) -> PyResult<Option<Position>>,
{
    let key = position_key(state.slots[slot].name.as_bytes(), hint.2.as_bytes());
    let Some(mut loaded) = state.load(&key, read)? else { return Ok(Err(Unusual)) };
    let waiting = &loaded.position.waiting;
    let Some(close) = waiting.iter().find(|one| *one.event_id == *hint.1.as_bytes() && one.ts_event == hint.0) else {
        state.unload(loaded);
        return Ok(Ok(None));
    };
    let has_learner = state.bandit(slot).is_some_and(|bandit| bandit.native().is_some());
    let orphan = match orphan_of(close, frame, waited) {
        Ok(orphan) if has_learner && !loaded.position.is_paged => orphan,
        _ => {
            state.unload(loaded);
            return Ok(Err(Unusual));
        }
    };
    let (event_id, before) = (close.event_id.clone(), waiting.len());
    loaded.position.waiting.retain(|one| one.event_id != event_id);
    state.counts.waiting -= (before - loaded.position.waiting.len()) as i64;
    loaded.position.drop_decision_where_done();
    let (is_flat, ts_last) = (loaded.position.is_flat(), loaded.position.ts_last);
    state.touch(slot);
    state.change(&key, loaded.hash, loaded.changed, Change::Native(loaded.position));
    state.note_flat(slot, false, is_flat, ts_last, hint.2.as_bytes());
    state.forget_finished(slot, read)?;
    Ok(Ok(Some(orphan)))
}

fn orphan_of(close: &WaitingClose, frame: &Frame, waited: &str) -> Usual<Orphan> {
    let (left, quantity) = (shown(close.left)?, shown(close.quantity)?);
    let mut source = Reader::new(&close.source, 0);
    source.text()?;
    source.long()?;
    source.long()?;
    let key = source.optional(Reader::bytes)?.map(Box::from);
    let mut record = Vec::with_capacity(close.source.len() + frame.cut.len() + 96);
    record.extend_from_slice(frame.header);
    record.extend_from_slice(&close.source);
    put_long(&mut record, ORPHAN_CLOSE);
    put_bytes(&mut record, format!("no fill for {left} of {quantity} within {waited} s").as_bytes());
    put_long(&mut record, close.ts_event);
    put_optional_double(&mut record, Some(close.left));
    record.extend_from_slice(frame.cut);
    Ok(Orphan { key, record })
}

/// As Python's repr shows it, which takes an exponent elsewhere.
fn shown(number: f64) -> Usual<String> {
    require((1e-4..1e16).contains(&number))?;
    Ok(format!("{number:?}"))
}
