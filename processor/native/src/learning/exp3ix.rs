//! Exp3-IX and Exp3 with importance weighting: `learning/exp3ix.py`.

use super::summation::{larger, largest, smaller, smallest, summed};
use super::{Blend, Drawn, Learner, Parameters, Part, Reading, Source, Update, share_out};
use crate::avro::{Unusual, Usual};

pub fn rate(learner: &Learner, parameters: &Parameters, is_new: bool) -> f64 {
    if let Some(eta) = parameters.eta {
        return eta;
    }
    let count = learner.state.len() as f64;
    let rate = if parameters.is_observing {
        (count.ln() / (count + learner.sum)).sqrt()
    } else {
        let steps = learner.total_steps;
        let t = if is_new || parameters.is_implicit { steps + 1 } else { steps.max(1) };
        (count.ln() / count / t as f64).sqrt()
    };
    match parameters.eta_max {
        Some(most) if rate >= most => most,
        _ => rate,
    }
}

pub fn implicit(parameters: &Parameters, eta: f64) -> f64 {
    parameters.implicit.unwrap_or(eta / 2.0)
}

pub fn signal(learner: &Learner, parameters: &Parameters, reward_bps: f64) -> Usual<f64> {
    let reward = parameters.transformed(reward_bps);
    if !parameters.is_implicit {
        return Ok(reward);
    }
    let bound = learner.bound_bps.ok_or(Unusual)?;
    if -bound < reward && reward < bound {
        return Ok(-reward / (2.0 * bound));
    }
    Ok(if reward > 0.0 { -0.5 } else { 0.5 })
}

pub fn read(learner: &Learner, parameters: &Parameters) -> Reading {
    let eta = rate(learner, parameters, false);
    let relative = relative_weights(learner, parameters, eta);
    let total = summed(&relative);
    let weights: Vec<f64> = relative.iter().map(|weight| weight / total).collect();
    let probabilities = if parameters.gamma == 0.0 {
        weights.clone()
    } else {
        let (exploit, explore) = (1.0 - parameters.gamma, parameters.gamma / weights.len() as f64);
        weights.iter().map(|weight| exploit * weight + explore).collect()
    };
    Reading { weights, probabilities, eta }
}

fn relative_weights(learner: &Learner, parameters: &Parameters, eta: f64) -> Vec<f64> {
    let floored = |weight: f64| if weight > parameters.min_weight { weight } else { parameters.min_weight };
    if parameters.is_implicit {
        let least = smallest(&learner.state);
        return learner.state.iter().map(|loss| floored((eta * (least - loss)).exp())).collect();
    }
    let most = largest(&learner.state);
    learner.state.iter().map(|theta| floored((theta - most).exp())).collect()
}

fn settled(state: Vec<f64>, parameters: &Parameters) -> Vec<f64> {
    if parameters.is_implicit {
        return state;
    }
    let (most, floor) = (largest(&state), parameters.log_floor);
    state.iter().map(|theta| if theta - most > floor { theta - most } else { floor }).collect()
}

pub fn mixed(state: &[f64], parameters: &Parameters, eta: f64) -> Vec<f64> {
    let slope = if parameters.is_implicit { -eta } else { 1.0 };
    let best = if parameters.is_implicit { smallest(state) } else { largest(state) };
    let relative: Vec<f64> = state.iter().map(|each| (slope * (each - best)).exp()).collect();
    let total = summed(&relative);
    let shared = share_out(relative.iter().map(|each| each / total), parameters.fixed_share, state.len());
    settled(shared.iter().map(|each| each.ln() / slope).collect(), parameters)
}

pub fn learn(learner: &mut Learner, parameters: &Parameters, decision: &Drawn, part: Part) -> Usual<Update> {
    let Part { reward_bps, weight, is_new } = part;
    let arm = decision.arm;
    let (source, p) = match decision.propensity {
        None => (Source::Current, read(learner, parameters).probabilities[arm]),
        Some(p) if p > 0.0 && p <= 1.0 => (Source::Logged, p),
        Some(_) => return Err(Unusual),
    };
    let eta = rate(learner, parameters, is_new);
    let signal = signal(learner, parameters, reward_bps)?;
    let estimate = if parameters.is_implicit {
        let unrealised = if is_new { 0.5 } else { 0.0 };
        (weight * signal + unrealised) / (p + implicit(parameters, eta))
    } else {
        weight * signal / p
    };
    let earned = weight * reward_bps;
    if !decision.asleep.is_empty() || !parameters.is_implicit {
        let steps = [(arm, estimate, earned)];
        apply(learner, parameters, &steps, eta, is_new, &decision.asleep, p * estimate)?;
    } else {
        apply_one(learner, parameters, arm, estimate, earned, eta, is_new)?;
    }
    Ok(Update { arms: vec![arm], propensities: vec![p], estimates: vec![estimate], eta, source, terms: vec![] })
}

pub fn learn_blend(learner: &mut Learner, parameters: &Parameters, blend: &Blend, part: Part) -> Usual<Update> {
    let Part { reward_bps, weight, is_new } = part;
    let known = if parameters.is_undivided { vec![] } else { read(learner, parameters).probabilities };
    let eta = rate(learner, parameters, is_new);
    let added = if parameters.is_implicit { implicit(parameters, eta) } else { 0.0 };
    let (signal, counted) = (weight * signal(learner, parameters, reward_bps)?, weight * reward_bps);
    let mut propensities = Vec::with_capacity(blend.shares.len());
    let mut steps = Vec::with_capacity(blend.shares.len());
    for (arm, share) in &blend.shares {
        if parameters.is_undivided {
            steps.push((*arm, share * signal, share * counted));
        } else {
            let p = known[*arm];
            propensities.push(p);
            steps.push((*arm, share * signal / (p + added), share * counted));
        }
    }
    apply(learner, parameters, &steps, eta, is_new, &[], 0.0)?;
    Ok(Update {
        arms: steps.iter().map(|step| step.0).collect(),
        propensities,
        estimates: steps.iter().map(|step| step.1).collect(),
        eta,
        source: if parameters.is_undivided { Source::Unasked } else { Source::Current },
        terms: vec![],
    })
}

fn apply(
    learner: &mut Learner,
    parameters: &Parameters,
    steps: &[(usize, f64, f64)],
    eta: f64,
    is_new: bool,
    asleep: &[usize],
    played: f64,
) -> Usual<()> {
    let (mut state, limit) = (learner.state.clone(), -2.0 * parameters.log_floor);
    let within = |moved: f64| smaller(larger(moved, -limit), limit);
    for (arm, estimate, reward) in steps {
        state[*arm] += if parameters.is_implicit { *estimate } else { within(eta * estimate) };
        if !(estimate + state[*arm] + (learner.cumulative_rewards[*arm] + reward)).is_finite() {
            return Err(Unusual);
        }
    }
    for arm in asleep {
        state[*arm] += if parameters.is_implicit { played } else { within(eta * played) };
        if !state[*arm].is_finite() {
            return Err(Unusual);
        }
    }
    if !parameters.is_implicit {
        state = settled(state, parameters);
    }
    if is_new && parameters.fixed_share > 0.0 {
        state = mixed(&state, parameters, eta);
    }
    learner.state = state;
    for (arm, _, reward) in steps {
        learner.cumulative_rewards[*arm] += reward;
        if is_new {
            learner.pulls[*arm] += 1;
        }
    }
    if is_new {
        learner.total_steps += 1;
    }
    Ok(())
}

fn apply_one(
    learner: &mut Learner,
    parameters: &Parameters,
    arm: usize,
    estimate: f64,
    earned: f64,
    eta: f64,
    is_new: bool,
) -> Usual<()> {
    let moved = learner.state[arm] + estimate;
    let total = learner.cumulative_rewards[arm] + earned;
    if !(estimate + moved + total).is_finite() {
        return Err(Unusual);
    }
    learner.state[arm] = moved;
    if is_new {
        if parameters.fixed_share > 0.0 {
            learner.state = mixed(&learner.state, parameters, eta);
        }
        learner.pulls[arm] += 1;
        learner.total_steps += 1;
    }
    learner.cumulative_rewards[arm] = total;
    Ok(())
}
