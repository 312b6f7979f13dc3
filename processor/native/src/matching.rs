//! Within a position, the n-th unit closed realises the n-th unit filled: `stages/matching.py`, step by step.
//! Law: each sum runs in the order that it has there.

use crate::avro::{BUY, Unusual, Usual};
use crate::position::{PositionFill, WaitingClose};

const ROUNDING: f64 = f64::EPSILON;
const TINY: f64 = 1e-300;
const HUGE: f64 = 1e300;
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
const MAX_REWARD_BPS: f64 = 1e12;

pub struct Segment<'a> {
    pub fill_event_id: &'a [u8],
    pub close_event_id: &'a [u8],
    pub quantity: f64,
    pub reward_bps: f64,
    pub weight: f64,
    pub ts_event: i64,
    pub costs_bps: f64,
    pub is_written_off: bool,
}

/// What of a close its segment needs.
#[derive(Clone, Copy)]
pub struct Closing<'a> {
    pub event_id: &'a [u8],
    pub quantity: f64,
    pub price: f64,
    pub fees: f64,
    pub slippage: f64,
    pub slippage_in_price: f64,
    pub ts_event: i64,
}

impl<'a> Closing<'a> {
    pub fn of(close: &'a WaitingClose) -> Self {
        Self {
            event_id: &close.event_id,
            quantity: close.quantity,
            price: close.price,
            fees: close.fees,
            slippage: close.slippage,
            slippage_in_price: close.slippage_in_price,
            ts_event: close.ts_event,
        }
    }
}

pub fn is_nothing(left: f64, quantity: f64, filled_quantity: f64, event_count: usize) -> bool {
    if left <= 0.0 {
        return true;
    }
    let size = if filled_quantity > quantity { filled_quantity } else { quantity };
    left <= event_count as f64 * ROUNDING * size && left <= quantity / 1024.0 && (left < 1.0 || size > WHOLE_MAX)
}

pub fn is_done(has_final: bool, order_quantity: Option<f64>, filled_quantity: f64, count: usize) -> bool {
    match order_quantity {
        _ if has_final => true,
        None => true,
        Some(whole) => filled_quantity >= whole || is_nothing(whole - filled_quantity, whole, filled_quantity, count),
    }
}

/// Where a close leaves the position's fills, what is left of it, and the quantity that it realises of each fill from
/// `at` on.
pub struct ClosedFills {
    pub at: usize,
    pub open_left: f64,
    pub left: f64,
    pub parts: Vec<(usize, f64)>,
}

pub fn close_fills(
    fills: &[PositionFill],
    mut at: usize,
    mut open_left: f64,
    quantity: f64,
    filled_quantity: f64,
    event_count: usize,
) -> Usual<ClosedFills> {
    let (mut left, count) = (quantity, fills.len());
    if left == open_left && at + 1 == count {
        return Ok(ClosedFills { at: count, open_left: 0.0, left: 0.0, parts: vec![(at, left)] });
    }
    let mut parts = Vec::new();
    while left != 0.0 && open_left != 0.0 {
        let fill = fills.get(at).ok_or(Unusual)?;
        let matched = if open_left < left { open_left } else { left };
        parts.push((at, matched));
        open_left -= matched;
        left -= matched;
        if is_nothing(open_left, fill.quantity, filled_quantity, event_count) {
            at += 1;
            open_left = fills.get(at).map_or(0.0, |next| next.quantity);
        }
        if is_nothing(left, quantity, filled_quantity, event_count) {
            left = 0.0;
        }
    }
    Ok(ClosedFills { at, open_left, left, parts })
}

/// What a fill leaves of itself, how many of the closes it ends, what is left of the next one (0: all), and the
/// quantity that it realises of each.
pub struct FilledCloses {
    pub left: f64,
    pub ended: usize,
    pub close_left: f64,
    pub parts: Vec<(usize, f64)>,
}

pub fn fill_closes(waiting: &[WaitingClose], quantity: f64, filled_quantity: f64, event_count: usize) -> FilledCloses {
    let (mut left, mut at, mut close_left) = (quantity, 0, 0.0);
    let mut parts = Vec::new();
    while left != 0.0 && at < waiting.len() {
        let close = &waiting[at];
        if close_left == 0.0 {
            close_left = close.left;
        }
        let matched = if left < close_left { left } else { close_left };
        parts.push((at, matched));
        left -= matched;
        close_left -= matched;
        if is_nothing(left, quantity, filled_quantity, event_count) {
            left = 0.0;
        }
        if is_nothing(close_left, close.quantity, filled_quantity, event_count) {
            at += 1;
            close_left = 0.0;
        }
    }
    FilledCloses { left, ended: at, close_left, parts }
}

pub fn weight_of(filled_weight: f64, filled_quantity: f64, quantity: f64, whole: Option<f64>) -> f64 {
    let left = 1.0 - filled_weight;
    match whole {
        Some(whole) if whole > filled_quantity + quantity => left * quantity / (whole - filled_quantity),
        _ => left,
    }
}

/// Unusual where no learner could take it, since the words for why are Python's.
pub fn segment_of<'a>(
    multiplier: f64,
    side: u8,
    fill: &PositionFill<'a>,
    close: &Closing<'a>,
    quantity: f64,
    max_cost_ratio: f64,
) -> Usual<Segment<'a>> {
    let price_move = if side == BUY { close.price - fill.price } else { fill.price - close.price };
    let net = price_move * quantity * multiplier
        - fill.fees * quantity / fill.quantity
        - (close.fees + close.slippage) * quantity / close.quantity;
    let notional = match fill.notional {
        None => fill.price * quantity * multiplier,
        Some(notional) => notional * quantity,
    };
    if !(TINY..=HUGE).contains(&notional) {
        return Err(Unusual);
    }
    let reward_bps = net / notional * 10_000.0;
    let mut costs_bps = 0.0;
    if !(-MAX_REWARD_BPS..=MAX_REWARD_BPS).contains(&reward_bps) {
        return Err(Unusual);
    }
    if fill.fees != 0.0 || close.fees != 0.0 || close.slippage != 0.0 || close.slippage_in_price != 0.0 {
        let paid = close.fees + close.slippage + close.slippage_in_price;
        costs_bps = (fill.fees * quantity / fill.quantity + paid * quantity / close.quantity) / notional * 10_000.0;
        let costs = fill.fees.abs() * quantity / fill.quantity
            + (close.fees.abs() + close.slippage.abs()) * quantity / close.quantity;
        if costs > max_cost_ratio * notional {
            return Err(Unusual);
        }
    }
    Ok(Segment {
        fill_event_id: fill.event_id,
        close_event_id: close.event_id,
        quantity,
        reward_bps,
        weight: fill.weight * (quantity / fill.quantity),
        ts_event: close.ts_event.max(fill.ts_event),
        costs_bps,
        is_written_off: false,
    })
}

/// What is open from `at` on once the closes are complete: nothing is earned by it, and nothing learned.
pub fn write_off<'a>(fills: &[PositionFill<'a>], at: usize, open_left: f64, close: &Closing<'a>) -> Vec<Segment<'a>> {
    let open = fills.iter().skip(at).enumerate().map(|(index, fill)| {
        let quantity = if index == 0 { open_left } else { fill.quantity };
        Segment {
            fill_event_id: fill.event_id,
            close_event_id: close.event_id,
            quantity,
            reward_bps: 0.0,
            weight: fill.weight * (quantity / fill.quantity),
            ts_event: fill.ts_event.max(close.ts_event),
            costs_bps: 0.0,
            is_written_off: true,
        }
    });
    open.collect()
}
