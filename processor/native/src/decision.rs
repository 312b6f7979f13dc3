//! A decision as it was logged, over the arms of now: `stages/decision.py`.

use crate::avro::{BUY, SELL, Signals};
use crate::bandit::{Arms, Bandit};
use crate::events::Choice;
use crate::learning::summation::{fsum, smaller};
use crate::learning::{Blend, Drawn, Feedback, Observed, Parameters};
use crate::matching::Segment;
use crate::position::Decision;

const MIN_LOGGED_ETA: f64 = 1e-9;
const MAX_LOGGED_ETA: f64 = 1e6;
const SUM_TOLERANCE: f64 = 1e-6;

/// What the parts so far added, by name.
pub type Terms = Vec<(Box<str>, f64)>;

pub fn drawn<'a>(bandit: &Bandit, logged: &Decision<'a>, arm: usize, terms: &Terms, reads: bool) -> Drawn<'a> {
    let Choice { propensity, probabilities, eta, .. } = logged.choice;
    let mut asleep = later(bandit, &logged.choice, Some(arm));
    let has_zero = asleep.is_empty() && probabilities.iter().any(|each| each == 0.0);
    let mut is_whole = (reads || has_zero) && is_whole_distribution(bandit, &logged.choice, arm);
    if has_zero && is_whole {
        asleep = probabilities.iter().enumerate().filter(|(_, each)| *each == 0.0).map(|(index, _)| index).collect();
    }
    if !logged.signals.is_empty() {
        let silent: Vec<usize> =
            silent(&bandit.arms, &logged.signals).into_iter().filter(|index| *index != arm).collect();
        is_whole = is_whole && !silent.iter().any(|index| probabilities.get(*index) != 0.0);
        asleep.extend(silent);
        asleep.sort_unstable();
        asleep.dedup();
    }
    let terms = terms_of(&bandit.arms, terms);
    Drawn { arm, propensity, probabilities, eta, is_whole, asleep, observing: vec![], terms }
}

pub fn blend_of(bandit: &Bandit, logged: &Decision, terms: &Terms) -> Option<Blend> {
    let mut shares = Vec::new();
    for (name, share) in logged.choice.contributions.iter() {
        if share != 0.0 {
            shares.push((bandit.arms.index_of(name)?, share));
        }
    }
    Some(Blend { shares, terms: terms_of(&bandit.arms, terms) })
}

fn terms_of(arms: &Arms, terms: &Terms) -> Vec<f64> {
    if terms.is_empty() {
        return vec![];
    }
    arms.names.iter().map(|name| term_of(terms, name)).collect()
}

fn term_of(terms: &Terms, name: &str) -> f64 {
    terms.iter().find(|(known, _)| &**known == name).map_or(0.0, |(_, term)| *term)
}

pub fn grown(arms: &Arms, terms: &Terms, by: &[f64]) -> Terms {
    let after = arms.names.iter().zip(by).map(|(name, more)| (name.clone(), term_of(terms, name) + more));
    after.filter(|(_, term)| *term != 0.0).collect()
}

/// What a draw revealed beside the drawn arm; nothing more where the settings take no more, or it is not said whole.
pub fn revealed(
    bandit: &Bandit,
    parameters: &Parameters,
    logged: &Decision,
    decision: &mut Drawn,
    side: u8,
    segment: &Segment,
) -> Vec<Observed> {
    let signals = &logged.signals;
    if parameters.feedback == Feedback::Drawn || signals.is_empty() || !decision.is_whole {
        return vec![];
    }
    let mut groups = groups_of(&bandit.arms, signals, parameters);
    for index in &decision.asleep {
        groups[*index] = None;
    }
    let chances = observing(&groups, decision);
    let own = groups[decision.arm];
    let seen = groups.iter().enumerate().filter(|(_, group)| group.is_some() && **group == own);
    let seen = seen.map(|(index, _)| (index, chances[index])).collect::<Vec<_>>();
    decision.observing = chances;
    observed(&bandit.arms, signals, side, segment, seen)
}

pub fn revealed_by_blend(
    bandit: &Bandit,
    parameters: &Parameters,
    logged: &Decision,
    side: u8,
    segment: &Segment,
) -> Vec<Observed> {
    let signals = &logged.signals;
    if parameters.feedback != Feedback::Both || signals.is_empty() {
        return vec![];
    }
    let mut groups = groups_of(&bandit.arms, signals, parameters);
    for index in later(bandit, &logged.choice, None) {
        groups[index] = None;
    }
    let shares = logged.choice.contributions.iter().filter(|(_, share)| *share != 0.0);
    let played: Vec<Group> =
        shares.filter_map(|(name, _)| bandit.arms.index_of(name)).map(|arm| groups[arm]).collect();
    let is_seen = |group: &Group| group.is_some() && (!parameters.reveals_by_horizon || played.contains(group));
    let seen = groups.iter().enumerate().filter(|(_, group)| is_seen(group)).map(|(index, _)| (index, 1.0));
    observed(&bandit.arms, signals, side, segment, seen.collect())
}

fn observed(
    arms: &Arms,
    signals: &Signals,
    side: u8,
    segment: &Segment,
    seen: Vec<(usize, f64)>,
) -> Vec<Observed> {
    let other = -(segment.reward_bps + segment.costs_bps) - segment.costs_bps;
    seen.into_iter()
        .map(|(arm, probability)| {
            let is_ours = signals.get(&arms.names[arm]) == Some(side);
            Observed { arm, reward_bps: if is_ours { segment.reward_bps } else { other }, probability }
        })
        .collect()
}

type Group<'a> = Option<(u8, &'a str)>;

fn groups_of<'a>(arms: &'a Arms, signals: &Signals, parameters: &Parameters) -> Vec<Group<'a>> {
    let group_of = |name: &'a str| {
        let side = signals.get(name).filter(|side| matches!(*side, BUY | SELL))?;
        let horizon = match parameters.reveals_by_horizon {
            true => name.split_once(':').map_or("", |(_, horizon)| horizon),
            false => "",
        };
        Some((if parameters.feedback == Feedback::Side { side } else { 0 }, horizon))
    };
    arms.names.iter().map(|name| group_of(name)).collect()
}

fn observing(groups: &[Group], decision: &Drawn) -> Vec<f64> {
    let mut different: Vec<(u8, &str)> = groups.iter().flatten().copied().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() == 1 {
        return groups.iter().map(|group| if group.is_none() { 0.0 } else { 1.0 }).collect();
    }
    let sum_of = |group: (u8, &str)| {
        let members = groups.iter().enumerate().filter(|(_, each)| **each == Some(group));
        smaller(fsum(members.map(|(index, _)| decision.probabilities.get(index))), 1.0)
    };
    groups.iter().map(|group| group.map_or(0.0, sum_of)).collect()
}

fn silent(arms: &Arms, signals: &Signals) -> Vec<usize> {
    let has_side = |name: &str| matches!(signals.get(name), Some(BUY | SELL));
    arms.names.iter().enumerate().filter(|(_, name)| !has_side(name)).map(|(index, _)| index).collect()
}

/// The arms that were added after the vector that the decision was made from.
fn later(bandit: &Bandit, choice: &Choice, arm: Option<usize>) -> Vec<usize> {
    let Some(version) = choice.weights_version.filter(|version| *version < bandit.choices_version) else {
        return vec![];
    };
    let known = version.max(1);
    let added = bandit.arms.added_versions.iter().enumerate();
    added.filter(|(index, added)| **added > known && Some(*index) != arm).map(|(index, _)| index).collect()
}

fn is_whole_distribution(bandit: &Bandit, choice: &Choice, arm: usize) -> bool {
    let (Some(eta), Some(propensity)) = (choice.eta, choice.propensity) else { return false };
    let probabilities = choice.probabilities;
    if probabilities.len() != bandit.arms.names.len() || choice.weights_version.unwrap_or(1) < bandit.choices_version {
        return false;
    }
    let is_rate = (MIN_LOGGED_ETA..MAX_LOGGED_ETA).contains(&eta);
    if !is_rate || !probabilities.iter().all(|one| (0.0..=1.0).contains(&one)) {
        return false;
    }
    let tolerance = SUM_TOLERANCE / 2.0;
    (fsum(probabilities.iter()) - 1.0).abs() <= tolerance
        && (probabilities.get(arm) - propensity).abs() <= tolerance * propensity
}
