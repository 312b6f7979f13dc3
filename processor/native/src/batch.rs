//! One batch on its way through the core: where it is, and what it gives to publish and to count.

use std::sync::Arc;

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::avro::{put_bytes, put_count, put_long};
use crate::bandit::TaughtReward;
use crate::reward::Orphan;

pub const APPLIED: u8 = 0;
pub const DUPLICATE: u8 = 1;

pub struct Batch {
    pub records: Py<PyList>,
    pub count: usize,
    pub at: usize, // of the first record that is not yet in the cut
    pub topics: Vec<Arc<str>>,
    pub offsets: Vec<i64>,
    pub reached: Vec<Option<i64>>,
    pub outcomes: Vec<u8>,
    pub topic_of: Vec<u8>,
    pub rewards: Py<PyList>,
    pub rewards_bps: Vec<f64>,
    pub appended_ms: Vec<i64>,
    pub sources: [usize; 4],
    pub clipped: usize,
    pub dead_letters: Py<PyList>,
    pub orphans: usize,
    handed_over: Vec<(usize, i64)>, // topic and offset of each record from `at` on that the stages have
    cut: Vec<u8>,
    cut_at: Option<usize>,
}

impl Batch {
    pub fn new(py: Python, records: &Bound<PyList>, topics: Vec<Arc<str>>, offsets: Vec<i64>) -> Self {
        let count = records.len();
        Self {
            records: records.clone().unbind(),
            count,
            at: 0,
            reached: vec![None; topics.len()],
            topics,
            offsets,
            outcomes: vec![APPLIED; count],
            topic_of: vec![0; count],
            rewards: PyList::empty(py).unbind(),
            rewards_bps: Vec::new(),
            appended_ms: Vec::new(),
            sources: [0; 4],
            clipped: 0,
            dead_letters: PyList::empty(py).unbind(),
            orphans: 0,
            handed_over: Vec::new(),
            cut: Vec::new(),
            cut_at: None,
        }
    }

    /// The topic and the offset of a record, which are its own in the batch from now on.
    pub fn place(&mut self, index: usize, record: &Bound<PyAny>) -> PyResult<(usize, i64)> {
        let name = record.call_method0(pyo3::intern!(record.py(), "topic"))?;
        let name: &str = name.extract()?;
        let topic = self.topics.iter().position(|known| &**known == name);
        let topic = topic.ok_or_else(|| PyKeyError::new_err(name.to_owned()))?;
        self.topic_of[index] = topic as u8;
        Ok((topic, record.call_method0(pyo3::intern!(record.py(), "offset"))?.extract()?))
    }

    /// So many records from here on are the stages'.
    pub fn hand_over(&mut self, py: Python, count: usize) -> PyResult<()> {
        self.handed_over.clear();
        for index in self.at..(self.at + count).min(self.count) {
            let record = self.records.bind(py).get_item(index)?;
            let place = self.place(index, &record)?;
            self.handed_over.push(place);
        }
        self.handed_over.reverse();
        Ok(())
    }

    /// Goes on to right behind a record that the stages had.
    pub fn go_behind(&mut self, index: usize) {
        while self.at <= index
            && let Some((topic, offset)) = self.handed_over.pop()
        {
            self.offsets[topic] = offset + 1;
            self.at += 1;
        }
    }

    /// Behind all that the stages had.
    pub fn take_over(&mut self) {
        self.go_behind(self.count);
    }

    /// The next offsets as they are, behind the record at `index`.
    pub fn cut(&mut self, index: usize) -> &[u8] {
        if self.cut_at != Some(index) {
            self.cut_at = Some(index);
            self.cut.clear();
            if !self.topics.is_empty() {
                put_count(&mut self.cut, self.topics.len());
                for (topic, offset) in self.topics.iter().zip(&self.offsets) {
                    put_bytes(&mut self.cut, topic.as_bytes());
                    put_long(&mut self.cut, *offset);
                }
            }
            self.cut.push(0);
        }
        &self.cut
    }

    pub fn add_reward(
        &mut self,
        py: Python,
        key: &Py<PyAny>,
        reward: &TaughtReward,
        appended_ms: i64,
        window: &mut Vec<u8>,
    ) -> PyResult<()> {
        self.rewards.bind(py).append(output(py, key, Some(&reward.record))?)?;
        self.rewards_bps.push(reward.reward_bps);
        self.appended_ms.push(appended_ms);
        self.sources[reward.source.map_or(0, |source| source as usize)] += 1;
        self.clipped += usize::from(reward.is_clipped);
        if reward.source.is_some() {
            window.push(reward.is_clipped.into());
        }
        Ok(())
    }

    pub fn add_orphan(&mut self, py: Python, orphan: &Orphan) -> PyResult<()> {
        let key = orphan.key.as_ref().map(|key| PyBytes::new(py, key)).into_pyobject(py)?.into_any().unbind();
        self.dead_letters.bind(py).append(output(py, &key, Some(&orphan.record))?)?;
        self.orphans += 1;
        Ok(())
    }
}

/// A record as produce_batch takes it; without a value it is a tombstone.
pub fn output<'py>(py: Python<'py>, key: &Py<PyAny>, value: Option<&[u8]>) -> PyResult<Bound<'py, PyDict>> {
    let output = PyDict::new(py);
    output.set_item(pyo3::intern!(py, "key"), key)?;
    if let Some(value) = value {
        output.set_item(pyo3::intern!(py, "value"), PyBytes::new(py, value))?;
    }
    Ok(output)
}
