//! Collects the lines that describe the changes to a metadata document.

use std::collections::{BTreeMap, BTreeSet};

use lastmile_client::text::printable;
use lastmile_metadata::changes::Pointer;
use lastmile_metadata::{Key, KeyId, RoleName};

use super::keys::{KeysBefore, RoleKeyList, key_lines};
use super::lines::Lines;
use super::role_diff::Sign;
use super::unusual::Unusual;

pub(super) struct Explanation {
    pub(super) role: RoleName,
    /// Whether the role has not been published yet.
    pub(super) is_new: bool,
    pub(super) lines: Lines,
    pub(super) routine: Lines,
    pub(super) unusual: Vec<Unusual>,
}

impl Explanation {
    pub(super) fn unusual_line(&mut self, sign: Sign, pointer: &Pointer, line: &str) {
        self.lines.push(sign, line);
        self.unusual(pointer, line);
    }

    /// Adds a member or key that a signer must accept by name, with the line that describes it.
    pub(super) fn unusual(&mut self, pointer: &Pointer, line: &str) {
        let role = self.role.clone();
        let pointer = pointer.clone();
        self.unusual.push(Unusual { role, pointer, line: printable(line) });
    }

    /// Describes the changed keys of a root or of delegations. `below` contains the names of the members that enclose
    /// the member `keys`.
    pub(super) fn keys(
        &mut self,
        below: &[&str],
        before: KeysBefore<'_>,
        after: &BTreeMap<KeyId, Key>,
        rings: &[RoleKeyList<'_>],
        touched: &BTreeSet<&str>,
    ) {
        for (segments, line) in key_lines(&mut self.lines, before, after, rings, touched) {
            let pointer = below.iter().map(ToString::to_string).chain(segments).collect();
            self.unusual(&pointer, &line);
        }
    }
}
