//! Compares the crate's verdicts on random policies and evidence with the verdicts of a small model. The model checks
//! each rule that covers the package, in the policies on the delegation chain and in the local policy. A rule is
//! satisfied if enough of its keys have signed the package. The model accepts the package if all these rules are
//! satisfied.

use std::collections::BTreeSet;

use lastmile_attest::LocalPolicy;

use crate::packages::{Packages, SIGN, envelope, signer};

/// A pseudo-random number generator (xorshift). Its seed is fixed, so every run is the same.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::try_from(self.below(values.len() as u64)).unwrap()]
    }
}

/// The names of the signers. Each policy defines all of them, each with a random key.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// The path patterns that rules use, and whether each pattern matches the package.
const PATTERNS: [(&str, bool); 5] =
    [("app/*", true), ("app/1.tar", true), ("*", false), ("app", false), ("app/2.*", false)];

#[derive(Debug)]
struct Rule {
    paths: Vec<(&'static str, bool)>,
    except: Option<(&'static str, bool)>,
    /// The name of each signer, and whether the rule writes it as `@NAME`. The form `@NAME` refers to a signer in the
    /// policy of the role that lists the package.
    by: Vec<(&'static str, bool)>,
    threshold: usize,
}

#[derive(Debug)]
struct Policy {
    /// The name and the key number of each signer.
    keys: Vec<(&'static str, u8)>,
    rules: Vec<Rule>,
}

impl Policy {
    /// Creates a policy with one to three random rules. No threshold is higher than the policy format allows.
    fn random(random: &mut Random) -> Self {
        let keys: Vec<_> = NAMES.iter().map(|name| (*name, 1 + u8::try_from(random.below(4)).unwrap())).collect();
        let rules = (0..=random.below(3)).map(|_| Rule::random(random)).collect();
        let mut policy = Self { keys, rules };
        // Limit each threshold to the number of keys that the rule accepts, because a policy with a higher threshold is
        // refused.
        for rule in &mut policy.rules {
            let own = rule.by.iter().filter(|(_, of_listing_role)| !of_listing_role);
            let keys: BTreeSet<u8> = own.filter_map(|(name, _)| key_of(&policy.keys, name)).collect();
            let others = rule.by.iter().filter(|(_, of_listing_role)| *of_listing_role).count();
            rule.threshold = rule.threshold.min(keys.len() + others);
        }
        policy
    }

    fn text(&self) -> String {
        let signers: Vec<_> = self.keys.iter().map(|(name, key)| format!(r#""{name}":{{{}}}"#, signer(*key))).collect();
        let rules: Vec<_> = self.rules.iter().enumerate().map(|(index, rule)| rule.text(index)).collect();
        format!(r#"{{"version":1,"signer":{{{}}},"require":[{}]}}"#, signers.join(","), rules.join(","))
    }
}

impl Rule {
    fn random(random: &mut Random) -> Self {
        let by = NAMES.iter().filter_map(|name| match random.below(4) {
            0 | 1 => Some((*name, false)),
            2 => Some((*name, true)),
            _ => None,
        });
        let by: Vec<_> = by.collect();
        Self {
            paths: vec![random.one_of(&PATTERNS)],
            except: (random.below(4) == 0).then(|| random.one_of(&PATTERNS)),
            by: if by.is_empty() { vec![("a", false)] } else { by },
            threshold: 1 + usize::try_from(random.below(2)).unwrap(),
        }
    }

    fn text(&self, index: usize) -> String {
        let quoted = |texts: Vec<String>| texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(",");
        let by =
            self.by.iter().map(|(name, of_listing_role)| format!("{}{name}", if *of_listing_role { "@" } else { "" }));
        let paths = quoted(self.paths.iter().map(|(pattern, _)| (*pattern).to_owned()).collect());
        let except = self.except.map(|(pattern, _)| format!(r#""except":["{pattern}"],"#)).unwrap_or_default();
        format!(
            r#"{{"name":"r{index}","kind":"signature","paths":[{paths}],{except}"by":[{}],"threshold":{}}}"#,
            quoted(by.collect()),
            self.threshold
        )
    }

    fn holds(&self, own: &Policy, listing: Option<&Policy>, signed: &BTreeSet<u8>) -> bool {
        let covers = self.paths.iter().any(|(_, covers)| *covers) && !self.except.is_some_and(|(_, covers)| covers);
        let counted: BTreeSet<u8> = self
            .by
            .iter()
            .filter_map(|(name, of_listing_role)| {
                let policy = if *of_listing_role { listing? } else { own };
                key_of(&policy.keys, name)
            })
            .filter(|key| signed.contains(key))
            .collect();
        !covers || counted.len() >= self.threshold
    }
}

fn key_of(keys: &[(&str, u8)], name: &str) -> Option<u8> {
    keys.iter().find(|(own, _)| *own == name).map(|(_, key)| *key)
}

#[test]
fn c_43_verdicts_on_random_policies_agree_with_the_model() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    let mut refused = 0;
    for round in 0..600 {
        let top = (random.below(8) > 0).then(|| Policy::random(&mut random));
        let team = (random.below(4) > 0).then(|| (random.below(4) > 0).then(|| Policy::random(&mut random)));
        let local = (random.below(3) == 0).then(|| Policy::random(&mut random));
        let text = |policy: &Option<Policy>| policy.as_ref().map(Policy::text).unwrap_or_default();
        let mut packages = match &team {
            Some(team) => Packages::of_team(text(&top), text(team)),
            None => Packages::of_top(text(&top)),
        };
        if let Some(local) = &local {
            packages.local = LocalPolicy::parse(local.text().as_bytes()).unwrap();
        }
        let signed: BTreeSet<u8> = (1..=5).filter(|_| random.below(2) == 0).collect();
        let evidence: Vec<String> = signed.iter().map(|key| envelope(&[*key], SIGN, "{}")).collect();
        let listing = match &team {
            Some(team) => team.as_ref(),
            None => top.as_ref(),
        };
        let policies = [top.as_ref(), team.as_ref().and_then(Option::as_ref), local.as_ref()];
        let expected = policies
            .into_iter()
            .flatten()
            .all(|policy| policy.rules.iter().all(|rule| rule.holds(policy, listing, &signed)));
        let verdict = packages.judge(&evidence).check();
        assert_eq!(verdict.is_ok(), expected, "round {round}: {signed:?} {verdict:?}\n{policies:#?}");
        if expected { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
}
