//! The learners, number by number as `learning/` has them: what is summed in which order is said there.
//!
//! Law: a learner is changed wholly, or not at all where it answers Unusual; the Python learner then says what is wrong.

pub mod exp3ix;
pub mod observing;
pub mod summation;
pub mod tsallis;

use crate::avro::{Doubles, Unusual, Usual};

pub const MAX_REWARD_BPS: f64 = 1e12;
pub const MAX_WEIGHT: f64 = 1e6;
const WARM_UP_REWARDS: usize = 100;
const PERCENTILE: f64 = 0.95;
const LEAST_BOUND_BPS: f64 = 1e-6;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    None,
    Clip,
    Tanh,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    Drawn,
    Side,
    Both,
}

/// What a learner never changes, whichever its rule is.
pub struct Parameters {
    pub is_tsallis: bool,
    pub is_observing: bool,
    pub is_adaptive: bool,
    pub is_implicit: bool,
    pub gamma: f64,
    pub eta: Option<f64>,
    pub eta_max: Option<f64>,
    pub implicit: Option<f64>,
    pub fixed_share: f64,
    pub transform: Transform,
    pub transform_bps: f64,
    pub min_weight: f64,
    pub log_floor: f64,
    pub feedback: Feedback,
    pub is_undivided: bool,
    pub reveals_by_horizon: bool,
}

impl Parameters {
    pub fn reads_distribution(&self) -> bool {
        self.is_tsallis || self.is_observing
    }

    /// Whether a learner's numbers come back as they were written; log weights are settled once more.
    pub fn restores_as_it_is(&self) -> bool {
        self.is_tsallis || self.is_implicit
    }

    pub fn transformed(&self, reward_bps: f64) -> f64 {
        let scale = self.transform_bps;
        match self.transform {
            Transform::None => reward_bps,
            Transform::Clip => summation::smaller(summation::larger(reward_bps, -scale), scale),
            Transform::Tanh => (reward_bps / scale).tanh() * scale,
        }
    }
}

/// Of all learners the numbers, in the order of their arms.
#[derive(Clone, Default)]
pub struct Learner {
    pub state: Vec<f64>,
    pub pulls: Vec<i64>,
    pub cumulative_rewards: Vec<f64>,
    pub total_steps: i64,
    pub bound_bps: Option<f64>,
    pub warm_up_rewards_bps: Vec<f64>,
    pub sum: f64,
}

/// A decision over the arms of now, in which one was drawn.
pub struct Drawn<'a> {
    pub arm: usize,
    pub propensity: Option<f64>,
    pub probabilities: Doubles<'a>,
    pub eta: Option<f64>,
    pub is_whole: bool,
    pub asleep: Vec<usize>,
    pub observing: Vec<f64>,
    pub terms: Vec<f64>,
}

pub struct Blend {
    pub shares: Vec<(usize, f64)>,
    pub terms: Vec<f64>,
}

#[derive(Clone, Copy)]
pub struct Observed {
    pub arm: usize,
    pub reward_bps: f64,
    pub probability: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Logged = 1,
    Current = 2,
    Unasked = 3,
}

/// What one reward did: the arms seen, p of each (none where nothing was divided), the estimate of each, the rate.
pub struct Update {
    pub arms: Vec<usize>,
    pub propensities: Vec<f64>,
    pub estimates: Vec<f64>,
    pub eta: f64,
    pub source: Source,
    pub terms: Vec<f64>,
}

pub struct Reading {
    pub weights: Vec<f64>,
    pub probabilities: Vec<f64>,
    pub eta: f64,
}

/// A part of a decision: its reward, how much of the decision it is, and whether it is the first that counts.
#[derive(Clone, Copy)]
pub struct Part {
    pub reward_bps: f64,
    pub weight: f64,
    pub is_new: bool,
}

impl Part {
    fn check(&self) -> Usual<()> {
        let is_legal = (-MAX_REWARD_BPS..=MAX_REWARD_BPS).contains(&self.reward_bps)
            && (0.0..=MAX_WEIGHT).contains(&self.weight);
        if is_legal { Ok(()) } else { Err(Unusual) }
    }
}

impl Learner {
    pub fn is_warming(&self, parameters: &Parameters) -> bool {
        (parameters.is_tsallis || parameters.is_implicit) && self.bound_bps.is_none()
    }

    pub fn is_clipped(&self, parameters: &Parameters, reward_bps: f64) -> bool {
        let is_beyond = |reward: f64| self.bound_bps.is_some_and(|bound| reward.abs() > bound);
        if parameters.is_tsallis {
            return is_beyond(reward_bps);
        }
        let transformed = parameters.transformed(reward_bps);
        (parameters.transform == Transform::Clip && transformed != reward_bps)
            || (parameters.is_implicit && is_beyond(transformed))
    }

    pub fn read(&self, parameters: &Parameters) -> Reading {
        if parameters.is_tsallis { tsallis::read(self, parameters) } else { exp3ix::read(self, parameters) }
    }

    pub fn learn(
        &mut self,
        parameters: &Parameters,
        decision: &Drawn,
        part: Part,
        observed: &[Observed],
    ) -> Usual<Update> {
        part.check()?;
        if parameters.is_observing {
            return observing::learn(self, parameters, decision, part, observed);
        }
        if !observed.is_empty() || self.is_warming(parameters) {
            return Err(Unusual);
        }
        if parameters.is_tsallis {
            tsallis::learn(self, parameters, decision, part)
        } else {
            exp3ix::learn(self, parameters, decision, part)
        }
    }

    pub fn learn_blend(
        &mut self,
        parameters: &Parameters,
        blend: &Blend,
        part: Part,
        observed: &[Observed],
    ) -> Usual<Update> {
        part.check()?;
        if blend.shares.is_empty() || self.is_warming(parameters) {
            return Err(Unusual);
        }
        if parameters.is_observing {
            return observing::learn_blend(self, parameters, blend, part, observed);
        }
        if parameters.is_tsallis {
            tsallis::learn_blend(self, parameters, blend, part)
        } else {
            exp3ix::learn_blend(self, parameters, blend, part)
        }
    }

    /// A reward that goes into finding the bound, and into nothing else.
    pub fn warm_up(&mut self, parameters: &Parameters, reward_bps: f64) {
        if self.bound_bps.is_some() {
            return;
        }
        let seen = if parameters.is_tsallis { reward_bps } else { parameters.transformed(reward_bps) };
        self.warm_up_rewards_bps.push(seen);
        if self.warm_up_rewards_bps.len() > WARM_UP_REWARDS {
            self.warm_up_rewards_bps.remove(0);
        }
        if self.warm_up_rewards_bps.len() == WARM_UP_REWARDS {
            let bound = percentile(&self.warm_up_rewards_bps);
            if bound >= LEAST_BOUND_BPS {
                self.bound_bps = Some(bound);
                self.warm_up_rewards_bps.clear();
            }
        }
    }

    fn add_to_sum(&mut self, amount: f64) {
        self.sum = summation::larger(self.sum + amount, 0.0);
    }
}

fn percentile(rewards_bps: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = rewards_bps.iter().map(|reward| reward.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let position = PERCENTILE * (sizes.len() - 1) as f64;
    let below = position as usize;
    sizes[below] + (position - below as f64) * (sizes[below + 1] - sizes[below])
}

/// A part of each weight, and that part of the mean.
fn share_out(weights: impl Iterator<Item = f64>, alpha: f64, count: usize) -> Vec<f64> {
    weights.map(|weight| (1.0 - alpha) * weight + alpha / count as f64).collect()
}
