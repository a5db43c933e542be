//! The mirrors of one repository, and the order in which the client tries them (spec 4.7).

use std::sync::atomic::{AtomicBool, Ordering};

use crate::net::base_url::{BaseUrl, FileUrl};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) metadata: BaseUrl,
    pub(crate) targets: BaseUrl,
}

/// The mirrors in order of priority, each with a flag that is set if the mirror has failed during this update.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    mirrors: Vec<(Mirror, AtomicBool)>,
}

impl Mirrors {
    pub(crate) fn new(mirrors: Vec<Mirror>) -> Mirrors {
        Mirrors { mirrors: mirrors.into_iter().map(|mirror| (mirror, false.into())).collect() }
    }

    /// Clears the failures of all mirrors. Call this method at the start of each update.
    pub(crate) fn reset(&self) {
        for (_, failed) in &self.mirrors {
            failed.store(false, Ordering::Relaxed);
        }
    }

    /// Returns all mirrors in order (spec 4.7). Mirrors that failed during this update come last, so that the client
    /// tries a broken or malicious mirror once per update instead of once per file.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = MirrorHandle<'_>> {
        let (failed, good): (Vec<_>, Vec<_>) =
            self.mirrors.iter().partition(|(_, failed)| failed.load(Ordering::Relaxed));
        good.into_iter().chain(failed).map(|(mirror, failed)| MirrorHandle { mirror, failed })
    }
}

pub(crate) struct MirrorHandle<'a> {
    mirror: &'a Mirror,
    failed: &'a AtomicBool,
}

impl MirrorHandle<'_> {
    /// Returns the base URL of the metadata files.
    pub(crate) fn base(&self) -> &BaseUrl {
        &self.mirror.metadata
    }

    pub(crate) fn metadata(&self, file_name: &str) -> FileUrl {
        self.mirror.metadata.file(file_name)
    }

    pub(crate) fn target(&self, url_path: &str) -> FileUrl {
        self.mirror.targets.file(url_path)
    }

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
        let base = |url: &str| BaseUrl::new(url).unwrap();
        let mirror = |url: &str| Mirror { metadata: base(url), targets: base(url) };
        let mirrors = Mirrors::new(vec![mirror("http://a/"), mirror("http://b/"), mirror("http://c/")]);
        let order = || mirrors.in_order().map(|asked| asked.base().to_string()).collect::<Vec<_>>();
        assert_eq!(order(), ["http://a/", "http://b/", "http://c/"]);
        mirrors.in_order().next().unwrap().failed();
        assert_eq!(order(), ["http://b/", "http://c/", "http://a/"]);
        mirrors.reset();
        assert_eq!(order(), ["http://a/", "http://b/", "http://c/"]);
    }
}
