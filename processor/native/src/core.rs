//! What Python sees of the core: a task's state behind the interface of `stages/state.py`, and batches of records.
//!
//! Law: `go_on` applies records in order until one is unusual, and says which; Python applies that one over this state,
//! and calls again. So the order is the batch's, whoever applies what.

use std::sync::Arc;

use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::avro::{Unusual, Usual, ids_of, position_key};
use crate::bandit::{Arms, Bandit, Form, bandit_snapshot, weight_vector};
use crate::batch::{APPLIED, Batch, DUPLICATE, output};
use crate::events::{TRADE, read_close, read_fill};
use crate::hints::{Hints, Which};
use crate::learning::Learner;
use crate::position::Position;
use crate::restored::Restored;
use crate::reward::{Envelope, Event, Frame, Stop, With, expire, take_close, take_fill, tell_time};
use crate::rules::NativeRules;
use crate::state::{Change, Counts, Encoded, Limits, State, text, text_of};

const HEADER_SIZE: usize = 10;

type Numbers = (Vec<f64>, Vec<i64>, Vec<f64>, i64, Option<f64>, Vec<f64>, f64); // a learner's
type Fields<'py> = (
    [i64; 9],
    bool,
    Bound<'py, PyTuple>,
    String,
    Bound<'py, NativeRules>,
    (Vec<String>, Vec<i64>),
    Numbers,
);

struct Headers {
    fill: Vec<u8>,
    close: Vec<u8>,
    reward: Vec<u8>,
    weight_vector: Vec<u8>,
    bandit_snapshot: Vec<u8>,
    position_snapshot: Vec<u8>,
    dead_letter: Vec<u8>,
}

#[pyclass(module = "armstream._native")]
pub struct Core {
    pub state: State,
    headers: Headers,
    encode: Py<PyAny>,
    fields: Py<PyAny>,
    mark_unreadable: Py<PyAny>,
    batch: Option<Batch>,
    partition: i64,
    max_record_bytes: usize,
    max_future_micros: i64,
}

#[pymethods]
impl Core {
    /// `encode` gives an event's record; `fields` those of a bandit that the stages left, None where the core has not its
    /// rule; `mark_unreadable` puts headers that can be read in the place of a record's that cannot.
    #[new]
    fn new(
        number: u32,
        partitions: u32,
        limits: &Bound<PyDict>,
        headers: &Bound<PyDict>,
        encode: Py<PyAny>,
        fields: Py<PyAny>,
        mark_unreadable: Py<PyAny>,
    ) -> PyResult<Self> {
        let integer = |name: &str| item(limits, name)?.extract::<i64>();
        let header = |name: &str| item(headers, name)?.extract::<Vec<u8>>();
        let limits_of_task = Limits {
            dedupe_window_micros: integer("dedupe_window_micros")?,
            orphan_ttl_micros: integer("orphan_ttl_micros")?,
            dedupe_window_seconds: item(limits, "dedupe_window_seconds")?.extract::<String>()?.into(),
            orphan_ttl_seconds: item(limits, "orphan_ttl_seconds")?.extract::<String>()?.into(),
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
                dead_letter: header("DeadLetter")?,
            },
            encode,
            fields,
            mark_unreadable,
            batch: None,
            partition: i64::from(number),
            max_record_bytes: item(limits, "max_record_bytes")?.extract()?,
            max_future_micros: integer("max_future_micros")?,
        })
    }

    // --- batches ---------------------------------------------------------------------------------------------------

    /// Begins a batch. `topics` and `offsets` are where the task stands.
    fn start(&mut self, py: Python, records: &Bound<PyList>, topics: Vec<String>, offsets: Vec<i64>) {
        let topics = topics.into_iter().map(Arc::from).collect();
        self.batch = Some(Batch::new(py, records, topics, offsets));
    }

    /// Applies records until one is for Python: (its index, whether only what is due after it). None at the end.
    fn go_on(&mut self, py: Python) -> PyResult<Option<(usize, bool)>> {
        let mut batch = self.batch.take().ok_or_else(no_batch)?;
        batch.take_over();
        let stopped = self.advance(py, &mut batch);
        self.batch = Some(batch);
        stopped
    }

    /// Where the batch is: the record that failed, where one did.
    #[getter]
    fn at(&self) -> usize {
        self.batch.as_ref().map_or(0, |batch| batch.at)
    }

    /// So many records from the next one on are Python's.
    fn hand_over(&mut self, py: Python, count: usize) -> PyResult<()> {
        self.batch.as_mut().ok_or_else(no_batch)?.hand_over(py, count)
    }

    /// The cut behind one of the records that Python has; of one that is before the last one asked for there is none.
    fn cut<'py>(&mut self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyBytes>> {
        let batch = self.batch.as_mut().ok_or_else(no_batch)?;
        batch.go_behind(index);
        if batch.at != index + 1 {
            return Err(PyValueError::new_err("a cut behind a record that is not Python's"));
        }
        Ok(PyBytes::new(py, batch.cut(index)))
    }

    /// The records of the audit log so far, to add to.
    #[getter]
    fn rewards(&self, py: Python) -> PyResult<Py<PyList>> {
        Ok(self.batch.as_ref().ok_or_else(no_batch)?.rewards.clone_ref(py))
    }

    /// The dead letters so far, to add to.
    #[getter]
    fn dead_letters(&self, py: Python) -> PyResult<Py<PyList>> {
        Ok(self.batch.as_ref().ok_or_else(no_batch)?.dead_letters.clone_ref(py))
    }

    /// What became of records from `first` on, that Python had, and each one's time where it is a fill or a close.
    fn note_outcomes(&mut self, first: usize, outcomes: &[u8], times: Vec<Option<i64>>) -> PyResult<()> {
        let batch = self.batch.as_mut().ok_or_else(no_batch)?;
        for (index, (outcome, reached)) in (first..).zip(outcomes.iter().zip(times)) {
            batch.outcomes[index] = *outcome;
            if reached.is_some() {
                batch.reached[usize::from(batch.topic_of[index])] = reached;
            }
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

    /// What metrics need: of rewards (bps, append times, counts by source, clipped), and how many closes were orphans.
    #[allow(clippy::type_complexity)] // it is unpacked at once
    fn measured(&self) -> PyResult<(Vec<f64>, Vec<i64>, [usize; 4], usize, usize)> {
        let batch = self.batch.as_ref().ok_or_else(no_batch)?;
        Ok((batch.rewards_bps.clone(), batch.appended_ms.clone(), batch.sources, batch.clipped, batch.orphans))
    }

    /// (offsets after the batch, the time reached in each topic, outcome of each record, topic of each).
    #[allow(clippy::type_complexity)] // it is unpacked at once
    fn ends<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Vec<i64>, Vec<Option<i64>>, Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let batch = self.batch.as_ref().ok_or_else(no_batch)?;
        Ok((
            batch.offsets.clone(),
            batch.reached.clone(),
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
            let slot = &self.state.slots[touched.slot];
            let (mut vector, mut snapshot) = (None, None);
            let advanced = match &touched.bandit {
                None => continue,
                Some(Form::Python(view)) => {
                    view.bind(py).getattr("version")?.extract::<i64>()? != touched.version_before
                }
                Some(Form::Core(bandit)) => {
                    let (name, advanced) = (slot.name.as_bytes(), bandit.version != touched.version_before);
                    if advanced {
                        let bytes = weight_vector(name, bandit, &self.headers.weight_vector).map_err(no_learner)?;
                        vector = Some(output(py, slot.key.as_any(), Some(&bytes))?);
                    }
                    let header = &self.headers.bandit_snapshot;
                    let bytes = bandit_snapshot(py, name, bandit, header).map_err(no_learner)?;
                    snapshot = Some(output(py, slot.key.as_any(), Some(&bytes))?);
                    advanced
                }
            };
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

    /// Of bandits, learners, positions, finished ones, open ones, and closes that wait.
    #[getter]
    fn counts(&self) -> [i64; 6] {
        let Counts { bandits, learners, positions, finished, open, waiting } = self.state.counts;
        [bandits, learners, positions, finished, open, waiting]
    }

    #[setter]
    fn set_counts(&mut self, counts: [i64; 6]) {
        let [bandits, learners, positions, finished, open, waiting] = counts;
        self.state.counts = Counts { bandits, learners, positions, finished, open, waiting };
    }

    fn shortest_window_micros(&self, py: Python) -> PyResult<i64> {
        self.state.shortest_window_micros(py)
    }

    /// Names of all bandits that there are.
    fn names(&self) -> Vec<&str> {
        let slots = 0..self.state.slots.len();
        slots.filter(|slot| self.state.form(*slot).is_some()).map(|slot| &*self.state.slots[slot].name).collect()
    }

    /// Names of the bandits that have most finished positions.
    fn names_with_most_finished(&self, py: Python) -> PyResult<Vec<&str>> {
        let slots = self.state.with_most_finished(py)?;
        Ok(slots.into_iter().map(|slot| &*self.state.slots[slot].name).collect())
    }

    /// A bandit: the object that the stages left, or its fields; None where there is none.
    fn bandit<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(match self.state.slot_of(name).and_then(|slot| self.state.form(slot)) {
            None => None,
            Some(Form::Python(view)) => Some(view.bind(py).clone()),
            Some(Form::Core(bandit)) => Some(fields_of(py, bandit)?.into_any()),
        })
    }

    /// The bandit is this object until the core needs it, in the same state: nothing is touched by it. One that is read
    /// back, and that there is not yet, is there from now on.
    fn keep_bandit(&mut self, py: Python, name: &str, view: Py<PyAny>) {
        let slot = self.state.slot(py, name);
        match self.state.form_mut(slot) {
            Some(form) => *form = Form::Python(view),
            None => self.state.slots[slot].committed = Some(Form::Python(view)),
        }
    }

    fn is_touched(&self, name: &str) -> bool {
        self.state.slot_of(name).is_some_and(|slot| self.state.touched_form(slot).is_some())
    }

    /// The bandit is this object in the batch from now on, which may change until the core needs it.
    fn touch(&mut self, py: Python, name: &str, view: Py<PyAny>, version: i64) {
        let slot = self.state.slot(py, name);
        self.state.touch_with(slot, version, Form::Python(view));
    }

    /// A bandit's heaps: of finished positions, and of closes that wait.
    fn hints(slf: &Bound<Self>, name: &str) -> (Hints, Hints) {
        let slot = slf.borrow_mut().state.slot(slf.py(), name);
        (Hints::new(slf, Which::Finished(slot)), Hints::new(slf, Which::Waiting(slot)))
    }

    /// The heap of all closes that wait.
    fn task_hints(slf: &Bound<Self>) -> Hints {
        Hints::new(slf, Which::TaskWaiting)
    }

    fn forget_bandit(&mut self, name: &str) {
        if let Some(slot) = self.state.slot_of(name) {
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

    /// What the stages made of positions, by key; None is one that they forgot.
    fn put_positions(&mut self, positions: &Bound<PyDict>) -> PyResult<()> {
        for (key, position) in positions.iter() {
            let key = key.cast::<PyString>()?;
            self.state.put_python(&core_key(key.to_str()?)?, (!position.is_none()).then(|| position.unbind()));
        }
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

    fn push_finished(&mut self, py: Python, name: &str, ts_last: i64, position_id: &str) {
        let slot = self.state.slot(py, name);
        self.state.slots[slot].finished.push(std::cmp::Reverse((ts_last, position_id.into())));
    }

    fn note_waiting(&mut self, py: Python, name: &str, ts_event: i64, event_id: &str, position_id: &str) {
        let slot = self.state.slot(py, name);
        self.state.note_waiting(slot, ts_event, event_id.as_bytes(), position_id.as_bytes());
    }

    // --- restoring -------------------------------------------------------------------------------------------------

    /// Puts a position back from its record of today's schema; False where Python must look at it.
    fn restore_position(&mut self, py: Python, record: &[u8]) -> PyResult<bool> {
        let Some(snapshot) = record.get(HEADER_SIZE..) else { return Ok(false) };
        Ok(self.restore_position_from(py, snapshot)?.is_some())
    }

    /// Puts records back as they stand, from `first` on. Gives the place of the first that Python must look at, or the
    /// end. `rules_of` gives the rules of a bandit, None where the core has not its rule; `expect` hears of a position
    /// that has pages, and of how many.
    fn restore_records(
        &mut self,
        py: Python,
        records: &Bound<PyList>,
        first: usize,
        rules_of: &Bound<PyAny>,
        expect: &Bound<PyAny>,
    ) -> PyResult<usize> {
        for index in first..records.len() {
            let record = records.get_item(index)?;
            let record = record.cast::<PyBytes>()?.as_bytes();
            let is_taken = if let Some(snapshot) = record.strip_prefix(&*self.headers.position_snapshot) {
                match self.restore_position_from(py, snapshot)? {
                    Some(position) if position.page_count() > 0 => {
                        expect.call1((python_key(&position.key), position.page_count()))?;
                        true
                    }
                    found => found.is_some(),
                }
            } else if let Some(snapshot) = record.strip_prefix(&*self.headers.bandit_snapshot) {
                self.restore_bandit_from(py, snapshot, rules_of)?
            } else {
                false
            };
            if !is_taken {
                return Ok(index);
            }
        }
        Ok(records.len())
    }

    fn __traverse__(&self, visit: PyVisit) -> Result<(), PyTraverseError> {
        self.state.traverse(&visit)
    }

    fn __clear__(&mut self) {
        self.state.slots.clear();
        self.state.touched.clear();
    }
}

impl Core {
    fn restore_position_from(&mut self, py: Python, snapshot: &[u8]) -> PyResult<Option<Position>> {
        let Some(position) = Position::read(snapshot).ok().filter(Position::has_known_form) else { return Ok(None) };
        self.state.restore(py, &position, snapshot.into())?;
        Ok(Some(position))
    }

    /// Under the rules that it was made under alone.
    fn restore_bandit_from(&mut self, py: Python, snapshot: &[u8], rules_of: &Bound<PyAny>) -> PyResult<bool> {
        let Ok(read) = Restored::read(snapshot) else { return Ok(false) };
        let rules = rules_of.call1((read.name,))?.extract::<Option<Bound<NativeRules>>>()?;
        let Some(rules) = rules.map(|rules| rules.get().inner.clone()).filter(|rules| read.fits(rules)) else {
            return Ok(false);
        };
        let shares_topic = self.state.limits.trades_share_topic;
        let slot = self.state.restored(py, read.name);
        let Some(Form::Core(bandit)) = self.state.slots[slot].committed.as_mut() else { return Ok(false) };
        read.put_into(py, bandit, rules, shares_topic)?;
        self.state.counts.learners += 1;
        Ok(true)
    }

    fn advance(&mut self, py: Python, batch: &mut Batch) -> PyResult<Option<(usize, bool)>> {
        while batch.at < batch.count {
            let index = batch.at;
            let record = batch.records.bind(py).get_item(index)?;
            let (topic, offset) = batch.place(index, &record)?;
            let before = std::mem::replace(&mut batch.offsets[topic], offset + 1);
            let applied = self.apply(py, batch, &record, topic, offset);
            match applied {
                Ok(is_due) => {
                    batch.at += 1;
                    if is_due {
                        return Ok(Some((index, true)));
                    }
                }
                Err(Stop::Unusual) => {
                    batch.offsets[topic] = before;
                    return Ok(Some((index, false)));
                }
                Err(Stop::Failed(error)) => return Err(error),
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
        let fields = &self.fields;
        let state = &mut self.state;
        let header = &value[..HEADER_SIZE];

        let (slot, ts_event, taken) = if header == self.headers.fill {
            let fill = read_fill(value)?;
            check_envelope(fill.bandit_id, key, fill.ts_event, latest)?;
            check_trade(fill.exec_type)?;
            let slot = taken_in(py, state, fill.bandit_id, fields)?;
            tell_time(state, slot, fill.ts_event, true, &read)?;
            let with = With { read: &read, reward_header: &self.headers.reward, cut: batch.cut(batch.at) };
            (slot, fill.ts_event, take_fill(state, slot, &fill, &with)?)
        } else if header == self.headers.close {
            let close = read_close(value)?;
            check_envelope(close.bandit_id, key, close.ts_event, latest)?;
            check_trade(close.exec_type)?;
            let slot = taken_in(py, state, close.bandit_id, fields)?;
            tell_time(state, slot, close.ts_event, false, &read)?;
            let topic_name = batch.topics[topic].clone();
            let envelope = Envelope {
                topic: &topic_name,
                partition: self.partition,
                offset,
                key,
                value,
                may_be_kept: &|| {
                    let fits = 2 * key.len() + value.len() <= self.max_record_bytes;
                    Ok(fits && !has_headers(record, &self.mark_unreadable)?)
                },
            };
            let with = With { read: &read, reward_header: &self.headers.reward, cut: batch.cut(batch.at) };
            (slot, close.ts_event, take_close(state, slot, &close, &envelope, &with)?)
        } else {
            return Err(Stop::Unusual);
        };
        batch.reached[topic] = Some(ts_event);
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
        let frame = Frame { header: &self.headers.dead_letter, cut: batch.cut(batch.at) };
        let mut orphans = Vec::new();
        let is_due = expire(state, slot, &read, &frame, &mut orphans)?;
        for orphan in orphans {
            batch.add_orphan(py, &orphan)?;
        }
        Ok(is_due)
    }
}

fn check_envelope(bandit_id: &str, key: &[u8], ts_event: i64, latest: i64) -> Usual<()> {
    if bandit_id.as_bytes() == key && ts_event <= latest { Ok(()) } else { Err(Unusual) }
}

/// Before anything is taken in for it.
fn check_trade(exec_type: u8) -> Usual<()> {
    if exec_type == TRADE { Ok(()) } else { Err(Unusual) }
}

/// The slot of a bandit, which is in the core's form from now on, in the same state: nothing is touched by it.
fn taken_in(py: Python, state: &mut State, bandit_id: &str, fields: &Py<PyAny>) -> Result<usize, Stop> {
    let slot = state.slot_of(bandit_id).ok_or(Unusual)?;
    if let Some(form @ Form::Python(_)) = state.form_mut(slot) {
        let Form::Python(view) = &*form else { return Ok(slot) };
        let fields: Option<Fields> = fields.call1(py, (view,))?.extract(py)?;
        *form = Form::Core(bandit_of(fields.ok_or(Unusual)?));
    }
    Ok(slot)
}

fn learner_of(numbers: Numbers) -> Learner {
    let (state, pulls, cumulative_rewards, total_steps, bound_bps, warm_up_rewards_bps, sum) = numbers;
    Learner { state, pulls, cumulative_rewards, total_steps, bound_bps, warm_up_rewards_bps, sum }
}

/// A bandit from its fields, which are in the order of `armstream.core.rules`.
fn bandit_of(fields: Fields) -> Bandit {
    let (numbers, paused, command_ids, cause_event_id, rules, (names, added_versions), learner) = fields;
    let [
        version,
        fill_watermark,
        close_watermark,
        floor,
        ts_event,
        forgotten_until,
        finished_count,
        held_until,
        choices_version,
    ] = numbers;
    let names = names.into_iter().map(String::into_boxed_str).collect();
    Bandit {
        version,
        fill_watermark,
        close_watermark,
        floor,
        paused,
        command_ids: Arc::new(command_ids.unbind()),
        cause_event_id: cause_event_id.into_bytes().into(),
        ts_event,
        forgotten_until,
        finished_count,
        held_until,
        choices_version,
        rules: Some(rules.get().inner.clone()),
        arms: Arc::new(Arms { names, added_versions }),
        learner: Some(Arc::new(learner_of(learner))),
    }
}

/// As `bandit_of` takes them, with what it was made under in the place of its rules; of one that came to be by its
/// positions, which are read back before it, no rules and no learner.
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
    let ids = bandit.command_ids.bind(py);
    let made_under = bandit.rules.as_ref().map(|rules| rules.made_under.bind(py));
    let arms = (PyTuple::new(py, bandit.arms.names.iter().map(|name| &**name))?, &bandit.arms.added_versions);
    let learner = bandit.learner.as_ref().map(|learner| {
        (
            &learner.state,
            &learner.pulls,
            &learner.cumulative_rewards,
            learner.total_steps,
            learner.bound_bps,
            &learner.warm_up_rewards_bps,
            learner.sum,
        )
    });
    (numbers, bandit.paused, ids, text_of(&bandit.cause_event_id), made_under, arms, learner).into_pyobject(py)
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
