//! One task's state and the batch's overlay over it: `stages/state.py`.
//!
//! Law: committed state is never changed by a batch. Reads look through the overlay, writes go to it, `commit` merges
//! it and `rollback` drops it. A committed position is the bytes of its snapshot, in the overlay it is read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3::{PyTraverseError, PyVisit};

use crate::avro::{Reader, ids_of, murmur2};
use crate::bandit::{Bandit, Form, NEVER};
use crate::position::Position;

pub type Finished = (i64, Box<str>); // ts_last, position_id
pub type Waiting = (i64, Box<str>, Box<str>); // ts_event, event_id, position_id
pub type TaskWaiting = (i64, Box<str>, Box<str>, Box<str>); // ts_event, bandit_id, position_id, event_id

pub struct Limits {
    pub dedupe_window_micros: i64,
    pub orphan_ttl_micros: i64,
    pub dedupe_window_seconds: Arc<str>, // as they are shown
    pub orphan_ttl_seconds: Arc<str>,
    pub max_holding_micros: i64,
    pub max_events_per_position: usize,
    pub max_open_positions: i64,
    pub max_waiting_closes: i64,
    pub max_positions_remembered: i64,
    pub max_cost_ratio: f64,
    pub trades_share_topic: bool,
    pub max_arms: usize,
    pub enabled: bool,
}

/// What is known under a bandit's name, whether there is one or not. A hint may be stale: it is compared with state
/// before it is believed.
pub struct Slot {
    pub name: Box<str>,
    pub key: Py<PyBytes>,
    pub is_here: bool,
    pub committed: Option<Form>,
    pub finished: BinaryHeap<Reverse<Finished>>,
    pub waiting: BinaryHeap<Reverse<Waiting>>,
    pub held: HashSet<Box<[u8]>>,
    touched: Option<usize>,
}

pub struct Touched {
    pub slot: usize,
    pub bandit: Option<Form>,
    pub version_before: i64,
    pub window: Vec<u8>,
}

pub enum Change {
    Native(Box<Position>),
    Python(Py<PyAny>),
    Gone,
    Taken,
}

pub struct Changed {
    pub key: Box<[u8]>,
    hash: u64,
    pub change: Change,
    pub encoded: Option<Encoded>,
}

/// A position as it will be committed.
pub struct Encoded {
    pub snapshot: Box<[u8]>,
    pub is_flat: bool,
}

impl Encoded {
    pub fn of(position: &Position) -> Self {
        Self { snapshot: position.snapshot(), is_flat: position.is_flat() }
    }

    pub fn of_python(snapshot: Vec<u8>) -> Self {
        let is_flat = Position::read(&snapshot).is_ok_and(|position| position.is_flat());
        Self { snapshot: snapshot.into(), is_flat }
    }
}

enum Popped {
    Finished(usize, Finished),
    Waiting(usize, Waiting),
    Task(TaskWaiting),
}

#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub bandits: i64,
    pub learners: i64,
    pub positions: i64,
    pub finished: i64,
    pub open: i64,
    pub waiting: i64,
}

pub struct State {
    pub limits: Limits,
    pub counts: Counts,
    pub slots: Vec<Slot>,
    pub touched: Vec<Touched>,
    pub changed: Vec<Changed>,
    pub forgotten_paged: Vec<Box<[u8]>>,
    pub waiting: BinaryHeap<Reverse<TaskWaiting>>,
    names: HashMap<Box<str>, usize>,
    positions: HashTable<Box<[u8]>>,
    changed_index: HashTable<usize>,
    hasher: DefaultHashBuilder,
    popped: Vec<Popped>,
    counts_before: Counts,
    number: u32,
    partitions: u32,
}

/// A position that is taken out to be changed; put back as it was where it is not.
pub struct Loaded {
    pub position: Box<Position>,
    pub is_new: bool,
    pub changed: Option<usize>,
    pub hash: u64,
}

impl State {
    pub fn new(limits: Limits, number: u32, partitions: u32) -> Self {
        Self {
            limits,
            counts: Counts::default(),
            slots: Vec::new(),
            touched: Vec::new(),
            changed: Vec::new(),
            forgotten_paged: Vec::new(),
            waiting: BinaryHeap::new(),
            names: HashMap::new(),
            positions: HashTable::new(),
            changed_index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            popped: Vec::new(),
            counts_before: Counts::default(),
            number,
            partitions,
        }
    }

    // Bandits.

    pub fn slot_of(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Its slot, made where there is none.
    pub fn slot(&mut self, py: Python, name: &str) -> usize {
        if let Some(slot) = self.slot_of(name) {
            return slot;
        }
        let slot = self.slots.len();
        self.slots.push(Slot {
            name: name.into(),
            key: PyBytes::new(py, name.as_bytes()).unbind(),
            is_here: (murmur2(name.as_bytes()) & 0x7FFF_FFFF) % self.partitions == self.number,
            committed: None,
            finished: BinaryHeap::new(),
            waiting: BinaryHeap::new(),
            held: HashSet::new(),
            touched: None,
        });
        self.names.insert(name.into(), slot);
        slot
    }

    /// The bandit in the form that it has, through the overlay.
    pub fn form(&self, slot: usize) -> Option<&Form> {
        match self.slots[slot].touched {
            Some(index) => self.touched[index].bandit.as_ref(),
            None => self.slots[slot].committed.as_ref(),
        }
    }

    /// As `form`, to give it another one; its state stays.
    pub fn form_mut(&mut self, slot: usize) -> Option<&mut Form> {
        match self.slots[slot].touched {
            Some(index) => self.touched[index].bandit.as_mut(),
            None => self.slots[slot].committed.as_mut(),
        }
    }

    /// The bandit, where it has the core's form.
    pub fn bandit(&self, slot: usize) -> Option<&Bandit> {
        self.form(slot).and_then(Form::core)
    }

    pub fn touched_form(&self, slot: usize) -> Option<&Form> {
        self.slots[slot].touched.and_then(|index| self.touched[index].bandit.as_ref())
    }

    pub fn touched_bandit(&self, slot: usize) -> Option<&Bandit> {
        self.touched_form(slot).and_then(Form::core)
    }

    /// The batch's own copy of a bandit that has the core's form.
    pub fn touch(&mut self, slot: usize) -> &mut Bandit {
        let index = match self.slots[slot].touched {
            Some(index) => index,
            None => {
                let bandit = self.bandit(slot).expect("an event's bandit was taken in").clone();
                self.touch_with(slot, bandit.version, Form::Core(bandit))
            }
        };
        match &mut self.touched[index].bandit {
            Some(Form::Core(bandit)) => bandit,
            _ => unreachable!("an event's bandit was taken in"),
        }
    }

    /// The bandit is this in the batch from now on; `version` is that before the batch, or of a new one.
    pub fn touch_with(&mut self, slot: usize, version: i64, form: Form) -> usize {
        let Some(index) = self.slots[slot].touched else {
            let index = self.touched.len();
            self.touched.push(Touched { slot, bandit: Some(form), version_before: version, window: Vec::new() });
            self.slots[slot].touched = Some(index);
            return index;
        };
        let touched = &mut self.touched[index];
        if touched.bandit.is_none() {
            touched.version_before = version;
        }
        touched.bandit = Some(form);
        index
    }

    pub fn touched_index(&self, slot: usize) -> Option<usize> {
        self.slots[slot].touched
    }

    /// A touched bandit without a learner and without positions.
    pub fn forget_bandit(&mut self, slot: usize) {
        if let Some(index) = self.slots[slot].touched {
            self.touched[index].bandit = None;
        }
    }

    // Positions.

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    pub fn changed_at(&self, key: &[u8], hash: u64) -> Option<usize> {
        self.changed_index.find(hash, |index| *self.changed[*index].key == *key).copied()
    }

    pub fn committed(&self, key: &[u8], hash: u64) -> Option<&[u8]> {
        self.positions.find(hash, |snapshot| snapshot.starts_with(key)).map(|snapshot| &**snapshot)
    }

    pub fn look(&self, key: &[u8]) -> (Option<usize>, Option<&[u8]>) {
        let hash = self.hash(key);
        match self.changed_at(key, hash) {
            Some(index) => (Some(index), None),
            None => (None, self.committed(key, hash)),
        }
    }

    /// Takes a position out, or begins one. `read` gives the snapshot of one that Python put.
    pub fn load(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&Py<PyAny>) -> PyResult<Option<Position>>,
    ) -> PyResult<Option<Loaded>> {
        let hash = self.hash(key);
        let Some(index) = self.changed_at(key, hash) else {
            let found = self.committed(key, hash).map(Position::read);
            return Ok(match found {
                None => Some(Loaded { position: Box::new(Position::new(key)), is_new: true, changed: None, hash }),
                Some(Err(_)) => None,
                Some(Ok(position)) => {
                    Some(Loaded { position: Box::new(position), is_new: false, changed: None, hash })
                }
            });
        };
        let changed = Some(index);
        match std::mem::replace(&mut self.changed[index].change, Change::Taken) {
            Change::Native(position) => Ok(Some(Loaded { position, is_new: false, changed, hash })),
            Change::Python(object) => {
                let position = read(&object);
                self.changed[index].change = Change::Python(object);
                Ok(position?.map(|position| Loaded { position: Box::new(position), is_new: false, changed, hash }))
            }
            Change::Gone | Change::Taken => {
                self.changed[index].change = Change::Gone;
                Ok(Some(Loaded { position: Box::new(Position::new(key)), is_new: true, changed, hash }))
            }
        }
    }

    /// What was loaded is as it was.
    pub fn unload(&mut self, loaded: Loaded) {
        let taken = loaded.changed.filter(|index| matches!(self.changed[*index].change, Change::Taken));
        if let Some(index) = taken {
            self.changed[index].change = Change::Native(loaded.position);
        }
    }

    /// The key's entry of the overlay, made where there is none.
    pub fn change(&mut self, key: &[u8], hash: u64, at: Option<usize>, change: Change) -> usize {
        if let Some(index) = at {
            self.changed[index].change = change;
            return index;
        }
        let index = self.changed.len();
        self.changed.push(Changed { key: key.into(), hash, change, encoded: None });
        let changed = &self.changed;
        self.changed_index.insert_unique(hash, index, |each| changed[*each].hash);
        index
    }

    pub fn put_python(&mut self, key: &[u8], position: Option<Py<PyAny>>) {
        let hash = self.hash(key);
        let at = self.changed_at(key, hash);
        self.change(key, hash, at, position.map_or(Change::Gone, Change::Python));
    }

    // What is old.

    pub fn move_watermarks(&mut self, slot: usize, ts_event: i64, is_fill: bool) {
        let shares_topic = self.limits.trades_share_topic;
        let bandit = self.touch(slot);
        if shares_topic {
            (bandit.fill_watermark, bandit.close_watermark, bandit.floor) = (ts_event, ts_event, ts_event);
            return;
        }
        *(if is_fill { &mut bandit.fill_watermark } else { &mut bandit.close_watermark }) = ts_event;
        bandit.set_floor();
    }

    /// The bandit moved on to an event's time, with what is old by then forgotten. `read` as in load.
    pub fn tell_time(
        &mut self,
        slot: usize,
        ts_event: i64,
        is_fill: bool,
        read: &impl Fn(&Py<PyAny>) -> PyResult<Option<Position>>,
    ) -> PyResult<()> {
        let Some(bandit) = self.bandit(slot) else { return Ok(()) };
        if ts_event <= if is_fill { bandit.fill_watermark } else { bandit.close_watermark } {
            return Ok(());
        }
        self.move_watermarks(slot, ts_event, is_fill);
        self.forget_finished(slot, read)
    }

    /// The touched bandit's finished positions whose last event is a dedupe_window behind the floor.
    pub fn forget_finished(
        &mut self,
        slot: usize,
        read: &impl Fn(&Py<PyAny>) -> PyResult<Option<Position>>,
    ) -> PyResult<()> {
        let Some(bandit) = self.touched_bandit(slot) else { return Ok(()) };
        let oldest_kept = bandit.floor.saturating_sub(self.limits.dedupe_window_micros);
        while self.slots[slot].finished.peek().is_some_and(|Reverse((ts_last, _))| *ts_last < oldest_kept) {
            let Some(hint) = self.pop_finished(slot) else { break };
            self.forget_at(slot, &hint, read)?;
        }
        Ok(())
    }

    /// Forgets the finished position that a hint names, where there is such a one.
    fn forget_at(
        &mut self,
        slot: usize,
        hint: &Finished,
        read: &impl Fn(&Py<PyAny>) -> PyResult<Option<Position>>,
    ) -> PyResult<bool> {
        let key = crate::avro::position_key(self.slots[slot].name.as_bytes(), hint.1.as_bytes());
        let Some(loaded) = self.load(&key, read)? else { return Ok(false) };
        let is_it = !loaded.is_new && loaded.position.ts_last == hint.0 && loaded.position.is_flat();
        if !is_it {
            self.unload(loaded);
            return Ok(false);
        }
        self.counts.positions -= 1;
        self.counts.finished -= 1;
        if loaded.position.is_paged {
            self.forgotten_paged.push(loaded.position.key.clone());
        }
        self.change(&key, loaded.hash, loaded.changed, Change::Gone);
        let bandit = self.touch(slot);
        bandit.finished_count -= 1;
        bandit.forgotten_until = bandit.forgotten_until.max(hint.0);
        Ok(true)
    }

    /// Forgets the bandit's oldest finished position; whether it had one.
    pub fn make_room(
        &mut self,
        slot: usize,
        read: &impl Fn(&Py<PyAny>) -> PyResult<Option<Position>>,
    ) -> PyResult<bool> {
        while let Some(Reverse(hint)) = self.slots[slot].finished.peek().cloned() {
            if self.forget_at(slot, &hint, read)? {
                return Ok(true);
            }
            self.pop_finished(slot);
        }
        Ok(false)
    }

    /// Keeps count of the touched bandit's flat positions, and of where to look for what is old.
    pub fn note_flat(&mut self, slot: usize, was_flat: bool, is_flat: bool, ts_last: i64, position_id: &[u8]) {
        let max_holding_micros = self.limits.max_holding_micros;
        if was_flat {
            self.touch(slot).finished_count -= 1;
            self.counts.finished -= 1;
        }
        if is_flat {
            self.touch(slot).finished_count += 1;
            self.counts.finished += 1;
            self.slots[slot].finished.push(Reverse((ts_last, text(position_id))));
        } else {
            let bandit = self.touch(slot);
            bandit.held_until = bandit.held_until.min(ts_last.saturating_add(max_holding_micros));
        }
    }

    pub fn note_waiting(&mut self, slot: usize, ts_event: i64, event_id: &[u8], position_id: &[u8]) {
        let name = self.slots[slot].name.clone();
        self.slots[slot].waiting.push(Reverse((ts_event, text(event_id), text(position_id))));
        self.waiting.push(Reverse((ts_event, name, text(position_id), text(event_id))));
    }

    pub fn pop_finished(&mut self, slot: usize) -> Option<Finished> {
        let Reverse(hint) = self.slots[slot].finished.pop()?;
        self.popped.push(Popped::Finished(slot, hint.clone()));
        Some(hint)
    }

    pub fn pop_waiting(&mut self, slot: usize) -> Option<Waiting> {
        let Reverse(hint) = self.slots[slot].waiting.pop()?;
        self.popped.push(Popped::Waiting(slot, hint.clone()));
        Some(hint)
    }

    pub fn pop_task_waiting(&mut self) -> Option<TaskWaiting> {
        let Reverse(hint) = self.waiting.pop()?;
        self.popped.push(Popped::Task(hint.clone()));
        Some(hint)
    }

    // A batch's beginning and its two ends.

    pub fn begin(&mut self) {
        self.counts_before = self.counts;
    }

    pub fn was_committed(&self, index: usize) -> bool {
        let changed = &self.changed[index];
        self.committed(&changed.key, changed.hash).is_some()
    }

    pub fn commit(&mut self) {
        for changed in std::mem::take(&mut self.changed) {
            let Changed { key, hash, encoded, .. } = changed;
            let slot = self.names.get(text_of(ids_of(&key).0)).copied();
            match encoded {
                Some(Encoded { snapshot, is_flat }) => {
                    self.keep(hash, &key, snapshot);
                    if let Some(slot) = slot {
                        let held = &mut self.slots[slot].held;
                        if is_flat {
                            held.remove(&key);
                        } else {
                            held.insert(key);
                        }
                    }
                }
                None => {
                    if let Ok(entry) = self.positions.find_entry(hash, |snapshot| snapshot.starts_with(&key)) {
                        entry.remove();
                    }
                    if let Some(slot) = slot {
                        self.slots[slot].held.remove(&key);
                    }
                }
            }
        }
        for touched in std::mem::take(&mut self.touched) {
            let slot = &mut self.slots[touched.slot];
            if touched.bandit.is_none() {
                slot.held.clear();
                slot.finished.clear();
                slot.waiting.clear();
            }
            slot.committed = touched.bandit;
            slot.touched = None;
        }
        self.drop_overlay();
    }

    pub fn rollback(&mut self) {
        for popped in std::mem::take(&mut self.popped) {
            match popped {
                Popped::Finished(slot, hint) => self.slots[slot].finished.push(Reverse(hint)),
                Popped::Waiting(slot, hint) => self.slots[slot].waiting.push(Reverse(hint)),
                Popped::Task(hint) => self.waiting.push(Reverse(hint)),
            }
        }
        self.counts = self.counts_before;
        for touched in std::mem::take(&mut self.touched) {
            self.slots[touched.slot].touched = None;
        }
        self.drop_overlay();
    }

    fn drop_overlay(&mut self) {
        self.changed.clear();
        self.changed_index.clear();
        self.popped.clear();
        self.forgotten_paged.clear();
    }

    pub fn keep(&mut self, hash: u64, key: &[u8], snapshot: Box<[u8]>) {
        if let Some(known) = self.positions.find_mut(hash, |known| known.starts_with(key)) {
            *known = snapshot;
            return;
        }
        let hasher = &self.hasher;
        self.positions.insert_unique(hash, snapshot, |known| hasher.hash_one(key_of(known)));
    }

    /// A position that is read back, as it stands in its snapshot behind the header.
    pub fn restore(&mut self, py: Python, position: &Position, snapshot: Box<[u8]>) -> PyResult<()> {
        let (bandit_id, position_id) = ids_of(&position.key);
        let slot = self.restored(py, text_of(bandit_id));
        let hash = self.hash(&position.key);
        self.keep(hash, &position.key, snapshot);
        if !position.is_flat() {
            self.slots[slot].held.insert(position.key.clone());
        }
        self.counts.positions += 1;
        self.counts.open += i64::from(position.open_left > 0.0);
        self.counts.waiting += position.waiting.len() as i64;
        if position.is_flat() {
            self.counts.finished += 1;
            self.slots[slot].finished.push(Reverse((position.ts_last, text(position_id))));
        }
        for close in &position.waiting {
            self.note_waiting(slot, close.ts_event, &close.event_id, position_id);
        }
        let held_until = position.ts_last.saturating_add(self.limits.max_holding_micros);
        match self.slots[slot].committed.as_mut() {
            Some(Form::Core(bandit)) if position.is_flat() => bandit.finished_count += 1,
            Some(Form::Core(bandit)) => bandit.held_until = bandit.held_until.min(held_until),
            Some(Form::Python(view)) => note_restored(view.bind(py), position.is_flat(), held_until)?,
            None => {}
        }
        Ok(())
    }

    /// The slot of a bandit that is being read back, which there is from now on.
    pub fn restored(&mut self, py: Python, name: &str) -> usize {
        let slot = self.slot(py, name);
        if self.slots[slot].committed.is_none() {
            self.slots[slot].committed = Some(Form::Core(Bandit::new(py)));
            self.counts.bandits += 1;
        }
        slot
    }

    pub fn shortest_window_micros(&self, py: Python) -> PyResult<i64> {
        let mut shortest = self.limits.dedupe_window_micros;
        for form in self.slots.iter().filter_map(|slot| slot.committed.as_ref()) {
            let (newest, forgotten_until) = match form {
                Form::Core(bandit) => (bandit.fill_watermark.max(bandit.close_watermark), bandit.forgotten_until),
                Form::Python(view) => {
                    let time = |name: &str| view.bind(py).getattr(name)?.extract::<i64>();
                    (time("fill_watermark")?.max(time("close_watermark")?), time("forgotten_until")?)
                }
            };
            if forgotten_until != NEVER {
                shortest = shortest.min(newest - forgotten_until);
            }
        }
        Ok(shortest)
    }

    /// Slots of the bandits that have most finished positions, of those that have any.
    pub fn with_most_finished(&self, py: Python) -> PyResult<Vec<usize>> {
        let (mut most, mut found) = (1, vec![]);
        for slot in 0..self.slots.len() {
            let count = match self.form(slot) {
                None => continue,
                Some(Form::Core(bandit)) => bandit.finished_count,
                Some(Form::Python(view)) => view.bind(py).getattr("finished_count")?.extract()?,
            };
            if count > most {
                (most, found) = (count, vec![]);
            }
            if count == most {
                found.push(slot);
            }
        }
        Ok(found)
    }

    /// For Python's collector: bandits have hints, and these the core.
    pub fn traverse(&self, visit: &PyVisit) -> Result<(), PyTraverseError> {
        let committed = self.slots.iter().map(|slot| &slot.committed);
        let forms = committed.chain(self.touched.iter().map(|touched| &touched.bandit));
        for form in forms.flatten() {
            if let Form::Python(view) = form {
                visit.call(view)?;
            }
        }
        Ok(())
    }
}

fn note_restored(view: &Bound<PyAny>, is_flat: bool, held_until: i64) -> PyResult<()> {
    if is_flat {
        return view.setattr("finished_count", view.getattr("finished_count")?.extract::<i64>()? + 1);
    }
    if view.getattr("held_until")?.gt(held_until)? { view.setattr("held_until", held_until) } else { Ok(()) }
}

fn key_of(snapshot: &[u8]) -> &[u8] {
    let mut reader = Reader::new(snapshot, 0);
    let _ = reader.bytes().and_then(|_| reader.bytes());
    reader.since(0)
}

pub fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

pub fn text(bytes: &[u8]) -> Box<str> {
    text_of(bytes).into()
}
