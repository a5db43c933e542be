//! Delegations of the simulated repository (spec 4.5, TAP 15).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::key::TestKey;
use crate::repository::Repository;

/// One delegation to be, with a key made from the role's name unless others are given.
#[derive(Debug, Clone)]
pub struct Delegation {
    name: String,
    keys: Vec<TestKey>,
    threshold: u32,
    members: Value,
}

impl Delegation {
    /// To `name`, non-terminating, for the paths that match `patterns`.
    #[must_use]
    pub fn paths(name: &str, patterns: &[&str]) -> Delegation {
        Delegation::with(name, json!({"paths": patterns}))
    }

    /// To `name`, non-terminating, for the paths whose digest begins with one of `prefixes`.
    #[must_use]
    pub fn hash_prefixes(name: &str, prefixes: &[&str]) -> Delegation {
        Delegation::with(name, json!({"path_hash_prefixes": prefixes}))
    }

    /// To `name`, non-terminating, with any further members.
    #[must_use]
    pub fn with(name: &str, members: Value) -> Delegation {
        Delegation { name: name.into(), keys: vec![TestKey::new(name)], threshold: 1, members }
    }

    /// The same, terminating.
    #[must_use]
    pub fn terminating(mut self) -> Delegation {
        self.members["terminating"] = json!(true);
        self
    }

    /// The same, to these keys.
    #[must_use]
    pub fn keys(mut self, keys: &[TestKey], threshold: u32) -> Delegation {
        self.keys = keys.to_vec();
        self.threshold = threshold;
        self
    }
}

impl Repository {
    /// Appends a delegation to those of `delegator`; the role gets an empty document if it has none.
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
        self.admit(&delegation.name, &delegation.keys);
    }

    /// Makes `delegator` delegate to succinct hash bins (TAP 15), one key for all of them; answers their names.
    pub fn delegate_to_bins(&mut self, delegator: &str, bit_length: u32, prefix: &str) -> Vec<String> {
        let key = TestKey::new(prefix);
        self.delegations(delegator, std::slice::from_ref(&key))["succinct_roles"] = json!({
            "keyids": [key.keyid()], "threshold": 1, "bit_length": bit_length, "name_prefix": prefix,
        });
        let names: Vec<String> = (0..1_u64 << bit_length).map(|bin| bin_name(prefix, bit_length, bin)).collect();
        for name in &names {
            self.admit(name, std::slice::from_ref(&key));
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

/// The bin that is responsible for `path`: the leading bits of its digest.
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
