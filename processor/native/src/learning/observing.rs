//! Learners over all that a draw reveals, and Tsallis-INF's adaptive rate: `learning/observing.py`.

use super::summation::{fsum, largest, smaller};
use super::{Blend, Drawn, Learner, Observed, Parameters, Part, Source, Update, exp3ix, tsallis};
use crate::avro::{Unusual, Usual};

const MOST_OF_ONE_DECISION: f64 = 4.0;

fn rate(learner: &Learner, parameters: &Parameters) -> f64 {
    if parameters.is_tsallis { tsallis::rate(learner, parameters) } else { exp3ix::rate(learner, parameters, false) }
}

fn signal(learner: &Learner, parameters: &Parameters, reward_bps: f64) -> Usual<f64> {
    if parameters.is_tsallis {
        tsallis::signal(learner, reward_bps)
    } else {
        exp3ix::signal(learner, parameters, reward_bps)
    }
}

fn below(parameters: &Parameters, probability: f64, eta: f64) -> f64 {
    if parameters.is_tsallis { probability } else { probability + exp3ix::implicit(parameters, eta) }
}

pub fn learn(
    learner: &mut Learner,
    parameters: &Parameters,
    decision: &Drawn,
    part: Part,
    observed: &[Observed],
) -> Usual<Update> {
    let Part { reward_bps, weight, is_new } = part;
    let eta = rate(learner, parameters);
    if learner.is_warming(parameters) {
        return Err(Unusual);
    }
    let (source, seen) = seen_of(learner, parameters, decision, reward_bps, observed)?;
    let mut moved = Vec::with_capacity(seen.len());
    for each in &seen {
        let signal = signal(learner, parameters, each.reward_bps)?;
        moved.push((each.arm, weight * signal / below(parameters, each.probability, eta)));
    }
    let count = learner.state.len();
    let parts = spread(decision, &seen, &moved, count);
    let mut moves = parts.clone();
    if is_new {
        for (each, own) in moves.iter_mut().zip(beginning(parameters, decision, &seen, eta, count)) {
            *each += own;
        }
    }
    apply_moves(learner, parameters, &moves, &[(decision.arm, weight * reward_bps)], eta, is_new)?;
    note(learner, parameters, decision, &seen, &parts, eta, is_new)?;
    let arms: Vec<usize> = seen.iter().map(|each| each.arm).collect();
    let estimates = arms.iter().map(|arm| moves[*arm]).collect();
    let terms = grown(parameters, &parts, &arms);
    Ok(Update { propensities: seen.iter().map(|each| each.probability).collect(), arms, estimates, eta, source, terms })
}

pub fn learn_blend(
    learner: &mut Learner,
    parameters: &Parameters,
    blend: &Blend,
    part: Part,
    observed: &[Observed],
) -> Usual<Update> {
    let Part { reward_bps, weight, is_new } = part;
    if !parameters.is_undivided {
        return Err(Unusual);
    }
    let eta = rate(learner, parameters);
    let parts = blend_parts(learner, parameters, blend, reward_bps, weight, eta, observed)?;
    let earned: Vec<(usize, f64)> =
        blend.shares.iter().map(|(arm, share)| (*arm, share * weight * reward_bps)).collect();
    apply_moves(learner, parameters, &parts, &earned, eta, is_new)?;
    let mut arms: Vec<usize> = observed.iter().map(|each| each.arm).collect();
    if arms.is_empty() {
        arms = blend.shares.iter().map(|(arm, _)| *arm).collect();
        arms.sort_unstable();
    }
    let terms = grown(parameters, &parts, &arms);
    if parameters.is_adaptive {
        let before = if blend.terms.is_empty() { vec![0.0; terms.len()] } else { blend.terms.clone() };
        let after: Vec<f64> = before.iter().zip(&terms).map(|(term, more)| term + more).collect();
        learner.add_to_sum(of_blend(&after) - of_blend(&before));
    } else if !parameters.is_tsallis && is_new {
        learner.add_to_sum(1.0 / below(parameters, 1.0, eta));
    }
    let estimates = arms.iter().map(|arm| parts[*arm]).collect();
    Ok(Update { arms, propensities: vec![], estimates, eta, source: Source::Unasked, terms })
}

fn seen_of(
    learner: &Learner,
    parameters: &Parameters,
    decision: &Drawn,
    reward_bps: f64,
    observed: &[Observed],
) -> Usual<(Source, Vec<Observed>)> {
    let is_legal = |probability: f64| probability > 0.0 && probability <= 1.0;
    if !observed.is_empty() {
        if !observed.iter().all(|each| is_legal(each.probability)) {
            return Err(Unusual);
        }
        return Ok((Source::Logged, observed.to_vec()));
    }
    let arm = decision.arm;
    match decision.propensity {
        None => {
            let probability = learner.read(parameters).probabilities[arm];
            Ok((Source::Current, vec![Observed { arm, reward_bps, probability }]))
        }
        Some(probability) if is_legal(probability) => {
            Ok((Source::Logged, vec![Observed { arm, reward_bps, probability }]))
        }
        Some(_) => Err(Unusual),
    }
}

/// p of an arm, 0 where it is not known.
fn chance(decision: &Drawn, seen: &[Observed], arm: usize) -> f64 {
    if decision.is_whole {
        return decision.probabilities.get(arm);
    }
    seen.iter().find(|each| each.arm == arm).map_or(0.0, |each| each.probability)
}

fn spread(decision: &Drawn, seen: &[Observed], moved: &[(usize, f64)], count: usize) -> Vec<f64> {
    let mut moves = vec![0.0; count];
    for (arm, each) in moved {
        moves[*arm] = *each;
    }
    if !decision.asleep.is_empty() {
        let played = fsum(moved.iter().map(|(arm, each)| chance(decision, seen, *arm) * each));
        for arm in &decision.asleep {
            moves[*arm] = played;
        }
    }
    moves
}

fn beginning(parameters: &Parameters, decision: &Drawn, seen: &[Observed], eta: f64, count: usize) -> Vec<f64> {
    if parameters.is_tsallis {
        return vec![0.5; count];
    }
    let moved: Vec<(usize, f64)> =
        seen.iter().map(|each| (each.arm, 0.5 / below(parameters, each.probability, eta))).collect();
    spread(decision, seen, &moved, count)
}

fn apply_moves(
    learner: &mut Learner,
    parameters: &Parameters,
    moves: &[f64],
    earned: &[(usize, f64)],
    eta: f64,
    is_new: bool,
) -> Usual<()> {
    let mut state: Vec<f64> = learner.state.iter().zip(moves).map(|(each, moved)| each + moved).collect();
    if parameters.is_tsallis {
        tsallis::refuse_too_large(&state)?;
    } else if !state.iter().all(|each| each.is_finite()) {
        return Err(Unusual);
    }
    if is_new && parameters.fixed_share > 0.0 {
        state = if parameters.is_tsallis {
            tsallis::mixed(learner, parameters, &state)
        } else {
            exp3ix::mixed(&state, parameters, eta)
        };
    }
    if !earned.iter().all(|(arm, reward)| (learner.cumulative_rewards[*arm] + reward).is_finite()) {
        return Err(Unusual);
    }
    learner.state = state;
    for (arm, reward) in earned {
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

fn note(
    learner: &mut Learner,
    parameters: &Parameters,
    decision: &Drawn,
    seen: &[Observed],
    parts: &[f64],
    eta: f64,
    is_new: bool,
) -> Usual<()> {
    if parameters.is_adaptive {
        let terms = if decision.terms.is_empty() { vec![0.0; parts.len()] } else { decision.terms.clone() };
        let mut after = terms.clone();
        for each in seen {
            after[each.arm] += parts[each.arm];
        }
        learner.add_to_sum(of_draw(decision, seen, &after) - of_draw(decision, seen, &terms));
    } else if !parameters.is_tsallis && is_new {
        let amount = of_one(parameters, decision, seen, eta, parts.len());
        learner.add_to_sum(amount);
    }
    Ok(())
}

fn of_one(parameters: &Parameters, decision: &Drawn, seen: &[Observed], eta: f64, count: usize) -> f64 {
    if !decision.is_whole {
        return smaller(1.0 / below(parameters, seen[0].probability, eta), count as f64);
    }
    let probabilities = decision.probabilities;
    let observing = |index: usize| match decision.observing.is_empty() {
        true => probabilities.get(index),
        false => decision.observing[index],
    };
    let awake = probabilities.iter().enumerate().filter(|(_, p)| *p > 0.0);
    fsum(awake.map(|(index, p)| p / below(parameters, observing(index), eta)))
}

fn blend_parts(
    learner: &Learner,
    parameters: &Parameters,
    blend: &Blend,
    reward_bps: f64,
    weight: f64,
    eta: f64,
    observed: &[Observed],
) -> Usual<Vec<f64>> {
    let mut moves = vec![0.0; learner.state.len()];
    if observed.is_empty() {
        let signal = weight * signal(learner, parameters, reward_bps)?;
        for (arm, share) in &blend.shares {
            moves[*arm] = share * signal;
        }
        return Ok(moves);
    }
    for each in observed {
        let signal = signal(learner, parameters, each.reward_bps)?;
        moves[each.arm] = weight * signal / below(parameters, each.probability, eta);
    }
    let share_of = |arm: usize| blend.shares.iter().find(|(each, _)| *each == arm).map_or(0.0, |(_, share)| *share);
    let total = fsum(observed.iter().map(|each| share_of(each.arm)));
    let played = if total == 0.0 {
        fsum(observed.iter().map(|each| moves[each.arm])) / observed.len() as f64
    } else {
        fsum(observed.iter().map(|each| share_of(each.arm) / total * moves[each.arm]))
    };
    for (arm, moved) in moves.iter_mut().enumerate() {
        if !observed.iter().any(|each| each.arm == arm) {
            *moved = played;
        }
    }
    Ok(moves)
}

fn grown(parameters: &Parameters, parts: &[f64], seen: &[usize]) -> Vec<f64> {
    if !parameters.is_adaptive {
        return vec![];
    }
    parts.iter().enumerate().map(|(arm, part)| if seen.contains(&arm) { *part } else { 0.0 }).collect()
}

fn of_draw(decision: &Drawn, seen: &[Observed], terms: &[f64]) -> f64 {
    let cubed = std::hint::black_box(1.5); // else the compiler may know a shorter way with other digits
    let squares = terms.iter().enumerate().filter(|(_, term)| **term != 0.0);
    capped(fsum(squares.map(|(arm, term)| chance(decision, seen, arm).powf(cubed) * term * term)))
}

fn of_blend(terms: &[f64]) -> f64 {
    let squares: Vec<f64> = terms.iter().map(|term| term * term).collect();
    capped(fsum([largest(&squares)]))
}

fn capped(sum: f64) -> f64 {
    smaller(sum, MOST_OF_ONE_DECISION)
}

