//! Avro's bytes, as `wire.py` has them. Law of the reader: it takes the one form that our writers give (a block an
//! array, the shortest integers, no name twice in a map) and calls everything else unusual, which decides nothing.

/// Not of the usual shape, which says nothing about whether it is right: the Python stages know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusual;

pub type Usual<T> = Result<T, Unusual>;

pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    pub fn end(&self) -> Usual<()> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(Unusual) }
    }

    pub fn take(&mut self, size: usize) -> Usual<&'a [u8]> {
        let end = self.at.checked_add(size).ok_or(Unusual)?;
        let taken = self.bytes.get(self.at..end).ok_or(Unusual)?;
        self.at = end;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Usual<u8> {
        let byte = *self.bytes.get(self.at).ok_or(Unusual)?;
        self.at += 1;
        Ok(byte)
    }

    pub fn boolean(&mut self) -> Usual<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Unusual),
        }
    }

    /// An enum's index below `count`, which is small.
    pub fn symbol(&mut self, count: u8) -> Usual<u8> {
        let byte = self.byte()?;
        if byte & 1 == 0 && byte >> 1 < count { Ok(byte >> 1) } else { Err(Unusual) }
    }

    pub fn long(&mut self) -> Usual<i64> {
        let mut zigzag = 0u64;
        for index in 0..10 {
            let byte = self.byte()?;
            zigzag |= u64::from(byte & 127) << (7 * index);
            if byte < 128 {
                if (index == 9 && byte > 1) || (index > 0 && byte == 0) {
                    return Err(Unusual);
                }
                return Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
            }
        }
        Err(Unusual)
    }

    pub fn count(&mut self) -> Usual<usize> {
        let count = usize::try_from(self.long()?).map_err(|_| Unusual)?;
        if count <= self.bytes.len() - self.at { Ok(count) } else { Err(Unusual) }
    }

    pub fn bytes(&mut self) -> Usual<&'a [u8]> {
        let size = self.count()?;
        self.take(size)
    }

    pub fn text(&mut self) -> Usual<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Unusual)
    }

    pub fn double(&mut self) -> Usual<f64> {
        let taken = self.take(8)?;
        Ok(f64::from_le_bytes(taken.try_into().map_err(|_| Unusual)?))
    }

    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Usual<T>) -> Usual<Option<T>> {
        match self.byte()? {
            0 => Ok(None),
            2 => read(self).map(Some),
            _ => Err(Unusual),
        }
    }

    /// The items of one block as they stand, and their count.
    pub fn items(&mut self, mut skip: impl FnMut(&mut Self) -> Usual<()>) -> Usual<Items<'a>> {
        let count = self.count()?;
        let start = self.at;
        for _ in 0..count {
            skip(self)?;
        }
        let items = Items { raw: self.since(start), count };
        if count > 0 && self.byte()? != 0 {
            return Err(Unusual);
        }
        Ok(items)
    }

    pub fn doubles(&mut self) -> Usual<Doubles<'a>> {
        let count = self.count()?;
        let raw = self.take(count.checked_mul(8).ok_or(Unusual)?)?;
        if count > 0 && self.byte()? != 0 {
            return Err(Unusual);
        }
        Ok(Doubles { raw })
    }

    pub fn doubles_by_name(&mut self) -> Usual<NamedDoubles<'a>> {
        let items = self.items(|reader| {
            reader.text()?;
            reader.double().map(drop)
        })?;
        let named = NamedDoubles { items };
        if has_twice(named.iter().map(|(name, _)| name), items.count) { Err(Unusual) } else { Ok(named) }
    }

    pub fn signals(&mut self) -> Usual<Signals<'a>> {
        let items = self.items(|reader| {
            reader.text()?;
            reader.symbol(4).map(drop)
        })?;
        let signals = Signals { items };
        if has_twice(signals.iter().map(|(name, _)| name), items.count) { Err(Unusual) } else { Ok(signals) }
    }
}

fn has_twice<'a>(names: impl Iterator<Item = &'a str>, count: usize) -> bool {
    if count < 2 {
        return false;
    }
    let mut seen: Vec<&str> = names.collect();
    seen.sort_unstable();
    seen.windows(2).any(|pair| pair[0] == pair[1])
}

/// Items of an array or a map as they stand, without their count and their end.
#[derive(Clone, Copy, Default)]
pub struct Items<'a> {
    pub raw: &'a [u8],
    pub count: usize,
}

#[derive(Clone, Copy, Default)]
pub struct Doubles<'a> {
    raw: &'a [u8],
}

impl<'a> Doubles<'a> {
    pub fn len(&self) -> usize {
        self.raw.len() / 8
    }

    pub fn get(&self, index: usize) -> f64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.raw[8 * index..8 * index + 8]);
        f64::from_le_bytes(bytes)
    }

    pub fn iter(&self) -> impl Iterator<Item = f64> + use<'a> {
        let this = *self;
        (0..this.len()).map(move |index| this.get(index))
    }
}

#[derive(Clone, Copy, Default)]
pub struct NamedDoubles<'a> {
    pub items: Items<'a>,
}

impl<'a> NamedDoubles<'a> {
    pub fn is_empty(&self) -> bool {
        self.items.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, f64)> + use<'a> {
        let mut reader = Reader::new(self.items.raw, 0);
        (0..self.items.count).map_while(move |_| Some((reader.text().ok()?, reader.double().ok()?)))
    }
}

pub const BUY: u8 = 1;
pub const SELL: u8 = 2;

#[derive(Clone, Copy, Default)]
pub struct Signals<'a> {
    pub items: Items<'a>,
}

impl<'a> Signals<'a> {
    pub fn is_empty(&self) -> bool {
        self.items.count == 0
    }

    pub fn len(&self) -> usize {
        self.items.count
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a str, u8)> + use<'a> {
        let mut reader = Reader::new(self.items.raw, 0);
        (0..self.items.count).map_while(move |_| Some((reader.text().ok()?, reader.symbol(4).ok()?)))
    }

    pub fn get(&self, name: &str) -> Option<u8> {
        self.iter().find(|(known, _)| *known == name).map(|(_, signal)| signal)
    }
}

// --- writing ---------------------------------------------------------------------------------------------------------

pub fn put_long(written: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 128 {
        written.push(zigzag as u8 | 128);
        zigzag >>= 7;
    }
    written.push(zigzag as u8);
}

pub fn put_count(written: &mut Vec<u8>, count: usize) {
    put_long(written, count as i64);
}

pub fn put_bytes(written: &mut Vec<u8>, bytes: &[u8]) {
    put_count(written, bytes.len());
    written.extend_from_slice(bytes);
}

pub fn put_double(written: &mut Vec<u8>, value: f64) {
    written.extend_from_slice(&value.to_le_bytes());
}

pub fn put_optional_double(written: &mut Vec<u8>, value: Option<f64>) {
    match value {
        None => written.push(0),
        Some(value) => {
            written.push(2);
            put_double(written, value);
        }
    }
}

pub fn put_optional_long(written: &mut Vec<u8>, value: Option<i64>) {
    match value {
        None => written.push(0),
        Some(value) => {
            written.push(2);
            put_long(written, value);
        }
    }
}

pub fn put_optional_bytes(written: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => written.push(0),
        Some(value) => {
            written.push(2);
            put_bytes(written, value);
        }
    }
}

/// An array or a map of one block, or of none.
pub fn put_items(written: &mut Vec<u8>, raw: &[u8], count: usize) {
    if count > 0 {
        put_count(written, count);
        written.extend_from_slice(raw);
    }
    written.push(0);
}

pub fn put_doubles(written: &mut Vec<u8>, values: &[f64]) {
    if !values.is_empty() {
        put_count(written, values.len());
        for value in values {
            put_double(written, *value);
        }
    }
    written.push(0);
}

/// What begins a position's record, and is its key in the core: its bandit's id and its own.
pub fn position_key(bandit_id: &[u8], position_id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(bandit_id.len() + position_id.len() + 4);
    put_bytes(&mut key, bandit_id);
    put_bytes(&mut key, position_id);
    key
}

/// The two ids in such a key.
pub fn ids_of(key: &[u8]) -> (&[u8], &[u8]) {
    let mut reader = Reader::new(key, 0);
    let bandit_id = reader.bytes().unwrap_or_default();
    (bandit_id, reader.bytes().unwrap_or_default())
}

/// As keys.py has it.
pub fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5BD1_E995;
    let mut h = 0x9747_B28C ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut word = [0; 4];
        word[..rest.len()].copy_from_slice(rest);
        h = (h ^ u32::from_le_bytes(word)).wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}
