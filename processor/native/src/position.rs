//! A position between two events. Law: it is its snapshot; what is not changed is kept in the snapshot's own bytes.

use crate::avro::{
    Items, NamedDoubles, Reader, Signals, Unusual, Usual, put_bytes, put_double, put_items, put_long,
    put_optional_bytes, put_optional_double,
};
use crate::events::{Choice, Close, Fill};
use crate::matching::is_done;

#[derive(Clone, Copy)]
pub struct PositionFill<'a> {
    pub event_id: &'a [u8],
    pub quantity: f64,
    pub price: f64,
    pub fees: f64,
    pub weight: f64,
    pub ts_event: i64,
    pub exec_id: Option<&'a [u8]>,
    pub notional: Option<f64>,
}

impl<'a> PositionFill<'a> {
    fn read(reader: &mut Reader<'a>) -> Usual<Self> {
        Ok(Self {
            event_id: reader.bytes()?,
            quantity: reader.double()?,
            price: reader.double()?,
            fees: reader.double()?,
            weight: reader.double()?,
            ts_event: reader.long()?,
            exec_id: reader.optional(Reader::bytes)?,
            notional: reader.optional(Reader::double)?,
        })
    }

    pub fn put(&self, written: &mut Vec<u8>) {
        put_bytes(written, self.event_id);
        for number in [self.quantity, self.price, self.fees, self.weight] {
            put_double(written, number);
        }
        put_long(written, self.ts_event);
        put_optional_bytes(written, self.exec_id);
        put_optional_double(written, self.notional);
    }
}

#[derive(Clone, Copy)]
pub struct PositionClose<'a> {
    pub event_id: &'a [u8],
    pub quantity: f64,
    pub price: f64,
    pub fees: f64,
    pub slippage: f64,
    pub exec_id: Option<&'a [u8]>,
}

impl<'a> PositionClose<'a> {
    fn read(reader: &mut Reader<'a>) -> Usual<Self> {
        Ok(Self {
            event_id: reader.bytes()?,
            quantity: reader.double()?,
            price: reader.double()?,
            fees: reader.double()?,
            slippage: reader.double()?,
            exec_id: reader.optional(Reader::bytes)?,
        })
    }

    pub fn put(&self, written: &mut Vec<u8>) {
        put_bytes(written, self.event_id);
        for number in [self.quantity, self.price, self.fees, self.slippage] {
            put_double(written, number);
        }
        put_optional_bytes(written, self.exec_id);
    }
}

/// A close with something left to match; `source` are the bytes of its record's fields.
#[derive(Clone)]
pub struct WaitingClose {
    pub event_id: Box<[u8]>,
    pub quantity: f64,
    pub price: f64,
    pub fees: f64,
    pub slippage: f64,
    pub left: f64,
    pub ts_event: i64,
    pub source: Box<[u8]>,
    pub slippage_in_price: f64,
}

impl WaitingClose {
    fn read(reader: &mut Reader) -> Usual<Self> {
        let event_id = reader.bytes()?.into();
        let (quantity, price, fees) = (reader.double()?, reader.double()?, reader.double()?);
        let (slippage, left, ts_event) = (reader.double()?, reader.double()?, reader.long()?);
        let start = reader.at();
        reader.text()?;
        reader.long()?;
        reader.long()?;
        reader.optional(Reader::bytes)?;
        reader.optional(Reader::bytes)?;
        reader.items(|reader| {
            reader.text()?;
            reader.optional(Reader::bytes).map(drop)
        })?;
        let source = reader.since(start).into();
        let slippage_in_price = reader.double()?;
        Ok(Self { event_id, quantity, price, fees, slippage, left, ts_event, source, slippage_in_price })
    }

    fn put(&self, written: &mut Vec<u8>) {
        put_bytes(written, &self.event_id);
        for number in [self.quantity, self.price, self.fees, self.slippage, self.left] {
            put_double(written, number);
        }
        put_long(written, self.ts_event);
        written.extend_from_slice(&self.source);
        put_double(written, self.slippage_in_price);
    }
}

/// The decision that all fills of a position share, read from its bytes.
#[derive(Clone, Copy)]
pub struct Decision<'a> {
    pub instrument_id: &'a [u8],
    pub multiplier: f64,
    pub currency: &'a [u8],
    pub order_quantity: Option<f64>,
    pub choice: Choice<'a>,
    pub signals: Signals<'a>,
    pub terms: NamedDoubles<'a>,
}

impl<'a> Decision<'a> {
    fn read(reader: &mut Reader<'a>) -> Usual<Self> {
        Ok(Self {
            instrument_id: reader.bytes()?,
            multiplier: reader.double()?,
            currency: reader.bytes()?,
            order_quantity: reader.optional(Reader::double)?,
            choice: Choice::read(reader)?,
            signals: reader.signals()?,
            terms: reader.doubles_by_name()?,
        })
    }

    pub fn of(fill: &Fill<'a>) -> Self {
        Self {
            instrument_id: fill.instrument_id.as_bytes(),
            multiplier: fill.multiplier,
            currency: fill.currency.as_bytes(),
            order_quantity: fill.order_quantity,
            choice: fill.choice,
            signals: fill.signals,
            terms: NamedDoubles::default(),
        }
    }

    /// To the last bit, but for the order's quantity and the terms.
    pub fn is_same(&self, other: &Decision) -> bool {
        self.instrument_id == other.instrument_id
            && self.multiplier.to_bits() == other.multiplier.to_bits()
            && self.currency == other.currency
            && self.choice.raw == other.choice.raw
            && self.signals.items.raw == other.signals.items.raw
    }

    pub fn bytes(&self) -> Box<[u8]> {
        let mut written = Vec::with_capacity(32 + self.instrument_id.len() + self.choice.raw.len());
        put_bytes(&mut written, self.instrument_id);
        put_double(&mut written, self.multiplier);
        put_bytes(&mut written, self.currency);
        put_optional_double(&mut written, self.order_quantity);
        written.extend_from_slice(self.choice.raw);
        put_items(&mut written, self.signals.items.raw, self.signals.items.count);
        put_items(&mut written, self.terms.items.raw, self.terms.items.count);
        written.into_boxed_slice()
    }
}

#[derive(Clone)]
pub struct Position {
    pub key: Box<[u8]>,
    pub ts_last: i64,
    pub counted: bool,
    pub filled_quantity: f64,
    pub filled_weight: f64,
    pub side: u8,
    pub fill_count: usize,
    pub close_count: usize,
    pub open_from: i64,
    pub open_left: f64,
    pub waiting: Vec<WaitingClose>,
    pub is_paged: bool,
    pub final_close_id: Option<Box<[u8]>>,
    fills: Vec<u8>,
    closes: Vec<u8>,
    decision: Option<Box<[u8]>>,
    paged: [i64; 3],
    schema_version: i64,
}

impl Position {
    /// One that has no event yet.
    pub fn new(key: &[u8]) -> Self {
        Self {
            key: key.into(),
            ts_last: i64::MIN,
            counted: false,
            filled_quantity: 0.0,
            filled_weight: 0.0,
            side: 0,
            fill_count: 0,
            close_count: 0,
            open_from: 0,
            open_left: 0.0,
            waiting: Vec::new(),
            is_paged: false,
            final_close_id: None,
            fills: Vec::new(),
            closes: Vec::new(),
            decision: None,
            paged: [0; 3],
            schema_version: 1,
        }
    }

    /// From a snapshot's bytes behind its header.
    pub fn read(snapshot: &[u8]) -> Usual<Self> {
        let mut reader = Reader::new(snapshot, 0);
        reader.text()?;
        reader.text()?;
        let key = reader.since(0).into();
        let (ts_last, counted) = (reader.long()?, reader.boolean()?);
        let (filled_quantity, filled_weight, side) = (reader.double()?, reader.double()?, reader.symbol(3)?);
        let fills = reader.items(|reader| PositionFill::read(reader).map(drop))?;
        let closes = reader.items(|reader| PositionClose::read(reader).map(drop))?;
        let (open_from, open_left) = (reader.long()?, reader.double()?);
        let decision = reader.optional(|reader| {
            let start = reader.at();
            Decision::read(reader)?;
            Ok(reader.since(start).into())
        })?;
        let waiting_count = reader.count()?;
        let mut waiting = Vec::with_capacity(waiting_count);
        for _ in 0..waiting_count {
            waiting.push(WaitingClose::read(&mut reader)?);
        }
        if waiting_count > 0 && reader.byte()? != 0 {
            return Err(Unusual);
        }
        let paged = reader.optional(|reader| Ok([reader.long()?, reader.long()?, reader.long()?]))?;
        let final_close_id = reader.optional(Reader::bytes)?.map(Into::into);
        let schema_version = reader.long()?;
        reader.end()?;
        Ok(Self {
            key,
            ts_last,
            counted,
            filled_quantity,
            filled_weight,
            side,
            fill_count: fills.count,
            close_count: closes.count,
            open_from,
            open_left,
            waiting,
            is_paged: paged.is_some(),
            final_close_id,
            fills: fills.raw.to_vec(),
            closes: closes.raw.to_vec(),
            decision,
            paged: paged.unwrap_or_default(),
            schema_version,
        })
    }

    /// Its snapshot, behind a header.
    pub fn snapshot(&self) -> Box<[u8]> {
        let size = self.key.len() + self.fills.len() + self.closes.len() + 64;
        let mut written = Vec::with_capacity(size + self.decision.as_ref().map_or(0, |bytes| bytes.len()));
        written.extend_from_slice(&self.key);
        put_long(&mut written, self.ts_last);
        written.push(self.counted.into());
        put_double(&mut written, self.filled_quantity);
        put_double(&mut written, self.filled_weight);
        written.push(self.side << 1);
        put_items(&mut written, &self.fills, self.fill_count);
        put_items(&mut written, &self.closes, self.close_count);
        put_long(&mut written, self.open_from);
        put_double(&mut written, self.open_left);
        match &self.decision {
            None => written.push(0),
            Some(bytes) => {
                written.push(2);
                written.extend_from_slice(bytes);
            }
        }
        if !self.waiting.is_empty() {
            put_long(&mut written, self.waiting.len() as i64);
            for close in &self.waiting {
                close.put(&mut written);
            }
        }
        written.push(0);
        if self.is_paged {
            written.push(2);
            for number in self.paged {
                put_long(&mut written, number);
            }
        } else {
            written.push(0);
        }
        put_optional_bytes(&mut written, self.final_close_id.as_deref());
        put_long(&mut written, self.schema_version);
        written.into_boxed_slice()
    }

    pub fn is_flat(&self) -> bool {
        self.open_left == 0.0 && self.waiting.is_empty()
    }

    pub fn decision(&self) -> Option<Decision<'_>> {
        self.decision.as_deref().and_then(|bytes| Decision::read(&mut Reader::new(bytes, 0)).ok())
    }

    /// Where nothing of it is open or waits, and its order is done.
    pub fn drop_decision_where_done(&mut self) {
        let count = self.fill_count + self.close_count;
        let is_over = self.decision().is_some_and(|decision| {
            is_done(self.final_close_id.is_some(), decision.order_quantity, self.filled_quantity, count)
        });
        if self.is_flat() && is_over {
            self.set_decision(None);
        }
    }

    pub fn set_decision(&mut self, bytes: Option<Box<[u8]>>) {
        self.decision = bytes;
    }

    pub fn fills(&self) -> impl Iterator<Item = PositionFill<'_>> {
        let mut reader = Reader::new(&self.fills, 0);
        (0..self.fill_count).map_while(move |_| PositionFill::read(&mut reader).ok())
    }

    pub fn closes(&self) -> impl Iterator<Item = PositionClose<'_>> {
        let mut reader = Reader::new(&self.closes, 0);
        (0..self.close_count).map_while(move |_| PositionClose::read(&mut reader).ok())
    }

    pub fn add_fill(&mut self, fill: &PositionFill) {
        fill.put(&mut self.fills);
        self.fill_count += 1;
    }

    pub fn add_close(&mut self, close: &PositionClose) {
        close.put(&mut self.closes);
        self.close_count += 1;
    }

    /// The fill that has this one's event_id, else its exec_id.
    pub fn known_fill(&self, fill: &Fill) -> Option<PositionFill<'_>> {
        let exec_id = fill.exec_id.filter(|id| !id.is_empty()).map(str::as_bytes);
        self.fills()
            .find(|known| known.event_id == fill.event_id.as_bytes())
            .or_else(|| exec_id.and_then(|_| self.fills().find(|known| known.exec_id == exec_id)))
    }

    pub fn known_close(&self, close: &Close) -> Option<PositionClose<'_>> {
        let exec_id = close.exec_id.filter(|id| !id.is_empty()).map(str::as_bytes);
        self.closes()
            .find(|known| known.event_id == close.event_id.as_bytes())
            .or_else(|| exec_id.and_then(|_| self.closes().find(|known| known.exec_id == exec_id)))
    }
}

/// The bytes of a named map's items.
pub fn terms_bytes(terms: &[(Box<str>, f64)]) -> Vec<u8> {
    let mut written = Vec::new();
    for (name, term) in terms {
        put_bytes(&mut written, name.as_bytes());
        put_double(&mut written, *term);
    }
    written
}

impl<'a> Decision<'a> {
    /// The same with other terms.
    pub fn with_terms(&self, raw: &'a [u8], count: usize) -> Decision<'a> {
        Decision { terms: NamedDoubles { items: Items { raw, count } }, ..*self }
    }
}

impl Position {
    /// Whether it is of the form that this version writes.
    pub fn has_known_form(&self) -> bool {
        self.schema_version == 1
    }

    pub fn page_count(&self) -> i64 {
        if self.is_paged { self.paged[0] } else { 0 }
    }
}
