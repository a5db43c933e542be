//! Describes the policy of a role to the people who are about to sign for the role: every rule, signer, builder and
//! trust root. Every value in the policy appears in one of the lines, so signers see every change.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_attest::Policy;
use lastmile_attest::json::{Object, Value};
use lastmile_attest::policy::MEMBER;
use lastmile_metadata::changes::Pointer;
use lastmile_metadata::{Json, Key};

use super::explanation::Explanation;
use super::lines::Lines;
use super::role_diff::Sign;

/// The members of a policy that are tables of named entries.
const TABLES: [&str; 3] = ["trust", "signer", "builder"];

/// The named entries of a policy, such as `signer alice`. For each entry, `by_name` contains the members with their
/// values as text.
#[derive(Default)]
struct Entries {
    by_name: BTreeMap<String, BTreeMap<String, String>>,
    /// The names of the rules, in the order in which the policy lists them.
    rules: Vec<String>,
}

/// `before` and `after` are policies in canonical JSON.
pub(super) fn explain(explanation: &mut Explanation, before: Option<&str>, after: Option<&str>) {
    let old = before.and_then(parse).unwrap_or_default();
    let Some(text) = after else {
        compare(&mut explanation.lines, &old, &Entries::default());
        explanation.lines.push(Sign::Removed, "policy: this role no longer requires evidence for its packages");
        return;
    };
    match check(text).and_then(|()| parse(text).ok_or_else(|| "not a policy".to_string())) {
        Ok(new) => compare(&mut explanation.lines, &old, &new),
        // Clients refuse a malformed policy, and only newer clients understand an unsupported policy. In both cases, a
        // signer must accept the policy by name.
        Err(problem) => {
            let pointer: Pointer = [MEMBER].into_iter().collect();
            let line = format!("policy: {problem}: {}", shown(text));
            explanation.unusual_line(if before.is_some() { Sign::Changed } else { Sign::Added }, &pointer, &line);
        }
    }
}

/// Checks that the policy is well-formed and that this version of lastmile understands all of it.
fn check(text: &str) -> Result<(), String> {
    let json = Json::parse(&shown(text)).map_err(|error| error.to_string())?;
    let policy = Policy::parse(json.to_text().as_bytes()).map_err(|error| error.to_string())?;
    match policy.unsupported().first() {
        Some(part) => Err(format!("this version of lastmile does not understand {part}")),
        None => Ok(()),
    }
}

/// Converts canonical JSON to ordinary JSON. Canonical JSON does not escape control characters, so ordinary parsers
/// refuse it.
fn shown(canonical: &str) -> String {
    let mut text = String::with_capacity(canonical.len());
    for character in canonical.chars() {
        match character {
            '\u{0}'..='\u{1f}' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => text.push(character),
        }
    }
    text
}

fn parse(canonical: &str) -> Option<Entries> {
    let value = Value::parse(shown(canonical).as_bytes()).ok()?;
    let mut entries = Entries::default();
    for (name, value) in value.as_object()?.members() {
        match value {
            Value::Object(table) if TABLES.contains(&name) => {
                for (entry, value) in table.members() {
                    entries.by_name.insert(format!("{name} {entry}"), described(value));
                }
            }
            Value::Array(rules) if name == "require" => {
                for rule in rules {
                    let name = rule.as_object().and_then(|rule| rule.get("name")).and_then(Value::as_str);
                    let name = format!("rule {}", name.unwrap_or_default());
                    entries.by_name.insert(name.clone(), described(rule));
                    entries.rules.push(name);
                }
            }
            other => {
                let value = BTreeMap::from([(String::new(), other.to_string())]);
                entries.by_name.insert(name.to_string(), value);
            }
        }
    }
    Some(entries)
}

/// Returns the members of an entry with their values as text. Omits the member `name`.
fn described(entry: &Value) -> BTreeMap<String, String> {
    let Some(object) = entry.as_object() else { return BTreeMap::from([(String::new(), entry.to_string())]) };
    let members = object.members().filter(|(name, _)| *name != "name");
    members.map(|(name, value)| (name.to_string(), described_member(name, value))).collect()
}

fn described_member(name: &str, value: &Value) -> String {
    match (name, value.as_object().and_then(keyid)) {
        ("key", Some(keyid)) => format!("{keyid} {value}"),
        _ => value.to_string(),
    }
}

/// Returns the first 8 digits of the key ID, if `key` is a TUF key.
fn keyid(key: &Object) -> Option<String> {
    let json = Json::parse(&Value::Object(key.clone()).to_string()).ok()?;
    let key = Key::parse(json.canonical()).ok()?;
    Some(key.keyid().as_str().chars().take(8).collect())
}

fn compare(lines: &mut Lines, old: &Entries, new: &Entries) {
    let names: BTreeSet<&String> = old.by_name.keys().chain(new.by_name.keys()).collect();
    for name in names {
        match (old.by_name.get(name), new.by_name.get(name)) {
            (Some(before), Some(after)) => {
                let members: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for member in members {
                    compare_members(lines, &format!("policy: {name}: {member}"), before.get(member), after.get(member));
                }
            }
            (None, Some(after)) => lines.push(Sign::Added, &one_line(name, &after.iter().collect::<Vec<_>>())),
            (Some(before), None) => lines.push(Sign::Removed, &one_line(name, &before.iter().collect::<Vec<_>>())),
            (None, None) => {}
        }
    }
    let kept = |of: &Entries, other: &Entries| -> Vec<String> {
        of.rules.iter().filter(|rule| other.by_name.contains_key(*rule)).cloned().collect()
    };
    if kept(old, new) != kept(new, old) {
        lines.push(Sign::Changed, &format!("policy: the order of the rules is {}", new.rules.join(", ")));
    }
}

fn compare_members(lines: &mut Lines, name: &str, before: Option<&String>, after: Option<&String>) {
    let name = name.trim_end();
    match (before, after) {
        (None, Some(after)) => lines.push(Sign::Added, &format!("{name} {after}")),
        (Some(before), None) => lines.push(Sign::Removed, &format!("{name} {before}")),
        (Some(before), Some(after)) if before != after => {
            lines.push(Sign::Changed, &format!("{name} {after} (was: {before})"));
        }
        _ => {}
    }
}

fn one_line(name: &str, members: &[(&String, &String)]) -> String {
    let members = members.iter().map(|(member, value)| format!("{member} {value}").trim_start().to_string());
    format!("policy: {name}: {}", members.collect::<Vec<_>>().join(", "))
}
