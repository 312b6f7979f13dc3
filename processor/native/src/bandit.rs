//! One bandit, and the records that are made of it: `stages/bandit.py` and the writers of `wire.py`.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::avro::{
    Unusual, Usual, put_bytes, put_count, put_double, put_doubles, put_items, put_long, put_optional_double,
    put_optional_long,
};
use crate::decision::{Terms, blend_of, drawn, grown, revealed, revealed_by_blend};
use crate::learning::{Learner, Parameters, Part, Source, Update};
use crate::matching::Segment;
use crate::position::Decision;
use crate::state::text_of;

pub const NEVER: i64 = i64::MIN;
pub const NEVER_YET: i64 = i64::MAX;

pub const WARMING_UP: &str = "the reward bound is not found yet";

/// What a learner of the core's was made under, and what is published beside it. Python is given `made_under`.
pub struct Rules {
    pub made_under: Py<PyAny>,
    pub algorithm: Box<[u8]>,
    pub estimator: Box<[u8]>,
    pub settings_json: Box<[u8]>,
    pub blend_alpha: f64,
    pub warm_start_steps: i64,
    pub ramp_steps: i64,
    pub parameters: Parameters,
}

#[derive(Default)]
pub struct Arms {
    pub names: Vec<Box<str>>,
    pub added_versions: Vec<i64>,
}

impl Arms {
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| &**known == name)
    }
}

/// A bandit as the core has it, or as the object that the stages left, which it stays until the core needs it.
pub enum Form {
    Core(Bandit),
    Python(Py<PyAny>),
}

impl Form {
    pub fn core(&self) -> Option<&Bandit> {
        match self {
            Form::Core(bandit) => Some(bandit),
            Form::Python(_) => None,
        }
    }
}

#[derive(Clone)]
pub struct Bandit {
    pub version: i64,
    pub fill_watermark: i64,
    pub close_watermark: i64,
    pub floor: i64,
    pub paused: bool,
    pub command_ids: Arc<Py<PyTuple>>, // of Python's strings, which only commands read
    pub cause_event_id: Box<[u8]>,
    pub ts_event: i64,
    pub forgotten_until: i64,
    pub finished_count: i64,
    pub held_until: i64,
    pub choices_version: i64,
    pub rules: Option<Arc<Rules>>,
    pub arms: Arc<Arms>,
    pub learner: Option<Arc<Learner>>,
}

impl Bandit {
    pub fn new(py: Python) -> Self {
        Self {
            version: 0,
            fill_watermark: NEVER,
            close_watermark: NEVER,
            floor: NEVER,
            paused: false,
            command_ids: Arc::new(PyTuple::empty(py).unbind()),
            cause_event_id: Box::default(),
            ts_event: 0,
            forgotten_until: NEVER,
            finished_count: 0,
            held_until: NEVER_YET,
            choices_version: 1,
            rules: None,
            arms: Arc::default(),
            learner: None,
        }
    }

    pub fn set_floor(&mut self) {
        let (fills, closes) = (self.fill_watermark, self.close_watermark);
        self.floor = if fills == NEVER || closes < fills { closes } else { fills };
    }

    /// Whether the decision was made from a vector before the arms last changed.
    pub fn is_older(&self, weights_version: Option<i64>) -> bool {
        weights_version.is_some_and(|version| version < self.choices_version)
    }

    pub fn native(&self) -> Option<(&Arc<Rules>, &Parameters, &Arc<Learner>)> {
        let rules = self.rules.as_ref()?;
        Some((rules, &rules.parameters, self.learner.as_ref()?))
    }
}

/// Why nothing is learned of a decision; None where it is, Unusual where the words are Python's.
pub fn why_withheld(bandit: &Bandit, enabled: bool, decision: &Decision) -> Usual<Option<&'static str>> {
    let (_, parameters, learner) = bandit.native().ok_or(Unusual)?;
    let choice = &decision.choice;
    let is_known = match choice.arm {
        Some(arm) => bandit.arms.index_of(arm).is_some(),
        None => choice.contributions.iter().all(|(name, share)| share == 0.0 || bandit.arms.index_of(name).is_some()),
    };
    if !is_known {
        return Err(Unusual); // an arm that was removed is told of in Python's words
    }
    if !enabled {
        return Ok(Some("learning is disabled"));
    }
    if bandit.paused {
        return Ok(Some("the bandit is paused"));
    }
    if parameters.is_tsallis && choice.arm.is_some() && is_unlogged(choice.propensity) {
        return Ok(Some("no propensity was logged with the draw"));
    }
    Ok(if learner.is_warming(parameters) { Some(WARMING_UP) } else { None })
}

/// Whether a rule that guesses no propensity cannot take this draw.
pub fn is_unlogged(propensity: Option<f64>) -> bool {
    propensity.is_none_or(|propensity| propensity < 1e-80)
}

/// What one event taught.
pub struct Taught {
    pub rewards: Vec<TaughtReward>,
    pub terms: Option<Terms>,
    pub learner: Learner,
    pub version: i64,
}

pub struct TaughtReward {
    pub record: Vec<u8>,
    pub reward_bps: f64,
    pub source: Option<Source>,
    pub is_clipped: bool,
}

/// What a position gives to its segments' records.
pub struct Of<'a> {
    pub bandit_id: &'a [u8],
    pub position_id: &'a [u8],
    pub side: u8,
    pub counted: bool,
    pub header: &'a [u8],
    pub cut: &'a [u8],
}

/// Teaches a copy of the learner the segments of one event, in turn.
pub fn teach(
    bandit: &Bandit,
    decision: &Decision,
    segments: &[Segment],
    withheld: Option<&'static str>,
    of: &Of,
) -> Usual<Taught> {
    let (_, parameters, learner) = bandit.native().ok_or(Unusual)?;
    let mut learner = Learner::clone(learner);
    let (mut counted, mut version) = (of.counted, bandit.version);
    let mut terms: Terms = decision.terms.iter().map(|(name, term)| (name.into(), term)).collect();
    let (mut has_grown, mut rewards) = (false, Vec::with_capacity(segments.len()));
    for segment in segments {
        version += 1;
        let written_off = segment.is_written_off.then(|| written_off_by(segment.close_event_id));
        if let Some(why) = written_off.as_deref().or(withheld) {
            if why == WARMING_UP && learner.is_warming(parameters) {
                learner.warm_up(parameters, segment.reward_bps);
            }
            let arms = named_arms(bandit, decision);
            let written = Record { version, segment, applied: false, counted: false, update: None, detail: why };
            let record = written.bytes(of, bandit, &learner, &arms);
            rewards.push(TaughtReward { record, reward_bps: segment.reward_bps, source: None, is_clipped: false });
            continue;
        }
        let part = Part { reward_bps: segment.reward_bps, weight: segment.weight, is_new: !counted };
        let update = learn_one(bandit, parameters, &mut learner, decision, segment, part, &terms, of.side)?;
        if !update.terms.is_empty() {
            terms = grown(&bandit.arms, &terms, &update.terms);
            has_grown = true;
        }
        let arms = seen_arms(bandit, decision, &update);
        let (source, is_new) = (Some(update.source), !counted);
        let written =
            Record { version, segment, applied: true, counted: is_new, update: Some(&update), detail: "" };
        let record = written.bytes(of, bandit, &learner, &arms);
        counted = true;
        let is_clipped = learner.is_clipped(parameters, segment.reward_bps);
        rewards.push(TaughtReward { record, reward_bps: segment.reward_bps, source, is_clipped });
    }
    Ok(Taught { rewards, terms: has_grown.then_some(terms), learner, version })
}

fn written_off_by(close_event_id: &[u8]) -> String {
    format!("written off: close '{}' was final", text_of(close_event_id))
}

#[allow(clippy::too_many_arguments)] // they are what the two functions of stages/bandit.py take
fn learn_one(
    bandit: &Bandit,
    parameters: &Parameters,
    learner: &mut Learner,
    decision: &Decision,
    segment: &Segment,
    part: Part,
    terms: &Terms,
    side: u8,
) -> Usual<Update> {
    let Some(arm_name) = decision.choice.arm else {
        let blend = blend_of(bandit, decision, terms).ok_or(Unusual)?;
        let observed = revealed_by_blend(bandit, parameters, decision, side, segment);
        return learner.learn_blend(parameters, &blend, part, &observed);
    };
    let arm = bandit.arms.index_of(arm_name).ok_or(Unusual)?;
    let mut draw = drawn(bandit, decision, arm, terms, parameters.reads_distribution());
    let observed = revealed(bandit, parameters, decision, &mut draw, side, segment);
    learner.learn(parameters, &draw, part, &observed)
}

struct RewardArm {
    arm: usize,
    share: f64,
    propensity: Option<f64>,
    estimate: Option<f64>,
}

/// The arms of a decision that taught nothing.
fn named_arms(bandit: &Bandit, decision: &Decision) -> Vec<RewardArm> {
    let share_of = |arm: usize| share_of(bandit, decision, arm);
    (0..bandit.arms.names.len())
        .map(|arm| RewardArm { arm, share: share_of(arm), propensity: None, estimate: None })
        .filter(|arm| arm.share != 0.0)
        .collect()
}

fn share_of(bandit: &Bandit, decision: &Decision, arm: usize) -> f64 {
    let name = &*bandit.arms.names[arm];
    match decision.choice.arm {
        Some(drawn) => f64::from(drawn == name),
        None => decision.choice.contributions.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, share)| share),
    }
}

/// The drawn arm, and what else was seen, which has no share; or each arm of a blend.
fn seen_arms(bandit: &Bandit, decision: &Decision, update: &Update) -> Vec<RewardArm> {
    let mut arms: Vec<RewardArm> = update
        .arms
        .iter()
        .enumerate()
        .map(|(index, arm)| RewardArm {
            arm: *arm,
            share: share_of(bandit, decision, *arm),
            propensity: update.propensities.get(index).copied(),
            estimate: Some(update.estimates[index]),
        })
        .collect();
    arms.sort_by_key(|each| each.arm);
    arms
}

struct Record<'a> {
    version: i64,
    segment: &'a Segment<'a>,
    applied: bool,
    counted: bool,
    update: Option<&'a Update>,
    detail: &'a str,
}

impl Record<'_> {
    fn bytes(&self, of: &Of, bandit: &Bandit, learner: &Learner, arms: &[RewardArm]) -> Vec<u8> {
        let segment = self.segment;
        let mut written = Vec::with_capacity(192 + of.cut.len());
        written.extend_from_slice(of.header);
        put_bytes(&mut written, of.bandit_id);
        put_long(&mut written, self.version);
        put_bytes(&mut written, of.position_id);
        put_bytes(&mut written, segment.fill_event_id);
        put_bytes(&mut written, segment.close_event_id);
        for number in [segment.quantity, segment.reward_bps, segment.weight] {
            put_double(&mut written, number);
        }
        written.extend([u8::from(self.applied), u8::from(self.counted)]);
        put_long(&mut written, learner.total_steps);
        if !arms.is_empty() {
            put_count(&mut written, arms.len());
            for each in arms {
                put_bytes(&mut written, bandit.arms.names[each.arm].as_bytes());
                put_double(&mut written, each.share);
                put_optional_double(&mut written, each.propensity);
                put_optional_double(&mut written, each.estimate);
            }
        }
        written.push(0);
        match self.update {
            None => written.push(0),
            Some(update) => written.extend([2u8, (update.source as u8) << 1]),
        }
        put_optional_double(&mut written, self.update.map(|update| update.eta));
        put_long(&mut written, segment.ts_event);
        put_bytes(&mut written, self.detail.as_bytes());
        written.extend_from_slice(of.cut);
        written
    }
}

/// What engines follow, as of now, of a learner that the core has.
pub fn weight_vector(bandit_id: &[u8], bandit: &Bandit, header: &[u8]) -> Usual<Vec<u8>> {
    let (rules, parameters, learner) = bandit.native().ok_or(Unusual)?;
    let reading = learner.read(parameters);
    let total_steps = learner.total_steps;
    let is_warming = learner.is_warming(parameters) || total_steps < rules.warm_start_steps;
    let mut written = Vec::with_capacity(128 + 40 * bandit.arms.names.len());
    written.extend_from_slice(header);
    put_bytes(&mut written, bandit_id);
    put_long(&mut written, bandit.version);
    put_bytes(&mut written, &rules.algorithm);
    put_bytes(&mut written, &rules.estimator);
    put_count(&mut written, bandit.arms.names.len());
    for (arm, name) in bandit.arms.names.iter().enumerate() {
        put_bytes(&mut written, name.as_bytes());
        put_double(&mut written, reading.weights[arm]);
        put_double(&mut written, reading.probabilities[arm]);
    }
    written.push(0);
    let gamma = if parameters.is_tsallis { 0.0 } else { parameters.gamma };
    for number in [gamma, reading.eta, learner.bound_bps.unwrap_or(0.0)] {
        put_double(&mut written, number);
    }
    put_long(&mut written, total_steps);
    written.push(if is_warming { 2 } else { 4 });
    put_double(&mut written, if is_warming { 0.0 } else { effective_alpha(rules, total_steps) });
    put_bytes(&mut written, &bandit.cause_event_id);
    put_long(&mut written, bandit.ts_event);
    written.push(0);
    Ok(written)
}

fn effective_alpha(rules: &Rules, total_steps: i64) -> f64 {
    let steps = total_steps - rules.warm_start_steps;
    if steps < 0 {
        return 0.0;
    }
    if steps >= rules.ramp_steps {
        return rules.blend_alpha;
    }
    rules.blend_alpha * steps as f64 / rules.ramp_steps as f64
}

/// All that a bandit needs to go on bit for bit, of a learner that the core has.
pub fn bandit_snapshot(py: Python, bandit_id: &[u8], bandit: &Bandit, header: &[u8]) -> Usual<Vec<u8>> {
    let (rules, parameters, learner) = bandit.native().ok_or(Unusual)?;
    let some = |time: i64| (time != NEVER).then_some(time);
    let mut written = Vec::with_capacity(192 + rules.settings_json.len() + 48 * bandit.arms.names.len());
    written.extend_from_slice(header);
    put_bytes(&mut written, bandit_id);
    put_long(&mut written, bandit.version);
    put_long(&mut written, learner.total_steps);
    put_count(&mut written, bandit.arms.names.len());
    for (arm, name) in bandit.arms.names.iter().enumerate() {
        put_bytes(&mut written, name.as_bytes());
        put_doubles(&mut written, &[learner.state[arm]]);
        put_long(&mut written, learner.pulls[arm]);
        put_double(&mut written, learner.cumulative_rewards[arm]);
        put_long(&mut written, bandit.arms.added_versions[arm]);
    }
    written.push(0);
    for text in [&rules.algorithm, &rules.estimator, &rules.settings_json] {
        put_bytes(&mut written, text);
    }
    put_optional_long(&mut written, some(bandit.fill_watermark));
    put_optional_long(&mut written, some(bandit.close_watermark));
    written.push(bandit.paused.into());
    put_bytes(&mut written, &bandit.cause_event_id);
    put_long(&mut written, bandit.ts_event);
    let mut ids = Vec::new();
    let command_ids = bandit.command_ids.bind(py);
    for id in command_ids.iter() {
        let id = id.cast::<PyString>().map_err(|_| Unusual)?;
        put_bytes(&mut ids, id.to_str().map_err(|_| Unusual)?.as_bytes());
    }
    put_items(&mut written, &ids, command_ids.len());
    written.push(0);
    put_long(&mut written, bandit.choices_version);
    put_optional_double(&mut written, learner.bound_bps);
    put_doubles(&mut written, &learner.warm_up_rewards_bps);
    let keeps_sum = parameters.is_observing && (parameters.is_adaptive || !parameters.is_tsallis);
    put_doubles(&mut written, if keeps_sum { std::slice::from_ref(&learner.sum) } else { &[] });
    put_optional_long(&mut written, some(bandit.forgotten_until));
    put_long(&mut written, 1);
    Ok(written)
}
