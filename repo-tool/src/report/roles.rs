//! The status of a repository's roles: their versions, expiry dates and keys, and how urgently they must be renewed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use lastmile_metadata::{DelegatedRoles, KeyRing, RoleName, Version, format_time};
use serde_json::{Value, json};

use crate::config::Config;
use crate::key_store::KeyStore;
use crate::published::Published;
use crate::trusting::{OddKeyId, odd_ids, odd_in_root};
use crate::{Error, NotFound, Renewal};

/// The status of a role.
#[derive(Clone, Debug)]
pub struct RoleStatus {
    /// The name of the role, or `PREFIX-*` for succinct bins, which are shown together because they share their keys.
    pub name: String,
    /// The version of the role, or the highest version of the bins.
    pub version: Version,
    /// The expiry date of the role, or the earliest expiry date of the bins.
    pub expires: DateTime<Utc>,
    /// The number of keys that must sign.
    pub threshold: u32,
    /// The keys of the role.
    pub keys: Vec<KeyStatus>,
    /// The number of distinct keys with which lastmile can verify signatures of the role.
    pub usable_keys: usize,
    /// Key IDs in the role's key list that have no usable key, or that are listed more than once.
    pub odd: Vec<OddKeyId>,
    /// How urgently the role must be renewed. For bins, this is the urgency of the most urgent bin.
    pub renewal: Renewal,
    /// The time from which the role should be renewed.
    pub renew_from: DateTime<Utc>,
}

/// The status of a key of a role.
#[derive(Clone, Debug)]
pub struct KeyStatus {
    /// The key ID.
    pub id: String,
    /// The key type.
    pub keytype: &'static str,
    /// The URI of the private key file or the name of the signer, if the private key is on this machine.
    pub uri: Option<String>,
}

impl RoleStatus {
    /// Returns whether the role has enough usable keys to be signed again.
    #[must_use]
    pub fn can_be_signed(&self) -> bool {
        self.usable_keys >= self.threshold as usize
    }

    /// Merges the status of another role that is shown under the same name. Keeps the threshold and the keys of the
    /// role that is harder to sign: a role with too few usable keys, or else the role with fewer usable keys.
    pub(crate) fn combine(&mut self, other: Self) {
        self.version = self.version.max(other.version);
        self.expires = self.expires.min(other.expires);
        self.renewal = self.renewal.max(other.renewal);
        self.renew_from = self.renew_from.min(other.renew_from);
        if (other.can_be_signed(), other.usable_keys) < (self.can_be_signed(), self.usable_keys) {
            self.threshold = other.threshold;
            self.keys = other.keys;
            self.usable_keys = other.usable_keys;
            self.odd = other.odd;
        }
    }

    pub(crate) fn json(&self) -> Value {
        let key = |key: &KeyStatus| json!({ "keyid": key.id, "keytype": key.keytype, "uri": key.uri });
        json!({
            "role": self.name, "version": self.version.get(), "expires": format_time(&self.expires),
            "threshold": self.threshold, "keys": self.keys.iter().map(key).collect::<Vec<_>>(),
            "due": self.renewal >= Renewal::Due, "expired": self.renewal == Renewal::Expired, "renewal": self.renewal.name(),
            "renew_from": format_time(&self.renew_from),
            "unusable": self.odd.iter().map(OddKeyId::to_string).collect::<Vec<_>>(),
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Schedule<'a> {
    /// The renewal periods in `repo.toml`.
    Config(&'a Config),
    /// A role is overdue if it expires within this time. This schedule applies if `repo.toml` is not on this machine.
    #[cfg(feature = "cli")]
    Within(chrono::TimeDelta),
}

impl Schedule<'_> {
    fn renewal(self, role: &RoleName, expires: DateTime<Utc>, now: DateTime<Utc>) -> Renewal {
        match self {
            Self::Config(config) => config.role(role).renewal(expires, now),
            #[cfg(feature = "cli")]
            Self::Within(_) if expires <= now => Renewal::Expired,
            #[cfg(feature = "cli")]
            Self::Within(time) if expires - now <= time => Renewal::Overdue,
            #[cfg(feature = "cli")]
            Self::Within(_) => Renewal::Later,
        }
    }

    fn renew_from(self, role: &RoleName, expires: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Config(config) => config.role(role).renew_from(expires),
            #[cfg(feature = "cli")]
            Self::Within(time) => {
                (expires - time).min(crate::config::RoleConfig::default_for(role).renew_from(expires))
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct RoleContext<'a> {
    /// The keys on this machine, if the repository's folder is known.
    pub(crate) keys: Option<&'a KeyStore>,
    pub(crate) schedule: Schedule<'a>,
    pub(crate) now: DateTime<Utc>,
}

impl RoleContext<'_> {
    pub(crate) fn top_level(&self, published: &Published) -> Result<Vec<RoleStatus>, Error> {
        RoleName::TOP_LEVEL.iter().map(|name| self.top_level_role(published, name)).collect()
    }

    /// Reads all delegated roles and returns their status. Combines the succinct bins of a role into one status.
    pub(crate) fn delegated(&self, published: &mut Published) -> Result<Vec<RoleStatus>, Error> {
        let mut roles = Vec::new();
        let mut bins: Option<(RoleName, RoleStatus)> = None;
        for (name, delegator) in published.read_all()? {
            let Some(delegator) = delegator else { continue };
            let status = self.delegated_role(published, &name, &delegator)?;
            match &mut bins {
                Some((of, all)) if *of == delegator && all.name == status.name => all.combine(status),
                _ => roles.extend(bins.replace((delegator, status)).map(|(_, status)| status)),
            }
        }
        roles.extend(bins.map(|(_, status)| status));
        Ok(roles)
    }

    fn top_level_role(&self, published: &Published, name: &RoleName) -> Result<RoleStatus, Error> {
        let (version, expires) = match name.as_str() {
            "root" => (published.root.version, published.root.expires),
            "timestamp" => (published.timestamp.version, published.timestamp.expires),
            "snapshot" => (published.snapshot.version, published.snapshot.expires),
            _ => (published.targets()?.version, published.targets()?.expires),
        };
        let ring = published.root.key_ring(name)?;
        let odd = odd_in_root(&published.root).into_iter().filter(|(role, _)| role == name).map(|(_, odd)| odd);
        Ok(RoleStatus { odd: odd.collect(), ..self.role(name.to_string(), name, version, expires, &ring) })
    }

    fn delegated_role(
        &self,
        published: &Published,
        name: &RoleName,
        delegator: &RoleName,
    ) -> Result<RoleStatus, Error> {
        let missing = || NotFound::Role { role: name.clone() };
        let delegations = published.known(delegator).and_then(|view| view.delegations.as_ref()).ok_or_else(missing)?;
        let ring = delegations.key_ring(delegator, name)?;
        let role = published.known(name).ok_or_else(missing)?;
        let (shown, keyids) = match &delegations.roles {
            DelegatedRoles::Succinct(bins) => (format!("{}-*", bins.name_prefix()), Some(&bins.keyids)),
            DelegatedRoles::Listed(roles) => {
                let listed = roles.iter().find(|delegation| delegation.name == *name);
                (name.to_string(), listed.map(|delegation| &delegation.keyids))
            }
        };
        let odd = keyids.map(|keyids| odd_ids(&delegations.keys, keyids)).unwrap_or_default();
        Ok(RoleStatus { odd, ..self.role(shown, name, role.version, role.expires, &ring) })
    }

    /// `shown` is the name of the role in the report. Leaves [`RoleStatus::odd`] empty.
    pub(crate) fn role(
        &self,
        shown: String,
        name: &RoleName,
        version: Version,
        expires: DateTime<Utc>,
        ring: &KeyRing,
    ) -> RoleStatus {
        let keys = ring.keys().map(|(id, key)| KeyStatus {
            id: id.as_str().to_string(),
            keytype: key.keytype(),
            uri: self.keys.and_then(|keys| keys.name_of(key)).map(ToString::to_string),
        });
        RoleStatus {
            name: shown,
            version,
            expires,
            threshold: ring.threshold().get(),
            keys: keys.collect(),
            usable_keys: usable_keys(ring),
            odd: Vec::new(),
            renewal: self.schedule.renewal(name, expires, self.now),
            renew_from: self.schedule.renew_from(name, expires),
        }
    }
}

/// Counts a key once, even if it is listed under several IDs.
pub(crate) fn usable_keys(ring: &KeyRing) -> usize {
    ring.keys().map(|(_, key)| key).collect::<BTreeSet<_>>().len()
}
