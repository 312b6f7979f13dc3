//! Inputs as they stand in their records. Law: what is read here is exactly what `codec.py` reads from the same bytes.

use crate::avro::{Doubles, NamedDoubles, Reader, Signals, Usual};

pub const TRADE: u8 = 1;

/// What an engine logged with a decision, as a fill and as its position have it in the same bytes.
#[derive(Clone, Copy, Default)]
pub struct Choice<'a> {
    pub raw: &'a [u8],
    pub arm: Option<&'a str>,
    pub propensity: Option<f64>,
    pub probabilities: Doubles<'a>,
    pub eta: Option<f64>,
    pub weights_version: Option<i64>,
    pub contributions: NamedDoubles<'a>,
    pub advice: NamedDoubles<'a>,
}

impl<'a> Choice<'a> {
    pub fn read(reader: &mut Reader<'a>) -> Usual<Self> {
        let start = reader.at();
        let arm = reader.optional(Reader::text)?;
        let propensity = reader.optional(Reader::double)?;
        let probabilities = reader.doubles()?;
        let eta = reader.optional(Reader::double)?;
        let weights_version = reader.optional(Reader::long)?;
        let contributions = reader.doubles_by_name()?;
        let advice = reader.doubles_by_name()?;
        let raw = reader.since(start);
        Ok(Self { raw, arm, propensity, probabilities, eta, weights_version, contributions, advice })
    }
}

pub struct Fill<'a> {
    pub event_id: &'a str,
    pub bandit_id: &'a str,
    pub key: &'a [u8],
    pub instrument_id: &'a str,
    pub side: u8,
    pub quantity: f64,
    pub price: f64,
    pub ts_event: i64,
    pub multiplier: f64,
    pub fees: f64,
    pub exec_type: u8,
    pub currency: &'a str,
    pub order_quantity: Option<f64>,
    pub exec_id: Option<&'a str>,
    pub choice: Choice<'a>,
    pub notional: Option<f64>,
    pub signals: Signals<'a>,
}

pub struct Close<'a> {
    pub event_id: &'a str,
    pub bandit_id: &'a str,
    pub key: &'a [u8],
    pub quantity: f64,
    pub price: f64,
    pub ts_event: i64,
    pub fees: f64,
    pub slippage: f64,
    pub slippage_in_price: bool,
    pub exec_type: u8,
    pub exec_id: Option<&'a str>,
    pub is_final: bool,
}

/// event_id, bandit_id, and the key that the latter and the position's id are.
fn ids<'a>(reader: &mut Reader<'a>) -> Usual<(&'a str, &'a str, &'a [u8])> {
    let event_id = reader.text()?;
    let start = reader.at();
    let bandit_id = reader.text()?;
    reader.text()?;
    Ok((event_id, bandit_id, reader.since(start)))
}

pub fn read_fill(record: &[u8]) -> Usual<Fill<'_>> {
    let mut reader = Reader::new(record, 10);
    let (event_id, bandit_id, key) = ids(&mut reader)?;
    let fill = Fill {
        event_id,
        bandit_id,
        key,
        instrument_id: reader.text()?,
        side: reader.symbol(3)?,
        quantity: reader.double()?,
        price: reader.double()?,
        ts_event: reader.long()?,
        multiplier: reader.double()?,
        fees: reader.double()?,
        exec_type: reader.symbol(4)?,
        currency: reader.text()?,
        order_quantity: reader.optional(Reader::double)?,
        exec_id: {
            let exec_id = reader.optional(Reader::text)?;
            reader.optional(Reader::text)?;
            exec_id
        },
        choice: Choice::read(&mut reader)?,
        notional: reader.optional(Reader::double)?,
        signals: reader.signals()?,
    };
    reader.end()?;
    Ok(fill)
}

pub fn read_close(record: &[u8]) -> Usual<Close<'_>> {
    let mut reader = Reader::new(record, 10);
    let (event_id, bandit_id, key) = ids(&mut reader)?;
    let close = Close {
        event_id,
        bandit_id,
        key,
        quantity: reader.double()?,
        price: reader.double()?,
        ts_event: reader.long()?,
        fees: reader.double()?,
        slippage: reader.double()?,
        slippage_in_price: reader.boolean()?,
        exec_type: reader.symbol(4)?,
        exec_id: {
            let exec_id = reader.optional(Reader::text)?;
            reader.optional(Reader::text)?;
            exec_id
        },
        is_final: reader.boolean()?,
    };
    reader.end()?;
    Ok(close)
}
