//! Tsallis-INF: `learning/tsallis.py`.

use super::summation::{fsum, larger, smaller, smallest};
use super::{Blend, Drawn, Learner, Parameters, Part, Reading, Source, Update, share_out};
use crate::avro::{Unusual, Usual};

const MAX_LOSS: f64 = 1e100;
const MAX_NEWTON_STEPS: usize = 100;

pub fn rate(learner: &Learner, parameters: &Parameters) -> f64 {
    if parameters.is_adaptive {
        let root = (learner.state.len() as f64).sqrt();
        return root.sqrt() / (learner.sum + root / 4.0).sqrt();
    }
    parameters.eta.unwrap_or_else(|| 4.0 / ((learner.total_steps + 1) as f64).sqrt())
}

pub fn read(learner: &Learner, parameters: &Parameters) -> Reading {
    let eta = rate(learner, parameters);
    let weights = probabilities(&learner.state, eta);
    Reading { probabilities: weights.clone(), weights, eta }
}

pub fn signal(learner: &Learner, reward_bps: f64) -> Usual<f64> {
    let bound = learner.bound_bps.ok_or(Unusual)?;
    Ok(-smaller(larger(reward_bps, -bound), bound) / (2.0 * bound))
}

pub fn learn(learner: &mut Learner, parameters: &Parameters, decision: &Drawn, part: Part) -> Usual<Update> {
    let Part { reward_bps, weight, is_new } = part;
    let (arm, count) = (decision.arm, learner.state.len());
    let (p, baselines, eta) = if decision.is_whole {
        let rate = decision.eta.ok_or(Unusual)?;
        let least = rate * rate;
        let baselines = decision.probabilities.iter().map(|each| if each >= least { 0.5 } else { 0.0 }).collect();
        (decision.probabilities.get(arm), baselines, rate)
    } else {
        let p = decision.propensity.ok_or(Unusual)?;
        let rate = rate(learner, parameters);
        (p, vec![0.0; count], if parameters.eta.is_none() { rate / 2.0 } else { rate })
    };
    if !(p > 0.0 && p <= 1.0) {
        return Err(Unusual);
    }
    let own: f64 = if is_new { baselines[arm] } else { 0.0 };
    let unrealised = if is_new { 0.5 - baselines[arm] } else { 0.0 };
    let estimate = (weight * signal(learner, reward_bps)? + unrealised) / p + own;
    let mut moves = if is_new { baselines } else { vec![0.0; count] };
    moves[arm] = estimate;
    if decision.is_whole {
        let probabilities = decision.probabilities;
        if probabilities.iter().any(|each| each == 0.0) {
            let played = fsum(probabilities.iter().zip(&moves).map(|(each, moved)| each * moved));
            for (sleeper, each) in probabilities.iter().enumerate() {
                if each == 0.0 {
                    moves[sleeper] = played;
                }
            }
        }
    } else {
        for sleeper in &decision.asleep {
            moves[*sleeper] = p * estimate;
        }
    }
    apply(learner, parameters, &moves, &[(arm, weight * reward_bps)], is_new)?;
    Ok(Update {
        arms: vec![arm],
        propensities: vec![p],
        estimates: vec![estimate],
        eta,
        source: Source::Logged,
        terms: vec![],
    })
}

pub fn learn_blend(learner: &mut Learner, parameters: &Parameters, blend: &Blend, part: Part) -> Usual<Update> {
    let Part { reward_bps, weight, is_new } = part;
    if !parameters.is_undivided {
        return Err(Unusual);
    }
    let eta = rate(learner, parameters);
    let signal = weight * signal(learner, reward_bps)?;
    let mut moves = vec![0.0; learner.state.len()];
    let mut estimates = Vec::with_capacity(blend.shares.len());
    for (arm, share) in &blend.shares {
        let estimate = share * signal / 1.0;
        moves[*arm] = estimate;
        estimates.push(estimate);
    }
    let earned: Vec<(usize, f64)> =
        blend.shares.iter().map(|(arm, share)| (*arm, share * weight * reward_bps)).collect();
    apply(learner, parameters, &moves, &earned, is_new)?;
    let arms = blend.shares.iter().map(|(arm, _)| *arm).collect();
    Ok(Update { arms, propensities: vec![], estimates, eta, source: Source::Unasked, terms: vec![] })
}

fn apply(
    learner: &mut Learner,
    parameters: &Parameters,
    moves: &[f64],
    earned: &[(usize, f64)],
    is_new: bool,
) -> Usual<()> {
    let mut losses: Vec<f64> = learner.state.iter().zip(moves).map(|(loss, moved)| loss + moved).collect();
    refuse_too_large(&losses)?;
    if is_new && parameters.fixed_share > 0.0 {
        losses = mixed(learner, parameters, &losses);
        refuse_too_large(&losses)?;
    }
    let mut rewards = learner.cumulative_rewards.clone();
    for (arm, reward) in earned {
        rewards[*arm] += reward;
    }
    if !rewards.iter().all(|reward| reward.is_finite()) {
        return Err(Unusual);
    }
    learner.state = losses;
    learner.cumulative_rewards = rewards;
    if is_new {
        for (arm, _) in earned {
            learner.pulls[*arm] += 1;
        }
        learner.total_steps += 1;
    }
    Ok(())
}

pub fn mixed(learner: &Learner, parameters: &Parameters, losses: &[f64]) -> Vec<f64> {
    let eta = rate(learner, parameters);
    share_out(probabilities(losses, eta).into_iter(), parameters.fixed_share, losses.len())
        .iter()
        .map(|p| 2.0 / (eta * p.sqrt()))
        .collect()
}

pub fn refuse_too_large(losses: &[f64]) -> Usual<()> {
    if losses.iter().all(|loss| (-MAX_LOSS..=MAX_LOSS).contains(loss)) { Ok(()) } else { Err(Unusual) }
}

fn probabilities(losses: &[f64], eta: f64) -> Vec<f64> {
    let (least, half_rate) = (smallest(losses), eta / 2.0);
    let distances: Vec<f64> = losses.iter().map(|loss| half_rate * (loss - least)).collect();
    let root = root(&distances);
    let relative: Vec<f64> =
        distances.iter().map(|distance| 1.0 / ((distance + root) * (distance + root))).collect();
    let total = fsum(relative.iter().copied());
    relative.iter().map(|each| each / total).collect()
}

fn root(distances: &[f64]) -> f64 {
    let mut root = 1.0;
    for _ in 0..MAX_NEWTON_STEPS {
        let (mut total, mut cubes) = (0.0, 0.0);
        for distance in distances {
            let inverse = 1.0 / (distance + root);
            let square = inverse * inverse;
            total += square;
            cubes += square * inverse;
        }
        let following = root + (total - 1.0) / (2.0 * cubes);
        if following <= root {
            break;
        }
        root = following;
    }
    root
}
