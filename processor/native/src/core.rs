//! What Python sees of the core: a task's state behind the interface of `stages/state.py`, and batches of records.
//!
//! Law: `go_on` applies records in order until one is unusual, and says which; Python applies that one over this state,
//! and calls again. So the order is the batch's, whoever applies what.

use std::sync::Arc;

use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::avro::{Reader, Unusual, Usual, ids_of, position_key};
use crate::bandit::{Arms, Bandit, Held, NEVER, bandit_snapshot, weight_vector};
use crate::batch::{APPLIED, Batch, DUPLICATE, output};
use crate::events::{read_close, read_fill};
use crate::learning::Learner;
use crate::position::Position;
use crate::reward::{Envelope, Event, Stop, With, expire, take_close, take_fill, tell_time};
use crate::rules::NativeRules;
use crate::state::{Change, Encoded, Limits, State, text, text_of};

const HEADER_SIZE: usize = 10;

type Numbers = (Vec<f64>, Vec<i64>, Vec<f64>, i64, Option<f64>, Vec<f64>, f64);

struct Headers {
    fill: Vec<u8>,
    close: Vec<u8>,
    reward: Vec<u8>,
    weight_vector: Vec<u8>,
    bandit_snapshot: Vec<u8>,
    position_snapshot: Vec<u8>,
}

#[pyclass(module = "armstream._native")]
pub struct Core {
    state: State,
    headers: Headers,
    encode: Py<PyAny>,
    numbers: Py<PyAny>,
    mark_unreadable: Py<PyAny>,
    batch: Option<Batch>,
    partition: i64,
    max_record_bytes: usize,
    max_future_micros: i64,
}

/// Where `go_on` stops.
const EVENT: u8 = 1; // the record is for Python, whole
const DUE: u8 = 2; // it was applied, and what is due after it is for Python
const OUT: u8 = 3; // it waits for its bandit, which Python has

#[pymethods]
impl Core {
    /// `encode` gives an event's record; `numbers` what a Python learner of the core's kind holds; `mark_unreadable`
    /// puts headers that can be read in the place of a record's that cannot.
    #[new]
    fn new(
        number: u32,
        partitions: u32,
        limits: &Bound<PyDict>,
        headers: &Bound<PyDict>,
        encode: Py<PyAny>,
        numbers: Py<PyAny>,
        mark_unreadable: Py<PyAny>,
    ) -> PyResult<Self> {
        let integer = |name: &str| item(limits, name)?.extract::<i64>();
        let header = |name: &str| item(headers, name)?.extract::<Vec<u8>>();
        let limits_of_task = Limits {
            dedupe_window_micros: integer("dedupe_window_micros")?,
            orphan_ttl_micros: integer("orphan_ttl_micros")?,
            max_holding_micros: integer("max_holding_micros")?,
            max_events_per_position: item(limits, "max_events_per_position")?.extract()?,
            max_open_positions: integer("max_open_positions")?,
            max_waiting_closes: integer("max_waiting_closes")?,
            max_positions_remembered: integer("max_positions_remembered")?,
            max_cost_ratio: item(limits, "max_cost_ratio")?.extract()?,
            trades_share_topic: item(limits, "trades_share_topic")?.extract()?,
            max_arms: item(limits, "max_arms")?.extract()?,
            enabled: item(limits, "enabled")?.extract()?,
        };
        Ok(Self {
            state: State::new(limits_of_task, number, partitions),
            headers: Headers {
                fill: header("Fill")?,
                close: header("Close")?,
                reward: header("Reward")?,
                weight_vector: header("WeightVector")?,
                bandit_snapshot: header("BanditSnapshot")?,
                position_snapshot: header("PositionSnapshot")?,
            },
            encode,
            numbers,
            mark_unreadable,
            batch: None,
            partition: i64::from(number),
            max_record_bytes: item(limits, "max_record_bytes")?.extract()?,
            max_future_micros: integer("max_future_micros")?,
        })
    }

    // --- batches ---------------------------------------------------------------------------------------------------

    /// Begins a batch. `topics` and `offsets` are where the task stands; `hands_over`: Python takes every record.
    fn start(
        &mut self,
        py: Python,
        records: &Bound<PyList>,
        topics: Vec<String>,
        offsets: Vec<i64>,
        hands_over: bool,
    ) -> PyResult<()> {
        let topics = topics.into_iter().map(String::into_boxed_str).collect();
        let mut batch = Batch::new(py, records, topics, offsets);
        batch.hands_over = hands_over;
        self.batch = Some(batch);
        Ok(())
    }

    /// Applies records until one is for Python: (its index, EVENT or DUE). None at the end.
    fn go_on(&mut self, py: Python) -> PyResult<Option<(usize, u8)>> {
        let mut batch = self.batch.take().ok_or_else(no_batch)?;
        let stopped = self.advance(py, &mut batch);
        self.batch = Some(batch);
        stopped
    }

    /// Where the batch is: the record that failed, where one did.
    #[getter]
    fn at(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.at)
    }

    /// The cut behind the record that Python has.
    fn cut<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let batch = self.batch.as_mut().ok_or_else(no_batch)?;
        batch.at -= 1;
        let cut = PyBytes::new(py, batch.cut());
        batch.at += 1;
        Ok(cut)
    }

    /// The records of the audit log so far, to add to.
    #[getter]
    fn rewards(&self, py: Python) -> PyResult<Py<PyList>> {
        Ok(self.batch.as_ref().ok_or_else(no_batch)?.rewards.clone_ref(py))
    }

    /// What became of a record that Python had, and its event's time where it had one.
    fn note_outcome(&mut self, index: usize, outcome: u8, reached: Option<i64>) -> PyResult<()> {
        let batch = self.batch.as_mut().ok_or_else(no_batch)?;
        batch.outcomes[index] = outcome;
        if let Some(ts_event) = reached {
            batch.reached[usize::from(batch.topic_of[index])] = Some((index, ts_event));
        }
        Ok(())
    }

    /// What Python's record of a bandit means for its window of clipped rewards: 0 and 1 are a reward, 2 begins anew.
    fn note_window(&mut self, name: &str, what: u8) {
        let touched = self.state.slot_of(name).and_then(|slot| self.state.touched_index(slot));
        if let Some(index) = touched {
            self.state.touched[index].window.push(what);
        }
    }

    /// What metrics need of rewards: (bps, append times, counts by source, clipped).
    #[allow(clippy::type_complexity)] // it is unpacked at once
    fn measured(&self) -> PyResult<(Vec<f64>, Vec<i64>, [usize; 4], usize)> {
        let batch = self.batch.as_ref().ok_or_else(no_batch)?;
        Ok((batch.rewards_bps.clone(), batch.appended_ms.clone(), batch.sources, batch.clipped))
    }

    /// (offsets after the batch, the time reached in each topic, outcome of each record, topic of each).
    #[allow(clippy::type_complexity)] // it is unpacked at once
    fn ends<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Vec<i64>, Vec<Option<i64>>, Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let batch = self.batch.as_ref().ok_or_else(no_batch)?;
        let reached = batch.reached.iter().map(|reached| reached.map(|(_, ts_event)| ts_event)).collect();
        Ok((
            batch.offsets.clone(),
            reached,
            PyBytes::new(py, &batch.outcomes),
            PyBytes::new(py, &batch.topic_of),
        ))
    }

    /// Each touched bandit in order: (name, vector or None, snapshot or None, its window of clipped rewards, whether its
    /// version advanced). None for both where Python must write them.
    #[allow(clippy::type_complexity)] // it is unpacked at once
    fn touched_bandits<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let mut found = Vec::with_capacity(self.state.touched.len());
        for touched in &self.state.touched {
            let Some(bandit) = &touched.bandit else { continue };
            let slot = &self.state.slots[touched.slot];
            let advanced = bandit.version != touched.version_before;
            let (mut vector, mut snapshot) = (None, None);
            if bandit.native().is_some() {
                let name = slot.name.as_bytes();
                if advanced {
                    let bytes = weight_vector(name, bandit, &self.headers.weight_vector).map_err(no_learner)?;
                    vector = Some(output(py, slot.key.as_any(), Some(&bytes))?);
                }
                let bytes = bandit_snapshot(name, bandit, &self.headers.bandit_snapshot).map_err(no_learner)?;
                snapshot = Some(output(py, slot.key.as_any(), Some(&bytes))?);
            }
            let window = PyBytes::new(py, &touched.window);
            found.push((&*slot.name, vector, snapshot, window, advanced).into_pyobject(py)?);
        }
        Ok(found)
    }

    /// Names of bandits that were written and are no more.
    fn forgotten_bandits(&self) -> Vec<&str> {
        let gone = self.state.touched.iter().filter(|touched| touched.bandit.is_none());
        let slots = gone.map(|touched| &self.state.slots[touched.slot]);
        slots.filter(|slot| slot.committed.is_some()).map(|slot| &*slot.name).collect()
    }

    /// Positions to write, and tombstones, as records in order.
    fn changed_positions<'py>(&mut self, py: Python<'py>) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
        let (written, forgotten) = (PyList::empty(py), PyList::empty(py));
        for index in 0..self.state.changed.len() {
            let changed = &self.state.changed[index];
            let key = topic_key(py, &changed.key).into_any().unbind();
            let encoded = match &changed.change {
                Change::Gone | Change::Taken => {
                    if self.state.was_committed(index) {
                        forgotten.append(output(py, &key, None)?)?;
                    }
                    continue;
                }
                Change::Native(position) => Encoded::of(position),
                Change::Python(object) => Encoded::of_python(encoded(py, &self.encode, object)?),
            };
            let mut record = Vec::with_capacity(HEADER_SIZE + encoded.snapshot.len());
            record.extend_from_slice(&self.headers.position_snapshot);
            record.extend_from_slice(&encoded.snapshot);
            written.append(output(py, &key, Some(&record))?)?;
            self.state.changed[index].encoded = Some(encoded);
        }
        Ok((written, forgotten))
    }

    fn begin(&mut self) {
        self.state.begin();
    }

    /// Each changed position must have been written by `changed_positions`.
    fn commit(&mut self, py: Python) -> PyResult<()> {
        for index in 0..self.state.changed.len() {
            if self.state.changed[index].encoded.is_some() {
                continue;
            }
            let encoded = match &self.state.changed[index].change {
                Change::Gone | Change::Taken => None,
                Change::Native(position) => Some(Encoded::of(position)),
                Change::Python(object) => Some(Encoded::of_python(encoded(py, &self.encode, object)?)),
            };
            self.state.changed[index].encoded = encoded;
        }
        self.state.commit();
        self.batch = None;
        Ok(())
    }

    fn rollback(&mut self) {
        self.state.rollback();
        self.batch = None;
    }

    // --- the state's interface -------------------------------------------------------------------------------------

    #[getter]
    fn bandit_count(&self) -> i64 {
        self.state.counts.bandits
    }

    #[setter]
    fn set_bandit_count(&mut self, count: i64) {
        self.state.counts.bandits = count;
    }

    #[getter]
    fn learner_count(&self) -> i64 {
        self.state.counts.learners
    }

    #[setter]
    fn set_learner_count(&mut self, count: i64) {
        self.state.counts.learners = count;
    }

    #[getter]
    fn position_count(&self) -> i64 {
        self.state.counts.positions
    }

    #[setter]
    fn set_position_count(&mut self, count: i64) {
        self.state.counts.positions = count;
    }

    #[getter]
    fn finished_count(&self) -> i64 {
        self.state.counts.finished
    }

    #[setter]
    fn set_finished_count(&mut self, count: i64) {
        self.state.counts.finished = count;
    }

    #[getter]
    fn open_position_count(&self) -> i64 {
        self.state.counts.open
    }

    #[setter]
    fn set_open_position_count(&mut self, count: i64) {
        self.state.counts.open = count;
    }

    #[getter]
    fn waiting_close_count(&self) -> i64 {
        self.state.counts.waiting
    }

    #[setter]
    fn set_waiting_close_count(&mut self, count: i64) {
        self.state.counts.waiting = count;
    }

    fn shortest_window_micros(&self) -> i64 {
        self.state.shortest_window_micros()
    }

    /// Names of all bandits that there are.
    fn names(&self) -> Vec<&str> {
        let slots = 0..self.state.slots.len();
        slots.filter(|slot| self.state.bandit(*slot).is_some()).map(|slot| &*self.state.slots[slot].name).collect()
    }

    /// A bandit's fields, None where there is none.
    fn bandit<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let bandit = self.state.slot_of(name).and_then(|slot| self.state.bandit(slot));
        bandit.map(|bandit| fields_of(py, bandit)).transpose()
    }

    fn is_touched(&self, name: &str) -> bool {
        self.state.slot_of(name).is_some_and(|slot| self.state.touched_bandit(slot).is_some())
    }

    fn touch<'py>(&mut self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyTuple>> {
        let slot = self.state.slot(py, name);
        self.state.slots[slot].is_out = true;
        fields_of(py, self.state.touch(slot))
    }

    /// The touched bandit is as Python left it.
    #[allow(clippy::too_many_arguments)] // they are a bandit's fields
    fn put_bandit(
        &mut self,
        py: Python,
        name: &str,
        numbers: [i64; 9],
        paused: bool,
        command_ids: Vec<String>,
        cause_event_id: &str,
        rules: Option<&Bound<NativeRules>>,
        arms: Option<(Vec<String>, Vec<i64>)>,
        learner: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let slot = self.state.slot(py, name);
        self.state.slots[slot].is_out = false;
        let bandit = self.state.touch(slot);
        [
            bandit.version,
            bandit.fill_watermark,
            bandit.close_watermark,
            bandit.floor,
            bandit.ts_event,
            bandit.forgotten_until,
            bandit.finished_count,
            bandit.held_until,
            bandit.choices_version,
        ] = numbers;
        bandit.paused = paused;
        let is_same = command_ids.len() == bandit.command_ids.len()
            && command_ids.iter().zip(bandit.command_ids.iter()).all(|(ours, theirs)| **ours == **theirs);
        if !is_same {
            bandit.command_ids = Arc::new(command_ids.into_iter().map(String::into_boxed_str).collect());
        }
        bandit.cause_event_id = cause_event_id.as_bytes().into();
        if let Some(rules) = rules {
            bandit.rules = Some(rules.get().inner.clone());
        }
        if let Some((names, added_versions)) = arms {
            let names = names.into_iter().map(String::into_boxed_str).collect();
            bandit.arms = Arc::new(Arms { names, added_versions });
        }
        if let Some(learner) = learner {
            bandit.learner = Held::Python(Arc::new(learner));
        }
        Ok(())
    }

    fn forget_bandit(&mut self, name: &str) {
        if let Some(slot) = self.state.slot_of(name) {
            self.state.slots[slot].is_out = false;
            self.state.forget_bandit(slot);
        }
    }

    /// A position: its record, or what Python put; None where there is none.
    fn position(&self, py: Python, key: &str) -> PyResult<Option<Py<PyAny>>> {
        let key = core_key(key)?;
        let snapshot = match self.state.look(&key) {
            (Some(index), _) => match &self.state.changed[index].change {
                Change::Native(position) => position.snapshot(),
                Change::Python(object) => return Ok(Some(object.clone_ref(py))),
                Change::Gone | Change::Taken => return Ok(None),
            },
            (None, Some(snapshot)) => snapshot.into(),
            (None, None) => return Ok(None),
        };
        let record = [&self.headers.position_snapshot[..], &snapshot].concat();
        Ok(Some(PyBytes::new(py, &record).into_any().unbind()))
    }

    fn put_position(&mut self, key: &str, position: Option<Py<PyAny>>) -> PyResult<()> {
        self.state.put_python(&core_key(key)?, position);
        Ok(())
    }

    /// Keys of the bandit's positions that may not be flat: committed ones, and those that the batch changed.
    fn maybe_held(&self, name: &str) -> Vec<String> {
        let Some(slot) = self.state.slot_of(name) else { return vec![] };
        let changed = self.state.changed.iter().map(|changed| &changed.key);
        let own = changed.filter(|key| ids_of(key).0 == name.as_bytes());
        let mut keys: Vec<String> = self.state.slots[slot].held.iter().chain(own).map(|key| python_key(key)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Keys of paged positions that the core forgot since it was asked last, in order.
    fn take_forgotten_paged(&mut self) -> Vec<String> {
        std::mem::take(&mut self.state.forgotten_paged).iter().map(|key| python_key(key)).collect()
    }

    // Hints.

    fn first_finished(&self, name: &str) -> Option<(i64, &str)> {
        let slot = self.state.slot_of(name)?;
        self.state.slots[slot].finished.peek().map(|hint| (hint.0.0, &*hint.0.1))
    }

    fn push_finished(&mut self, py: Python, name: &str, ts_last: i64, position_id: &str) {
        let slot = self.state.slot(py, name);
        self.state.slots[slot].finished.push(std::cmp::Reverse((ts_last, position_id.into())));
    }

    fn pop_finished(&mut self, name: &str) -> PyResult<(i64, String)> {
        let slot = self.state.slot_of(name).ok_or_else(no_hint)?;
        self.state.pop_finished(slot).map(|hint| (hint.0, hint.1.into())).ok_or_else(no_hint)
    }

    fn first_waiting(&self, name: &str) -> Option<(i64, &str, &str)> {
        let slot = self.state.slot_of(name)?;
        self.state.slots[slot].waiting.peek().map(|hint| (hint.0.0, &*hint.0.1, &*hint.0.2))
    }

    fn note_waiting(&mut self, py: Python, name: &str, ts_event: i64, event_id: &str, position_id: &str) {
        let slot = self.state.slot(py, name);
        self.state.note_waiting(slot, ts_event, event_id.as_bytes(), position_id.as_bytes());
    }

    fn pop_waiting(&mut self, name: &str) -> PyResult<(i64, String, String)> {
        let slot = self.state.slot_of(name).ok_or_else(no_hint)?;
        let hint = self.state.pop_waiting(slot).ok_or_else(no_hint)?;
        Ok((hint.0, hint.1.into(), hint.2.into()))
    }

    fn first_task_waiting(&self) -> Option<(i64, &str, &str, &str)> {
        self.state.waiting.peek().map(|hint| (hint.0.0, &*hint.0.1, &*hint.0.2, &*hint.0.3))
    }

    fn pop_task_waiting(&mut self) -> PyResult<(i64, String, String, String)> {
        let hint = self.state.pop_task_waiting().ok_or_else(no_hint)?;
        Ok((hint.0, hint.1.into(), hint.2.into(), hint.3.into()))
    }

    // --- restoring -------------------------------------------------------------------------------------------------

    /// Puts a position back from its record of today's schema; False where Python must look at it.
    fn restore_position(&mut self, py: Python, record: &[u8]) -> Option<(String, i64)> {
        let snapshot = record.get(HEADER_SIZE..)?;
        let position = Position::read(snapshot).ok().filter(|position| position.has_known_form())?;
        self.state.restore(py, &position, snapshot.into());
        Some((python_key(&position.key), position.page_count()))
    }

    /// The committed bandit of that name, as Python read it back; its positions may have come before.
    #[allow(clippy::too_many_arguments)] // they are a bandit's fields
    fn restore_bandit(
        &mut self,
        py: Python,
        name: &str,
        numbers: [i64; 6],
        paused: bool,
        command_ids: Vec<String>,
        cause_event_id: &str,
        rules: Option<&Bound<NativeRules>>,
        arms: (Vec<String>, Vec<i64>),
        learner: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let slot = self.state.restored(py, name);
        let bandit = self.state.slots[slot].committed.get_or_insert_with(Bandit::new);
        [
            bandit.version,
            bandit.fill_watermark,
            bandit.close_watermark,
            bandit.ts_event,
            bandit.forgotten_until,
            bandit.choices_version,
        ] = numbers;
        bandit.set_floor();
        bandit.paused = paused;
        bandit.command_ids = Arc::new(command_ids.into_iter().map(String::into_boxed_str).collect());
        bandit.cause_event_id = cause_event_id.as_bytes().into();
        bandit.rules = rules.map(|rules| rules.get().inner.clone());
        let names = arms.0.into_iter().map(String::into_boxed_str).collect();
        bandit.arms = Arc::new(Arms { names, added_versions: arms.1 });
        if let Some(learner) = learner {
            bandit.learner = Held::Python(Arc::new(learner));
        }
        Ok(())
    }

    /// The settings in a bandit's record of today's schema: (algorithm, settings); None where Python must look at it.
    fn settings_in<'a>(&self, record: &'a [u8]) -> Option<(&'a str, &'a str)> {
        let read = Restored::read(record.get(HEADER_SIZE..)?).ok()?;
        Some((read.algorithm, read.settings_json))
    }

    /// Puts a bandit back from its record, under rules that it was made under; False where Python must look at it.
    fn restore_bandit_record(&mut self, py: Python, record: &[u8], rules: &Bound<NativeRules>) -> PyResult<bool> {
        let rules = rules.get().inner.clone();
        let read = match record.get(HEADER_SIZE..).map(Restored::read) {
            Some(Ok(read)) if read.fits(&rules) => read,
            _ => return Ok(false),
        };
        let shares_topic = self.state.limits.trades_share_topic;
        let slot = self.state.restored(py, read.name);
        self.state.counts.learners += 1;
        let bandit = self.state.slots[slot].committed.get_or_insert_with(Bandit::new);
        read.put_into(bandit, rules, shares_topic);
        Ok(true)
    }
}

impl Core {
    fn advance(&mut self, py: Python, batch: &mut Batch) -> PyResult<Option<(usize, u8)>> {
        while batch.at < batch.count {
            let index = batch.at;
            let record = batch.records.bind(py).get_item(index)?;
            let topic_name = record.call_method0(pyo3::intern!(py, "topic"))?;
            let topic_name: &str = topic_name.extract()?;
            let topic = batch.topics.iter().position(|known| &**known == topic_name);
            let topic = topic.ok_or_else(|| PyKeyError::new_err(topic_name.to_owned()))?;
            let offset: i64 = record.call_method0(pyo3::intern!(py, "offset"))?.extract()?;
            batch.offsets[topic] = offset + 1;
            batch.topic_of[index] = topic as u8;
            let applied =
                if batch.hands_over { Err(Stop::Unusual) } else { self.apply(py, batch, &record, topic, offset) };
            if matches!(applied, Err(Stop::Out)) {
                return Ok(Some((index, OUT)));
            }
            batch.at += 1;
            match applied {
                Ok(false) => {}
                Ok(true) => return Ok(Some((index, DUE))),
                Err(Stop::Unusual | Stop::Out) => return Ok(Some((index, EVENT))),
                Err(Stop::Failed(error)) => {
                    batch.at = index;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Applies one record; whether what is due after it is for Python.
    fn apply(
        &mut self,
        py: Python,
        batch: &mut Batch,
        record: &Bound<PyAny>,
        topic: usize,
        offset: i64,
    ) -> Result<bool, Stop> {
        let value = record.call_method0(pyo3::intern!(py, "value"))?;
        let key = record.call_method0(pyo3::intern!(py, "key"))?;
        let value = value.cast::<PyBytes>().map_err(|_| Unusual)?.as_bytes();
        let key = key.cast::<PyBytes>().map_err(|_| Unusual)?.as_bytes();
        if value.len() < HEADER_SIZE || value.len() > self.max_record_bytes {
            return Err(Stop::Unusual);
        }
        let (_, appended_ms): (i64, i64) = record.call_method0(pyo3::intern!(py, "timestamp"))?.extract()?;
        let latest = appended_ms.checked_mul(1_000).and_then(|time| time.checked_add(self.max_future_micros));
        let latest = latest.ok_or(Unusual)?;
        let encode = &self.encode;
        let read = |object: &Py<PyAny>| Ok(Position::read(&encoded(py, encode, object)?).ok());
        let numbers = &self.numbers;
        let state = &mut self.state;
        let header = &value[..HEADER_SIZE];

        let (slot, ts_event, taken) = if header == self.headers.fill {
            let fill = read_fill(value)?;
            check_envelope(fill.bandit_id, key, fill.ts_event, latest)?;
            let slot = tell_time(state, fill.bandit_id, fill.ts_event, true, &read)?;
            take_in(py, state, slot, numbers)?;
            let with = With { read: &read, reward_header: &self.headers.reward, cut: batch.cut() };
            (slot, fill.ts_event, take_fill(state, slot, &fill, &with)?)
        } else if header == self.headers.close {
            let close = read_close(value)?;
            check_envelope(close.bandit_id, key, close.ts_event, latest)?;
            let slot = tell_time(state, close.bandit_id, close.ts_event, false, &read)?;
            take_in(py, state, slot, numbers)?;
            let topic_name = batch.topics[topic].clone();
            let envelope = Envelope {
                topic: &topic_name,
                partition: self.partition,
                offset,
                key,
                value,
                may_be_kept: 2 * key.len() + value.len() <= self.max_record_bytes
                    && !has_headers(record, &self.mark_unreadable)?,
            };
            let with = With { read: &read, reward_header: &self.headers.reward, cut: batch.cut() };
            (slot, close.ts_event, take_close(state, slot, &close, &envelope, &with)?)
        } else {
            return Err(Stop::Unusual);
        };
        batch.reached[topic] = Some((batch.at, ts_event));
        match taken {
            None => batch.outcomes[batch.at] = DUPLICATE,
            Some(Event { lesson }) => {
                batch.outcomes[batch.at] = APPLIED;
                if let Some(lesson) = lesson {
                    let key = state.slots[slot].key.as_any();
                    let touched = state.touched_index(slot).ok_or(Unusual)?;
                    let window = &mut state.touched[touched].window;
                    for reward in &lesson.taught.rewards {
                        batch.add_reward(py, key, reward, appended_ms, window)?;
                    }
                }
            }
        }
        Ok(expire(state, slot, &read)?)
    }
}

fn check_envelope(bandit_id: &str, key: &[u8], ts_event: i64, latest: i64) -> Usual<()> {
    if bandit_id.as_bytes() == key && ts_event <= latest { Ok(()) } else { Err(Unusual) }
}

/// A learner that Python had is the core's, in the same state; nothing is touched by it.
fn take_in(py: Python, state: &mut State, slot: usize, numbers: &Py<PyAny>) -> PyResult<()> {
    let Some(Bandit { learner: Held::Python(held), .. }) = state.bandit(slot) else { return Ok(()) };
    let numbers: Numbers = numbers.call1(py, (held.clone_ref(py),))?.extract(py)?;
    let learner = Held::Native(Arc::new(learner_of(numbers)));
    match state.touched_index(slot) {
        Some(index) => {
            if let Some(bandit) = state.touched[index].bandit.as_mut() {
                bandit.learner = learner;
            }
        }
        None => {
            if let Some(bandit) = state.slots[slot].committed.as_mut() {
                bandit.learner = learner;
            }
        }
    }
    Ok(())
}

fn learner_of(numbers: Numbers) -> Learner {
    let (state, pulls, cumulative_rewards, total_steps, bound_bps, warm_up_rewards_bps, sum) = numbers;
    Learner { state, pulls, cumulative_rewards, total_steps, bound_bps, warm_up_rewards_bps, sum }
}

/// A bandit's fields in the order of `armstream.core.state`.
fn fields_of<'py>(py: Python<'py>, bandit: &Bandit) -> PyResult<Bound<'py, PyTuple>> {
    let numbers = [
        bandit.version,
        bandit.fill_watermark,
        bandit.close_watermark,
        bandit.floor,
        bandit.ts_event,
        bandit.forgotten_until,
        bandit.finished_count,
        bandit.held_until,
        bandit.choices_version,
    ];
    let ids = PyTuple::new(py, bandit.command_ids.iter().map(|id| &**id))?;
    let rules = bandit.rules.clone().map(|inner| Bound::new(py, NativeRules { inner })).transpose()?;
    let names = PyTuple::new(py, bandit.arms.names.iter().map(|name| &**name))?;
    let learner = match &bandit.learner {
        Held::Nothing => py.None(),
        Held::Python(learner) => learner.clone_ref(py),
        Held::Native(learner) => (
            &learner.state,
            &learner.pulls,
            &learner.cumulative_rewards,
            learner.total_steps,
            learner.bound_bps,
            &learner.warm_up_rewards_bps,
            learner.sum,
        )
            .into_pyobject(py)?
            .into_any()
            .unbind(),
    };
    let is_native = matches!(bandit.learner, Held::Native(_));
    let arms = (names, &bandit.arms.added_versions);
    (numbers, bandit.paused, ids, text_of(&bandit.cause_event_id), rules, arms, learner, is_native).into_pyobject(py)
}

/// A bandit's record, as far as a learner of the core's needs it.
struct Restored<'a> {
    name: &'a str,
    version: i64,
    learner: Learner,
    arms: Arms,
    algorithm: &'a str,
    estimator: &'a str,
    settings_json: &'a str,
    fill_watermark: i64,
    close_watermark: i64,
    paused: bool,
    cause_event_id: Box<[u8]>,
    ts_event: i64,
    command_ids: Vec<Box<str>>,
    choices_version: i64,
    own_state: Vec<f64>,
    forgotten_until: i64,
}

impl<'a> Restored<'a> {
    fn read(snapshot: &'a [u8]) -> Usual<Self> {
        let mut reader = Reader::new(snapshot, 0);
        let (name, version, total_steps) = (reader.text()?, reader.long()?, reader.long()?);
        let mut learner = Learner { total_steps, ..Learner::default() };
        let mut arms = Arms::default();
        let count = reader.count()?;
        for _ in 0..count {
            arms.names.push(reader.text()?.into());
            let numbers = reader.doubles()?;
            if numbers.len() != 1 {
                return Err(Unusual);
            }
            learner.state.push(numbers.get(0));
            learner.pulls.push(reader.long()?);
            learner.cumulative_rewards.push(reader.double()?);
            arms.added_versions.push(reader.long()?);
        }
        if count < 2 || reader.byte()? != 0 {
            return Err(Unusual);
        }
        let (algorithm, estimator, settings_json) = (reader.text()?, reader.text()?, reader.text()?);
        let fill_watermark = reader.optional(Reader::long)?.unwrap_or(NEVER);
        let close_watermark = reader.optional(Reader::long)?.unwrap_or(NEVER);
        let paused = reader.boolean()?;
        let (cause_event_id, ts_event) = (reader.text()?.as_bytes().into(), reader.long()?);
        let ids = reader.items(|reader| reader.text().map(drop))?;
        let mut ids_reader = Reader::new(ids.raw, 0);
        let command_ids = (0..ids.count).map_while(|_| ids_reader.text().ok().map(Into::into)).collect();
        if reader.count()? != 0 {
            return Err(Unusual); // experts
        }
        let choices_version = reader.long()?;
        learner.bound_bps = reader.optional(Reader::double)?;
        learner.warm_up_rewards_bps = reader.doubles()?.iter().collect();
        let own_state: Vec<f64> = reader.doubles()?.iter().collect();
        learner.sum = own_state.first().copied().unwrap_or(0.0);
        let forgotten_until = reader.optional(Reader::long)?.unwrap_or(NEVER);
        if reader.long()? != 1 {
            return Err(Unusual); // a form of another version
        }
        reader.end()?;
        Ok(Self {
            name,
            version,
            learner,
            arms,
            algorithm,
            estimator,
            settings_json,
            fill_watermark,
            close_watermark,
            paused,
            cause_event_id,
            ts_event,
            command_ids,
            choices_version,
            own_state,
            forgotten_until,
        })
    }

    /// Whether it is what a learner under these rules wrote, and no number of it is one that none could hold.
    fn fits(&self, rules: &crate::bandit::Rules) -> bool {
        let Some(parameters) = &rules.parameters else { return false };
        let keeps_sum = parameters.is_observing && (parameters.is_adaptive || !parameters.is_tsallis);
        let mut names: Vec<&str> = self.arms.names.iter().map(|name| &**name).collect();
        names.sort_unstable();
        let is_loss = |loss: &f64| if parameters.is_tsallis { loss.abs() <= 1e100 } else { loss.is_finite() };
        let learner = &self.learner;
        self.algorithm.as_bytes() == &*rules.algorithm
            && self.estimator.as_bytes() == &*rules.estimator
            && self.settings_json.as_bytes() == &*rules.settings_json
            && parameters.restores_as_it_is()
            && self.own_state.len() == usize::from(keeps_sum)
            && learner.sum >= 0.0
            && learner.sum.is_finite()
            && names.windows(2).all(|pair| pair[0] != pair[1])
            && names.iter().all(|name| !name.is_empty())
            && learner.state.iter().all(is_loss)
            && learner.cumulative_rewards.iter().all(|reward| reward.is_finite())
            && learner.pulls.iter().all(|count| *count >= 0)
            && learner.total_steps >= 0
    }

    fn put_into(self, bandit: &mut Bandit, rules: Arc<crate::bandit::Rules>, shares_topic: bool) {
        bandit.version = self.version;
        bandit.fill_watermark = self.fill_watermark;
        bandit.close_watermark = self.close_watermark;
        if shares_topic {
            let newest = self.fill_watermark.max(self.close_watermark);
            (bandit.fill_watermark, bandit.close_watermark) = (newest, newest);
        }
        bandit.set_floor();
        bandit.forgotten_until = self.forgotten_until;
        bandit.paused = self.paused;
        bandit.command_ids = Arc::new(self.command_ids);
        bandit.cause_event_id = self.cause_event_id;
        bandit.ts_event = self.ts_event;
        bandit.choices_version = self.choices_version;
        bandit.rules = Some(rules);
        bandit.arms = Arc::new(self.arms);
        bandit.learner = Held::Native(Arc::new(self.learner));
    }
}

fn encoded(py: Python, encode: &Py<PyAny>, event: &Py<PyAny>) -> PyResult<Vec<u8>> {
    let record = encode.call1(py, (event,))?;
    let record = record.bind(py).cast::<PyBytes>()?.as_bytes();
    record.get(HEADER_SIZE..).map(<[u8]>::to_vec).ok_or_else(|| PyValueError::new_err("a record without a header"))
}

/// A position's key as Python has it: its bandit's id, NUL, its own.
fn python_key(key: &[u8]) -> String {
    let (bandit_id, position_id) = ids_of(key);
    format!("{}\0{}", text(bandit_id), text(position_id))
}

fn topic_key<'py>(py: Python<'py>, key: &[u8]) -> Bound<'py, PyBytes> {
    let (bandit_id, position_id) = ids_of(key);
    PyBytes::new(py, &[bandit_id, b"\0", position_id].concat())
}

fn core_key(key: &str) -> PyResult<Vec<u8>> {
    let ids = key.split_once('\0').ok_or_else(|| PyValueError::new_err("no position's key"))?;
    Ok(position_key(ids.0.as_bytes(), ids.1.as_bytes()))
}

fn item<'py>(values: &Bound<'py, PyDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    values.get_item(name)?.ok_or_else(|| PyKeyError::new_err(name.to_owned()))
}

fn no_batch() -> PyErr {
    PyRuntimeError::new_err("there is no batch")
}

fn no_hint() -> PyErr {
    PyKeyError::new_err("there is no hint")
}

fn no_learner(_: Unusual) -> PyErr {
    PyRuntimeError::new_err("the bandit has no learner of the core's")
}

/// Where a name is no UTF-8 the client gives a list with holes and an error, and the second time no error: so the
/// intake, which will ask again, must find others.
fn has_headers(record: &Bound<PyAny>, mark_unreadable: &Py<PyAny>) -> PyResult<bool> {
    match record.call_method0(pyo3::intern!(record.py(), "headers")) {
        Ok(headers) => Ok(!headers.is_none()),
        Err(_) => mark_unreadable.call1(record.py(), (record,)).map(|_| true),
    }
}
