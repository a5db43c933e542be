//! Reads a policy from JSON.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::{Json, Key, TargetPath, Threshold, parse_time};

use super::table::Table;
use super::{
    AttestationDemand, Builder, Credential, Demand, Identity, Name, Parameters, Policy, PolicyError, ProvenanceDemand,
    Rule, SignatureDemand, Signer, SignerName, TrustSource, VERSION,
};
use crate::json::{Object, Value};
use crate::policy::Pattern;
use crate::signed::Claim;
use crate::trust::{LogDemand, SctDemand, TrustDemands};

/// The maximum length of a policy, in bytes.
const MAX_LENGTH: usize = 256 * 1024;

/// The maximum number of entries of each kind: trust roots, signers, builders and rules.
const MAX_ENTRIES: usize = 64;

/// The predicate types of statements that count as signatures over their subject, unless a rule lists other types.
const SIGNATURE_STATEMENTS: [&str; 3] = [
    "https://sigstore.dev/cosign/sign/v1",
    "https://docs.pypi.org/attestations/publish/v1",
    "https://github.com/npm/attestation/tree/main/specs/publish/v0.1",
];

/// Reads the policy of a role.
pub(super) fn signed(json: &[u8]) -> Result<Policy, PolicyError> {
    if json.len() > MAX_LENGTH {
        return Err(PolicyError(format!("the policy has {} bytes, expected at most {MAX_LENGTH}", json.len())));
    }
    let value = Value::parse(json).map_err(|error| PolicyError(format!("the policy is not strict JSON: {error}")))?;
    policy(&value, |table| rules(table.required("require")?))
}

/// Reads the policy in a local policy file. Unlike the policy of a role, a local policy need not have rules.
pub(super) fn local(object: Object) -> Result<Policy, PolicyError> {
    policy(&Value::Object(object), |table| table.value("require").map_or(Ok(Vec::new()), rules))
}

fn policy(
    value: &Value,
    read_rules: impl Fn(&Table<'_>) -> Result<Vec<Rule>, PolicyError>,
) -> Result<Policy, PolicyError> {
    let table = Table::of(value, "policy")?;
    let mut policy = Policy {
        trust: BTreeMap::new(),
        signers: BTreeMap::new(),
        builders: BTreeMap::new(),
        rules: Vec::new(),
        upgrade: table.paths("upgrade")?,
        unsupported: None,
    };
    match table.required("version")? {
        Value::Integer(VERSION) => {}
        other => {
            policy.unsupported = Some(format!("version {other}"));
            return Ok(policy);
        }
    }
    let known = ["version", "upgrade", "trust", "signer", "builder", "require"];
    policy.unsupported = unsupported("policy", &table.unknown(&known));
    policy.trust = entries(&table, "trust", &mut policy.unsupported, trust_source)?;
    policy.signers = entries(&table, "signer", &mut policy.unsupported, signer)?;
    policy.builders = entries(&table, "builder", &mut policy.unsupported, builder)?;
    policy.rules = read_rules(&table)?;
    // `entries` leaves out the entries that this version does not understand. Check names only if no entry has been
    // left out: otherwise, the check would fail for a rule that names a left-out entry.
    if policy.unsupported.is_none() {
        check_names(&policy)?;
    }
    Ok(policy)
}

/// An entry of a section. `Unsupported` describes what this version of lastmile does not understand in the entry.
enum Read<T> {
    Entry(T),
    Unsupported(String),
}

fn unsupported(place: &str, unknown: &[&str]) -> Option<String> {
    unknown.first().map(|name| format!("unknown member {name:?} in {place}"))
}

/// Reads a section of named entries, such as `signer`. Skips entries that this version of lastmile does not understand.
/// If `not_understood` is empty, sets it to a description of the first such entry.
fn entries<T>(
    policy: &Table<'_>,
    section: &str,
    not_understood: &mut Option<String>,
    read: impl Fn(&Table<'_>, &str) -> Result<Read<T>, PolicyError>,
) -> Result<BTreeMap<Name, T>, PolicyError> {
    let Some(value) = policy.value(section) else { return Ok(BTreeMap::new()) };
    let object = value.as_object().ok_or_else(|| PolicyError(format!("{section} is not an object")))?;
    let mut entries = BTreeMap::new();
    for (name, value) in object.members() {
        let place = format!("{section}.{name}");
        let key = Name::new(name)
            .ok_or_else(|| PolicyError(format!("{section} has an entry {name:?}, which is not a valid name")))?;
        match read(&Table::of(value, &place)?, &place)? {
            Read::Entry(entry) => drop(entries.insert(key, entry)),
            Read::Unsupported(reason) => *not_understood = not_understood.take().or(Some(reason)),
        }
    }
    if entries.len() > MAX_ENTRIES {
        return Err(PolicyError(format!("{section} has more than {MAX_ENTRIES} entries")));
    }
    Ok(entries)
}

fn trust_source(table: &Table<'_>, place: &str) -> Result<Read<TrustSource>, PolicyError> {
    if let Some(reason) = unsupported(place, &table.unknown(&["root", "sha256", "log", "logs", "times", "sct"])) {
        return Ok(Read::Unsupported(reason));
    }
    let root = table.required_string("root")?;
    let path = TargetPath::new(root).map_err(|error| table.error("root", &format!("is not a target path: {error}")))?;
    let mut sha256 = None;
    if let Some(digits) = table.string("sha256")? {
        let mut digest = [0; 32];
        let is_lower_case = !digits.bytes().any(|byte| byte.is_ascii_uppercase());
        if !is_lower_case || hex::decode_to_slice(digits, &mut digest).is_err() {
            return Err(table.error("sha256", "is not 64 lower-case hexadecimal digits"));
        }
        sha256 = Some(digest);
    }
    let log = match table.string("log")? {
        None | Some("required") => LogDemand::Required,
        Some("none") => LogDemand::None,
        Some(other) => return Ok(Read::Unsupported(format!("unknown value {other:?} of {place}.log"))),
    };
    let sct = match table.value("sct") {
        None | Some(Value::Bool(true)) => SctDemand::Required,
        Some(Value::Bool(false)) => SctDemand::None,
        Some(_) => return Err(table.error("sct", "is not true or false")),
    };
    let logs = table.integer("logs", 8)?;
    if log == LogDemand::None && logs.is_some() {
        return Err(table.error("logs", "contradicts `log = \"none\"`"));
    }
    let demands = TrustDemands { log, logs: logs.unwrap_or(1), times: table.integer("times", 8)?.unwrap_or(1), sct };
    Ok(Read::Entry(TrustSource { path, sha256, demands }))
}

fn signer(table: &Table<'_>, place: &str) -> Result<Read<Signer>, PolicyError> {
    let known = ["key", "trust", "issuer", "subject", "claims", "not-before", "not-after"];
    if let Some(reason) = unsupported(place, &table.unknown(&known)) {
        return Ok(Read::Unsupported(reason));
    }
    let credential = match table.value("key") {
        Some(value) => match key_credential(table, value)? {
            Read::Entry(credential) => credential,
            Read::Unsupported(reason) => return Ok(Read::Unsupported(format!("{reason} in {place}"))),
        },
        None => match identity(table)? {
            Read::Entry(identity) => Credential::Identity(identity),
            Read::Unsupported(reason) => return Ok(Read::Unsupported(format!("{reason} in {place}"))),
        },
    };
    let not_before = time(table, "not-before")?;
    let not_after = time(table, "not-after")?;
    if let (Some(start), Some(end)) = (not_before, not_after)
        && start > end
    {
        return Err(table.error("not-before", "is later than `not-after`"));
    }
    Ok(Read::Entry(Signer { credential, not_before, not_after }))
}

fn key_credential(table: &Table<'_>, value: &Value) -> Result<Read<Credential>, PolicyError> {
    for name in ["issuer", "subject", "claims"] {
        if table.value(name).is_some() {
            return Err(table.error(name, "cannot be combined with `key`"));
        }
    }
    let key = Json::parse(&value.to_string())
        .and_then(|json| Key::parse(json.canonical()))
        .map_err(|error| table.error("key", &format!("is not a TUF key: {error}")))?;
    let key: PublicKey = match key.public_key() {
        Ok(key) => key.clone(),
        Err(lastmile_keys::KeyError::Unsupported { .. }) => {
            return Ok(Read::Unsupported(format!("keys of type {} with scheme {}", key.keytype(), key.scheme())));
        }
        Err(error) => return Err(table.error("key", &format!("is not usable: {error}"))),
    };
    let trust = table.value("trust").map(|_| table.name("trust")).transpose()?;
    Ok(Read::Entry(Credential::Key { key, trust }))
}

fn identity(table: &Table<'_>) -> Result<Read<Identity>, PolicyError> {
    let trust = table.name("trust")?;
    let issuer = table.required_string("issuer")?.to_owned();
    if issuer.contains('*') {
        return Err(table.error("issuer", "must be the exact URL, without `*`"));
    }
    let subject = table.required_patterns("subject")?;
    let mut claims = BTreeMap::new();
    for (name, patterns) in table.patterns_by_name("claims")? {
        let Some(claim) = Claim::named(&name) else {
            return Ok(Read::Unsupported(format!("unknown claim {name:?}")));
        };
        claims.insert(claim, patterns);
    }
    Ok(Read::Entry(Identity { trust, issuer, subject, claims }))
}

fn time(table: &Table<'_>, name: &str) -> Result<Option<DateTime<Utc>>, PolicyError> {
    let Some(text) = table.string(name)? else { return Ok(None) };
    parse_time(text).map(Some).map_err(|_| table.error(name, "is not a date-time like 2026-01-31T12:00:00Z"))
}

fn builder(table: &Table<'_>, place: &str) -> Result<Read<Builder>, PolicyError> {
    if let Some(reason) = unsupported(place, &table.unknown(&["id", "by", "level", "build-type"])) {
        return Ok(Read::Unsupported(reason));
    }
    let by = signer_names(table)?;
    let build_types = table.patterns("build-type")?;
    Ok(Read::Entry(Builder { id: table.required_patterns("id")?, by, level: level(table)?, build_types }))
}

fn level(table: &Table<'_>) -> Result<u8, PolicyError> {
    let level = table.integer("level", 4)?.and_then(|level| u8::try_from(level).ok());
    level.ok_or_else(|| table.error("level", "is missing"))
}

fn signer_names(table: &Table<'_>) -> Result<Vec<SignerName>, PolicyError> {
    let names = table.strings("by")?.ok_or_else(|| table.error("by", "is missing"))?;
    let signer = |text: &str| {
        let parsed = match text.strip_prefix('@') {
            Some(name) => Name::new(name).map(SignerName::OfListingRole),
            None => Name::new(text).map(SignerName::Own),
        };
        parsed.ok_or_else(|| table.error("by", &format!("contains {text:?}, which is not a valid name")))
    };
    names.into_iter().map(signer).collect()
}

fn rules(value: &Value) -> Result<Vec<Rule>, PolicyError> {
    let elements = value.as_array().ok_or_else(|| PolicyError("require is not a list".into()))?;
    if elements.is_empty() || elements.len() > MAX_ENTRIES {
        return Err(PolicyError(format!("the policy has {} rules, expected 1 to {MAX_ENTRIES}", elements.len())));
    }
    let mut rules: Vec<Rule> = Vec::new();
    for (index, value) in elements.iter().enumerate() {
        let place = format!("require[{index}]");
        let rule = rule(&Table::of(value, &place)?)?;
        if rules.iter().any(|other| other.name == rule.name) {
            return Err(PolicyError(format!("two rules are named {}", rule.name)));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn rule(table: &Table<'_>) -> Result<Rule, PolicyError> {
    let kind = table.required_string("kind")?;
    table.required("paths")?;
    let (name, paths, except) = (table.name("name")?, table.paths("paths")?, table.paths("except")?);
    let own: &[&str] = match kind {
        "signature" => &["by", "threshold", "statement"],
        "attestation" => &["by", "threshold", "type", "where"],
        "provenance" => &["builder", "level", "source", "ref", "parameters", "parameter"],
        _ => &[],
    };
    let known = [&["name", "paths", "except", "kind"], own].concat();
    let unknown = table.unknown(&known).first().map(|name| format!("unknown member {name:?}"));
    let demand = match (kind, unknown) {
        ("signature" | "attestation" | "provenance", Some(reason)) => {
            Demand::Unsupported { kind: kind.to_owned(), reason }
        }
        ("signature", None) => Demand::Signature(signature(table)?),
        ("attestation", None) => Demand::Attestation(attestation(table)?),
        ("provenance", None) => provenance(table)?,
        _ => Demand::Unsupported { kind: kind.to_owned(), reason: format!("unknown kind {kind:?}") },
    };
    Ok(Rule { name, paths, except, demand })
}

fn threshold(table: &Table<'_>) -> Result<Threshold, PolicyError> {
    let threshold = table.integer("threshold", 64)?.unwrap_or(1);
    Threshold::new(threshold).ok_or_else(|| table.error("threshold", "is not at least 1"))
}

fn signature(table: &Table<'_>) -> Result<SignatureDemand, PolicyError> {
    let by = signer_names(table)?;
    let threshold = threshold(table)?;
    let mut statements = table.patterns("statement")?;
    if statements.is_empty() {
        statements = SIGNATURE_STATEMENTS.iter().filter_map(|text| Pattern::new(text)).collect();
    }
    Ok(SignatureDemand { by, threshold, statements })
}

fn attestation(table: &Table<'_>) -> Result<AttestationDemand, PolicyError> {
    let by = signer_names(table)?;
    let threshold = threshold(table)?;
    let types = table.required_patterns("type")?;
    let mut allowed = Vec::new();
    if let Some(value) = table.value("where") {
        let object = value.as_object().ok_or_else(|| table.error("where", "is not an object"))?;
        for (pointer, values) in object.members() {
            let values = values.as_array().unwrap_or_default();
            let is_scalar = |value: &Value| matches!(value, Value::String(_) | Value::Integer(_) | Value::Bool(_));
            if !pointer.starts_with('/') || values.is_empty() || !values.iter().all(is_scalar) {
                let problem = "must map JSON pointers to lists of strings, integers and booleans";
                return Err(table.error("where", problem));
            }
            allowed.push((pointer.to_owned(), values.to_vec()));
        }
    }
    Ok(AttestationDemand { by, threshold, types, allowed })
}

fn provenance(table: &Table<'_>) -> Result<Demand, PolicyError> {
    let names = table.strings("builder")?.ok_or_else(|| table.error("builder", "is missing"))?;
    let name = |text| {
        Name::new(text).ok_or_else(|| table.error("builder", &format!("contains {text:?}, which is not a valid name")))
    };
    let builders = names.into_iter().map(name).collect::<Result<_, _>>()?;
    let listed: BTreeMap<_, _> = table.patterns_by_name("parameter")?.into_iter().collect();
    let parameters = match (table.string("parameters")?, table.value("parameter")) {
        (None, None) => Parameters::Any,
        (Some("none"), None) => Parameters::Listed(BTreeMap::new()),
        (Some("listed") | None, Some(_)) => Parameters::Listed(listed),
        (Some("none"), Some(_)) => return Err(table.error("parameter", "contradicts `parameters = \"none\"`")),
        (Some("listed"), None) => return Err(table.error("parameter", "is missing")),
        (Some(other), _) => {
            let reason = format!("unknown value {other:?} of `parameters`");
            return Ok(Demand::Unsupported { kind: "provenance".into(), reason });
        }
    };
    Ok(Demand::Provenance(ProvenanceDemand {
        builders,
        level: level(table)?,
        source: table.required_patterns("source")?,
        reference: table.patterns("ref")?,
        parameters,
    }))
}

/// Checks that the policy defines every name that it uses.
fn check_names(policy: &Policy) -> Result<(), PolicyError> {
    for (name, signer) in &policy.signers {
        if let Some(trust) = signer.trust().filter(|trust| !policy.trust.contains_key(trust)) {
            return Err(PolicyError(format!("signer.{name}.trust is {trust}, but there is no [trust.{trust}]")));
        }
    }
    let check_signers = |place: String, by: &[SignerName]| match by.iter().find_map(|name| match name {
        SignerName::Own(name) if !policy.signers.contains_key(name) => Some(name),
        _ => None,
    }) {
        Some(missing) => Err(PolicyError(format!("{place} names {missing}, but there is no [signer.{missing}]"))),
        None => Ok(()),
    };
    for (name, builder) in &policy.builders {
        check_signers(format!("builder.{name}.by"), &builder.by)?;
    }
    for rule in &policy.rules {
        match &rule.demand {
            Demand::Signature(SignatureDemand { by, threshold, .. })
            | Demand::Attestation(AttestationDemand { by, threshold, .. }) => {
                check_signers(format!("the rule `{}`", rule.name), by)?;
                check_threshold(policy, rule, by, *threshold)?;
            }
            Demand::Provenance(demand) => check_builders(policy, rule, demand)?,
            Demand::Unsupported { .. } => {}
        }
    }
    Ok(())
}

/// Checks that a rule names enough signers to reach its threshold. If several names refer to the same key, they count
/// as one signer.
fn check_threshold(policy: &Policy, rule: &Rule, by: &[SignerName], threshold: Threshold) -> Result<(), PolicyError> {
    let mut keys = BTreeSet::new();
    let mut others = 0_usize;
    for name in by {
        let SignerName::Own(own) = name else {
            others += 1;
            continue;
        };
        match policy.signers.get(own).map(|signer| &signer.credential) {
            Some(Credential::Key { key, .. }) => drop(keys.insert(key)),
            _ => others += 1,
        }
    }
    let signers = keys.len() + others;
    if u32::try_from(signers).is_ok_and(|signers| signers < threshold.get()) {
        let problem =
            format!("the rule `{}` requires {} signatures, but names {signers} signers", rule.name, threshold.get());
        return Err(PolicyError(problem));
    }
    Ok(())
}

fn check_builders(policy: &Policy, rule: &Rule, demand: &ProvenanceDemand) -> Result<(), PolicyError> {
    let mut has_level = false;
    for name in &demand.builders {
        let builder = policy.builders.get(name).ok_or_else(|| {
            PolicyError(format!("the rule `{}` names {name}, but there is no [builder.{name}]", rule.name))
        })?;
        has_level |= builder.level >= demand.level;
    }
    if !has_level {
        return Err(PolicyError(format!(
            "the rule `{}` requires level {}, but no builder that it names has this level",
            rule.name, demand.level
        )));
    }
    Ok(())
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
