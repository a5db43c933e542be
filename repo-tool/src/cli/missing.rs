//! Lists the missing signatures in human-readable form. If many documents need the same signatures, as bins do, they
//! share one line.

use lastmile_metadata::{RoleName, Version};

use super::counts::{MAX_NAMED, some_of};
use super::key_names::KeyNames;
use crate::document::Missing;

struct Group {
    /// The missing signatures, or `None` if the documents have all signatures.
    needed: Option<String>,
    documents: Vec<(RoleName, Version)>,
}

pub(super) struct MissingLine {
    /// The names of the documents followed by a verb, such as `root version 2 needs`.
    pub(super) documents: String,
    /// The missing signatures, or `None` if the documents have all signatures.
    pub(super) needed: Option<String>,
}

/// Returns the lines about `documents`. A document has one line for each set of keys that must still sign it; for a new
/// root, these can be the old and the new root keys. A document that has all signatures has a single line. If more than
/// [`MAX_NAMED`] documents need the same signatures, they share one line.
pub(super) fn missing_lines(
    documents: impl IntoIterator<Item = (RoleName, Version, Vec<Missing>)>,
    names: &KeyNames,
) -> Vec<MissingLine> {
    let mut groups: Vec<Group> = Vec::new();
    for (role, version, missing) in documents {
        let mut needed: Vec<Option<String>> =
            missing.iter().map(|missing| Some(missing.describe(|id| names.get(id)))).collect();
        if needed.is_empty() {
            needed.push(None);
        }
        for needed in needed {
            let document = (role.clone(), version);
            match groups.iter_mut().find(|group| group.needed == needed) {
                Some(group) => group.documents.push(document),
                None => groups.push(Group { needed, documents: vec![document] }),
            }
        }
    }
    let mut lines = Vec::new();
    for Group { needed, documents } in groups {
        let named = |(role, version): (RoleName, Version)| format!("{role} version {version}");
        if documents.len() > MAX_NAMED {
            let verb = if needed.is_some() { "need" } else { "have" };
            let documents = format!("{} {verb}", some_of(documents.into_iter().map(named)));
            lines.push(MissingLine { documents, needed });
            continue;
        }
        let verb = if needed.is_some() { "needs" } else { "has" };
        for document in documents {
            lines.push(MissingLine { documents: format!("{} {verb}", named(document)), needed: needed.clone() });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use lastmile_metadata::KeyId;

    use super::*;

    #[test]
    fn many_documents_that_need_the_same_signatures_share_one_line() {
        let missing = |count| Missing { count, candidates: vec![KeyId::new("0123456789")] };
        let document = |number: u32| {
            let role = RoleName::delegated(&format!("bin-{number:04x}")).unwrap();
            (role, Version::ONE, vec![missing(1)])
        };
        let mut documents: Vec<_> = (0..16384).map(document).collect();
        documents.push((RoleName::ROOT, Version::ONE, vec![missing(2)]));
        documents.push((RoleName::TARGETS, Version::ONE, Vec::new()));
        let lines = missing_lines(documents, &KeyNames::default());
        let lines: Vec<String> =
            lines.into_iter().map(|line| format!("{} {}", line.documents, line.needed.unwrap_or_default())).collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("bin-0000 version 1, bin-0001 version 1, "), "{lines:?}");
        assert!(lines[0].ends_with(" and 16376 more need 1 more signature, from 01234567"), "{lines:?}");
        assert_eq!(lines[1], "root version 1 needs 2 more signatures, from 01234567");
        assert_eq!(lines[2], "targets version 1 has ");
    }
}
