//! Histories, which are random sequences of steps. A history is generated from a seed, and can be written as a line of
//! text. A failing history is shrunk to the steps that are needed for the failure.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use super::simulation::{Verdicts, simulate};

/// The action of a step. The number in the step determines the details of the action, such as the role or the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Publish,
    Renew,
    Rotate,
    Revoke,
    Threshold,
    Redelegate,
    Steal,
    Attack,
    Forge,
    Replay,
    Withhold,
    Garble,
    Heal,
    Wait,
    Skew,
    Die,
    Policy,
    Run,
}

/// All actions with their names and relative frequencies.
const ACTS: [(Action, &str, u64); 18] = [
    (Action::Publish, "publish", 10),
    (Action::Renew, "renew", 4),
    (Action::Rotate, "rotate", 6),
    (Action::Revoke, "revoke", 4),
    (Action::Threshold, "threshold", 3),
    (Action::Redelegate, "redelegate", 3),
    (Action::Steal, "steal", 9),
    (Action::Attack, "attack", 9),
    (Action::Forge, "forge", 6),
    (Action::Replay, "replay", 5),
    (Action::Withhold, "withhold", 4),
    (Action::Garble, "garble", 2),
    (Action::Heal, "heal", 4),
    (Action::Wait, "wait", 5),
    (Action::Skew, "skew", 3),
    (Action::Die, "die", 4),
    (Action::Policy, "policy", 5),
    (Action::Run, "run", 28),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) act: Action,
    pub(crate) by: u32,
}

/// A history: a number that selects the features of the repository and the client, and a sequence of steps. The text
/// form is `KIND; ACT NUMBER; ACT NUMBER; …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub(crate) kind: u32,
    pub(crate) steps: Vec<Step>,
}

impl History {
    /// Generates the history for `seed`.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance(seed);
        // Only 512 kinds of repositories are used, so that they can be cached. Bits 28 to 30 describe the client.
        let kind = Chance(chance.draw() % 512).draw() as u32 & 0x0fff_ffff | (chance.draw() as u32 & 0x7000_0000);
        let length = match chance.draw() % 16 {
            0..=10 => 2 + chance.draw() % 8,
            11..=14 => 10 + chance.draw() % 15,
            _ => 25 + chance.draw() % 36,
        };
        let steps = (0..length).map(|_| Step { act: act(chance.draw()), by: chance.draw() as u32 }).collect();
        Self { kind, steps }
    }

    /// Runs the history. Returns how many packages the client has accepted and refused.
    ///
    /// # Errors
    /// Returns a description of the first difference between the client and the model.
    pub fn run(&self) -> Result<Verdicts, String> {
        catch_unwind(AssertUnwindSafe(|| simulate(self))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(format!("panics: {}", text.unwrap_or_default()))
        })
    }

    /// Removes steps from a failing history until every remaining step is needed for the failure, and then simplifies
    /// the numbers. The result still fails.
    #[must_use]
    pub fn shrunk(self) -> Self {
        let mut best = self;
        let fails = |history: &Self| history.run().is_err();
        let mut size = best.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            let mut is_smaller = false;
            while at < best.steps.len() {
                let mut less = best.clone();
                less.steps.drain(at..(at + size).min(best.steps.len()));
                if fails(&less) {
                    (best, is_smaller) = (less, true);
                } else {
                    at += size;
                }
            }
            size = if size == 1 && is_smaller { 1 } else { size / 2 };
        }
        let mut simple = Self { kind: 1 << 28, ..best.clone() };
        if fails(&simple) {
            best = simple;
        }
        for at in 0..best.steps.len() {
            // Replace the number of the step with the first of these numbers that still makes the history fail.
            for by in (0..8).chain([best.steps[at].by & 0xff, best.steps[at].by & 0xffff]) {
                simple = best.clone();
                simple.steps[at].by = by;
                if fails(&simple) {
                    best = simple;
                    break;
                }
            }
        }
        best
    }
}

fn act(number: u64) -> Action {
    let all: u64 = ACTS.iter().map(|(_, _, often)| often).sum();
    let mut left = number % all;
    for (act, _, often) in ACTS {
        if left < often {
            return act;
        }
        left -= often;
    }
    Action::Run
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ACTS.iter().find(|(act, ..)| *act == self.act).map_or("", |(_, name, _)| name);
        write!(f, "{name} {}", self.by)
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        self.steps.iter().try_for_each(|step| write!(f, "; {step}"))
    }
}

impl FromStr for History {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split("; ");
        let number = |text: &str| text.parse::<u32>().map_err(|error| format!("{text}: {error}"));
        let kind = number(parts.next().unwrap_or_default())?;
        let step = |part: &str| {
            let (name, by) = part.split_once(' ').ok_or_else(|| format!("{part}: no number"))?;
            let act = ACTS.iter().find(|(_, known, _)| *known == name).ok_or_else(|| format!("no act {name}"))?;
            Ok(Step { act: act.0, by: number(by)? })
        };
        Ok(Self { kind, steps: parts.map(step).collect::<Result<_, String>>()? })
    }
}

/// The pseudorandom number generator SplitMix64, which returns the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// Returns the next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
