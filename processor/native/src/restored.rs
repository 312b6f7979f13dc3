//! A bandit's record read back without an object of Python's.
//!
//! Law: what it takes it puts back as the Python stages would; of anything else it says that these must look at it.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::avro::{Reader, Unusual, Usual};
use crate::bandit::{Arms, Bandit, NEVER, Rules};
use crate::learning::Learner;

/// A bandit's record, as far as a learner of the core's needs it.
pub struct Restored<'a> {
    pub name: &'a str,
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
    command_ids: Vec<&'a str>,
    choices_version: i64,
    own_state: Vec<f64>,
    forgotten_until: i64,
}

impl<'a> Restored<'a> {
    pub fn read(snapshot: &'a [u8]) -> Usual<Self> {
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
        let command_ids = (0..ids.count).map_while(|_| ids_reader.text().ok()).collect();
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
    pub fn fits(&self, rules: &Rules) -> bool {
        let parameters = &rules.parameters;
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

    pub fn put_into(self, py: Python, bandit: &mut Bandit, rules: Arc<Rules>, shares_topic: bool) -> PyResult<()> {
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
        bandit.command_ids = Arc::new(PyTuple::new(py, &self.command_ids)?.unbind());
        bandit.cause_event_id = self.cause_event_id;
        bandit.ts_event = self.ts_event;
        bandit.choices_version = self.choices_version;
        bandit.rules = Some(rules);
        bandit.arms = Arc::new(self.arms);
        bandit.learner = Some(Arc::new(self.learner));
        Ok(())
    }
}
