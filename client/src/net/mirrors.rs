//! The mirrors of one repository, and the order in which they are asked (spec 4.7).

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use crate::net::fetch::url_of;

/// Where a repository can be fetched from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Mirror {
    /// Where the metadata files lie.
    pub(crate) metadata_url: String,
    /// Where the targets lie.
    pub(crate) targets_url: String,
}

/// Mirrors in the order of their priority, and which of them let us down.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    mirrors: Vec<(Mirror, AtomicBool)>,
}

impl Mirrors {
    pub(crate) fn new(mirrors: Vec<Mirror>) -> Mirrors {
        Mirrors { mirrors: mirrors.into_iter().map(|mirror| (mirror, false.into())).collect() }
    }

    /// For a new update: every mirror gets its chance again.
    pub(crate) fn reset(&self) {
        for (_, failed) in &self.mirrors {
            failed.store(false, Ordering::Relaxed);
        }
    }

    /// All mirrors; those that failed during this update come last, so that a dead or lying one
    /// costs one attempt and not one per file.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = MirrorHandle<'_>> {
        let (failed, good): (Vec<_>, Vec<_>) =
            self.mirrors.iter().partition(|(_, failed)| failed.load(Ordering::Relaxed));
        good.into_iter().chain(failed).map(|(mirror, failed)| MirrorHandle { mirror, failed })
    }
}

/// A mirror that is being asked.
pub(crate) struct MirrorHandle<'a> {
    mirror: &'a Mirror,
    failed: &'a AtomicBool,
}

impl MirrorHandle<'_> {
    pub(crate) fn metadata(&self, file_name: &str) -> String {
        url_of(&self.mirror.metadata_url, file_name)
    }

    pub(crate) fn target(&self, url_path: &str) -> String {
        url_of(&self.mirror.targets_url, url_path)
    }

    /// Whether both are the same mirror.
    pub(crate) fn is(&self, other: &MirrorHandle<'_>) -> bool {
        std::ptr::eq(self.mirror, other.mirror)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_that_failed_comes_last_until_the_next_update() {
        let mirror = |name: &str| Mirror { metadata_url: name.into(), targets_url: name.into() };
        let mirrors = Mirrors::new(vec![mirror("a"), mirror("b"), mirror("c")]);
        let order = || mirrors.in_order().map(|asked| asked.metadata("")).collect::<Vec<_>>();
        assert_eq!(order(), ["a/", "b/", "c/"]);
        mirrors.in_order().next().unwrap().failed();
        assert_eq!(order(), ["b/", "c/", "a/"]);
        mirrors.reset();
        assert_eq!(order(), ["a/", "b/", "c/"]);
    }
}
