//! A plan: a draft that is ready to be published or staged, and what becomes of it.

use std::collections::BTreeSet;

use lastmile_keys::PublicKey;
use lastmile_metadata::RoleName;

use crate::config::Config;
use crate::document::Document;
use crate::draft::{Completed, Completion, Draft};
use crate::pin::usable_keys;
use crate::publish::publication::Publication;
use crate::publish::snapshot;
use crate::publish::staged;
use crate::publish::transaction::Observer;
use crate::publish::versions::{Issued, Jumps};
use crate::report::diff::{self, RoleDiff};
use crate::repository::Repository;
use crate::{Error, PendingError};

/// A draft that is ready to be published or staged.
#[derive(Debug)]
pub struct Plan {
    /// What changes.
    pub draft: Draft,
    /// The documents.
    pub completed: Completed,
    /// What the documents change, line by line.
    pub diff: Vec<RoleDiff>,
}

/// The result of concluding a plan.
#[derive(Debug)]
pub enum Outcome {
    /// The draft was empty.
    Nothing,
    /// The draft was published.
    Published {
        /// Whether clients in the middle of an update cannot have failed: the old keys signed every rotated role as well.
        seamless: bool,
    },
    /// The draft is pending: these documents lack signatures.
    Staged(Vec<Document>),
}

/// Which documents of a plan are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// New documents, with the available keys. Of a draft that continues the pending change only snapshot and timestamp are
    /// signed: anyone who can write to `staged/` would get a signature otherwise. [`Repository::sign_staged`] signs the
    /// rest once a person has seen it.
    Now,
    /// All documents, with the available keys; those of the pending change too.
    All,
    /// None: the plan only shows what would change.
    Never,
}

impl Repository {
    /// The versions that were issued before of what `draft` changes.
    fn issued(&self, draft: &Draft) -> Result<Issued, Error> {
        let jumps = if self.is_emergency { Jumps::Ignore } else { Jumps::Refuse };
        let mut issued =
            Issued::find(&self.layout, &self.published, draft.targets.keys().chain(&RoleName::ONLINE), jumps)?;
        self.seen.iter().for_each(|(role, version)| issued.raise(role, *version));
        Ok(issued)
    }

    /// Whether enough private keys of a top-level role are on this machine.
    fn can_sign(&self, role: &RoleName) -> bool {
        self.published.root.key_ring(role).is_ok_and(|ring| {
            let here: BTreeSet<&PublicKey> = ring.keys().map(|(_, key)| key).filter(|key| self.keys.has(key)).collect();
            here.len() as u64 >= u64::from(ring.threshold().get())
        })
    }

    /// Completes a draft. Without signing, the plan only shows what would change.
    ///
    /// # Errors
    /// When an available key cannot be opened; [`Error::Pending`] when a file that waits is not what the draft lists.
    pub fn plan(&mut self, mut draft: Draft, signing: Signing) -> Result<Plan, Error> {
        if draft.from_staged {
            let hash_prefixed = self.config.hash_prefixed_targets && self.published.root.consistent_snapshot;
            draft.files = staged::listed_files(&self.layout, &draft, hash_prefixed)?;
        }
        let entries = snapshot::entries_to_complete(&mut self.published, &draft)?;
        if !entries.is_empty() && draft.again.contains(&RoleName::TIMESTAMP) && self.can_sign(&RoleName::SNAPSHOT) {
            draft.again.insert(RoleName::SNAPSHOT);
        }
        if signing != Signing::Never && !draft.is_empty() {
            self.compare_with_served(&draft, &entries)?;
        }
        let issued = self.issued(&draft)?;
        let config = draft.config.as_ref().unwrap_or(&self.config);
        let keys = (signing != Signing::Never).then_some(&self.keys);
        let signs_staged = signing == Signing::All;
        let (published, accepted, now) = (Some(&self.published), &self.invocation.accepted, self.invocation.now);
        let (authority, issued) = (&self.authority, &issued);
        let completion =
            Completion { published, config, keys, issued, authority, entries, signs_staged, accepted, now };
        let mut completed = draft.complete(&completion)?;
        let diff = diff::diff(Some(&self.published), &draft, &mut completed);
        Ok(Plan { draft, completed, diff })
    }

    /// Publishes the plan when it has all signatures, and stages it otherwise. Afterwards the repository is as if it had
    /// been opened anew.
    ///
    /// # Errors
    /// [`Error::Draft`] when a client would refuse it; nothing is published then.
    pub fn conclude(&mut self, plan: &Plan, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        self.lock()?;
        if plan.draft.is_empty() {
            if let Some(config) = &plan.draft.config {
                self.layout.replace(&self.layout.config(), config.text().as_bytes(), 0o644)?;
                self.adopt_config(plan.draft.config.clone())?;
            }
            return Ok(Outcome::Nothing);
        }
        self.spare_staged(&plan.draft)?;
        let incomplete: Vec<Document> = plan.completed.incomplete().cloned().collect();
        if !incomplete.is_empty() {
            return self.stage(plan, incomplete);
        }
        let config = plan.draft.config.as_ref().unwrap_or(&self.config);
        let lock = self.lock()?;
        let publication =
            Publication { layout: &self.layout, lock, published: Some(&self.published), plan, config, key_files: &[] };
        let (published, seamless) = publication.publish(self.invocation.now, observer)?;
        self.published = published;
        self.remember();
        self.adopt_config(plan.draft.config.clone())?;
        Ok(Outcome::Published { seamless })
    }

    /// A change that did not begin with the pending change would take its place, or make it outdated.
    fn spare_staged(&self, draft: &Draft) -> Result<(), Error> {
        let only_online = draft.root.is_none() && draft.targets.is_empty();
        if draft.from_staged || only_online || !staged::is_staged(&self.layout) {
            return Ok(());
        }
        Err(PendingError::InTheWay.into())
    }

    fn stage(&mut self, plan: &Plan, incomplete: Vec<Document>) -> Result<Outcome, Error> {
        if plan.draft.root.is_none() && plan.draft.targets.is_empty() {
            let roles = incomplete.iter().map(|document| document.role.clone()).collect();
            return Err(Error::MissingKeys { roles });
        }
        if let Some(config) = &plan.draft.config {
            // Keys that go are needed until it is published: a new root is signed by the old keys as well.
            let config = config.clone().with_keys_of(&self.config);
            self.layout.replace(&self.layout.config(), config.text().as_bytes(), 0o644)?;
            self.adopt_config(Some(config))?;
        }
        staged::write(&self.layout, &plan.draft, &plan.completed)?;
        self.remember();
        Ok(Outcome::Staged(incomplete))
    }

    /// Goes on with the configuration that was written, if one was, and with the keys that it names.
    fn adopt_config(&mut self, config: Option<Config>) -> Result<(), Error> {
        if let Some(config) = config {
            for uri in usable_keys(&self.layout, &config, &self.invocation, self.digest)? {
                self.keys.add(self.layout.dir(), &uri);
            }
            self.config = config;
        }
        Ok(())
    }
}
