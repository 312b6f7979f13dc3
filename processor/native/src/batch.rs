//! One batch on its way through the core: where it is, and what it gives to publish and to count.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::avro::{put_bytes, put_count, put_long};
use crate::bandit::TaughtReward;

pub const APPLIED: u8 = 0;
pub const DUPLICATE: u8 = 1;

pub struct Batch {
    pub records: Py<PyList>,
    pub count: usize,
    pub at: usize,
    pub topics: Vec<Box<str>>,
    pub offsets: Vec<i64>,
    pub reached: Vec<Option<(usize, i64)>>,
    pub outcomes: Vec<u8>,
    pub topic_of: Vec<u8>,
    pub rewards: Py<PyList>,
    pub rewards_bps: Vec<f64>,
    pub appended_ms: Vec<i64>,
    pub sources: [usize; 4],
    pub clipped: usize,
    pub hands_over: bool,
    cut: Vec<u8>,
    cut_at: Option<usize>,
}

impl Batch {
    pub fn new(py: Python, records: &Bound<PyList>, topics: Vec<Box<str>>, offsets: Vec<i64>) -> Self {
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
            hands_over: false,
            cut: Vec::new(),
            cut_at: None,
        }
    }

    /// The next offsets as they are behind the record at `at`.
    pub fn cut(&mut self) -> &[u8] {
        if self.cut_at != Some(self.at) {
            self.cut_at = Some(self.at);
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
}

/// A record as produce_batch takes it; without a value it is a tombstone.
pub fn output<'py>(py: Python<'py>, key: &Py<PyAny>, value: Option<&[u8]>) -> PyResult<Bound<'py, PyDict>> {
    let output = PyDict::new(py);
    output.set_item(pyo3::intern!(py, "key"), key)?;
    if let Some(value) = value {
        output.set_item(pyo3::intern!(py, "value"), pyo3::types::PyBytes::new(py, value))?;
    }
    Ok(output)
}
