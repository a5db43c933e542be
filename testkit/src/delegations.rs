//! Delegations of the simulated repository (TUF specification 4.5, TAP 15).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::key::TestKey;
use crate::repository::Repository;

/// A delegation to one role. [`Repository::delegate`] adds it to the delegating role.
///
/// Unless [`Delegation::keys`] sets other keys, the delegation has a single key: the key that [`TestKey::new`] returns
/// for the role's name.
#[derive(Debug, Clone)]
pub struct Delegation {
    name: String,
    keys: Vec<TestKey>,
    threshold: u32,
    members: Value,
}

impl Delegation {
    /// Creates a non-terminating delegation to the role `name` for target paths that match one of `patterns`.
    #[must_use]
    pub fn paths(name: &str, patterns: &[&str]) -> Delegation {
        Delegation::with_members(name, json!({"paths": patterns}))
    }

    /// Creates a non-terminating delegation to the role `name` for target paths whose SHA-256, in lower-case
    /// hexadecimal, begins with one of `prefixes`.
    #[must_use]
    pub fn hash_prefixes(name: &str, prefixes: &[&str]) -> Delegation {
        Delegation::with_members(name, json!({"path_hash_prefixes": prefixes}))
    }

    /// Creates a delegation to the role `name` whose JSON object contains `members`.
    ///
    /// `members` must be a JSON object. Its members replace the default members with the same names, even if the
    /// delegation becomes invalid.
    #[must_use]
    pub fn with_members(name: &str, members: Value) -> Delegation {
        Delegation { name: name.into(), keys: vec![TestKey::new(name)], threshold: 1, members }
    }

    /// Makes the delegation terminating.
    #[must_use]
    pub fn terminating(mut self) -> Delegation {
        self.members["terminating"] = json!(true);
        self
    }

    /// Sets the keys and the threshold of the delegation.
    #[must_use]
    pub fn keys(mut self, keys: &[TestKey], threshold: u32) -> Delegation {
        self.keys = keys.to_vec();
        self.threshold = threshold;
        self
    }
}

impl Repository {
    /// Appends a delegation to the role `delegator`. If the delegated role does not exist, creates it with an empty
    /// targets document.
    ///
    /// # Panics
    ///
    /// Panics if there is no role `delegator`.
    pub fn delegate(&mut self, delegator: &str, delegation: &Delegation) {
        let mut entry = json!({
            "name": delegation.name, "terminating": false, "threshold": delegation.threshold,
            "keyids": delegation.keys.iter().map(TestKey::keyid).collect::<Vec<_>>(),
        });
        for (name, value) in delegation.members.as_object().unwrap() {
            entry[name] = value.clone();
        }
        let delegations = self.delegations(delegator, &delegation.keys);
        if delegations["roles"].is_null() {
            delegations["roles"] = json!([]);
        }
        delegations["roles"].as_array_mut().unwrap().push(entry);
        self.add_role(&delegation.name, &delegation.keys);
    }

    /// Makes `delegator` delegate to 2^`bit_length` succinct hash bins (TAP 15), all of which have the same key.
    /// Returns the names of the bins, in order.
    ///
    /// # Panics
    ///
    /// Panics if there is no role `delegator`.
    pub fn delegate_to_bins(&mut self, delegator: &str, bit_length: u32, prefix: &str) -> Vec<String> {
        let key = TestKey::new(prefix);
        self.delegations(delegator, std::slice::from_ref(&key))["succinct_roles"] = json!({
            "keyids": [key.keyid()], "threshold": 1, "bit_length": bit_length, "name_prefix": prefix,
        });
        let names: Vec<String> = (0..1_u64 << bit_length).map(|bin| bin_name(prefix, bit_length, bin)).collect();
        for name in &names {
            self.add_role(name, std::slice::from_ref(&key));
        }
        names
    }

    fn delegations(&mut self, delegator: &str, keys: &[TestKey]) -> &mut Value {
        let delegations = &mut self.signed(delegator)["delegations"];
        if delegations.is_null() {
            *delegations = json!({"keys": {}});
        }
        for key in keys {
            delegations["keys"][key.keyid()] = key.object().clone();
        }
        delegations
    }
}

/// Returns the name of the bin that covers the target `path`. The leading bits of the path's SHA-256 select the bin.
///
/// # Panics
///
/// Panics if `bit_length` is not between 1 and 32.
#[must_use]
pub fn bin_of(prefix: &str, bit_length: u32, path: &str) -> String {
    let digest = Sha256::digest(path);
    let head = u32::from_be_bytes(digest[..4].try_into().unwrap());
    bin_name(prefix, bit_length, u64::from(head) >> (32 - bit_length))
}

fn bin_name(prefix: &str, bit_length: u32, bin: u64) -> String {
    let digits = bit_length.div_ceil(4) as usize;
    format!("{prefix}-{bin:0digits$x}")
}
