//! The trusted top-level roles, as `refresh` and `status` report them.

use chrono::{DateTime, Utc};
use lastmile_metadata::{RoleName, TrustedMetadata, Version, format_time};
use serde_json::{Value, json};

pub(super) struct TrustedRole {
    pub(super) name: RoleName,
    pub(super) version: Version,
    pub(super) expires: DateTime<Utc>,
}

impl TrustedRole {
    pub(super) fn document(&self) -> Value {
        json!({
            "role": self.name.as_str(),
            "version": self.version.get(),
            "expires": format_time(&self.expires),
        })
    }

    pub(super) fn state(&self, now: DateTime<Utc>, limit: DateTime<Utc>) -> &'static str {
        if self.expires <= now {
            "expired"
        } else if self.expires <= limit {
            "expires soon"
        } else {
            "good"
        }
    }
}

pub(super) fn roles(trusted: &TrustedMetadata) -> Vec<TrustedRole> {
    let root = trusted.root();
    let timestamp = trusted.timestamp();
    let snapshot = trusted.snapshot();
    let targets = trusted.targets();
    let [a, b, c, d] = RoleName::TOP_LEVEL;
    vec![
        TrustedRole { name: a, version: root.version, expires: root.expires },
        TrustedRole { name: b, version: timestamp.version, expires: timestamp.expires },
        TrustedRole { name: c, version: snapshot.version, expires: snapshot.expires },
        TrustedRole { name: d, version: targets.version(), expires: targets.expires() },
    ]
}
