//! Plans: drafts with their documents, ready to be published or staged.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::RoleName;

use crate::config::Config;
use crate::document::Document;
use crate::draft::{Completed, Completion, Draft};
use crate::pin::usable_keys;
use crate::publish::beside;
use crate::publish::publication::Publication;
use crate::publish::snapshot;
use crate::publish::staged;
use crate::publish::transaction::Observer;
use crate::publish::versions::{Issued, Jumps};
use crate::report::diff::{self, RoleDiff};
use crate::repository::Repository;
use crate::{ClockCheck, Error, PublicationError};

/// How far the clock of this machine may be behind the clocks of others who sign.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::days(1);

/// A draft that is ready to be published or staged.
#[derive(Debug)]
pub struct Plan {
    /// The draft.
    pub draft: Draft,
    /// The documents.
    pub completed: Completed,
    /// The changes of the documents, line by line.
    pub diff: Vec<RoleDiff>,
    /// The roles of the pending change beside the draft, which is not part of this plan.
    pub(crate) pending: Vec<RoleName>,
}

/// The result of concluding a plan.
#[derive(Debug)]
pub enum Outcome {
    /// The draft was empty.
    Nothing,
    /// The draft was published.
    Published {
        /// Whether no client in the middle of an update can fail, because the old keys also signed every rotated role.
        seamless: bool,
    },
    /// The draft is pending: these documents lack signatures.
    Staged(Vec<Document>),
}

/// Which documents of a plan are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// Signs new documents with the available keys. If the draft continues the pending change, signs only snapshot and
    /// timestamp: otherwise anyone who can write to `staged/` would get a signature. [`Repository::sign_staged`] signs the
    /// other roles after a person has reviewed them.
    Now,
    /// Signs all documents with the available keys, including those of the pending change.
    All,
    /// Signs nothing: the plan only shows the changes.
    Never,
}

/// Whether a plan is carried out or only checked.
enum Run<'o> {
    /// Writes the files, and reports each write.
    Real(&'o mut dyn Observer),
    /// Writes nothing.
    Dry,
}

impl Run<'_> {
    fn is_real(&self) -> bool {
        matches!(self, Self::Real(_))
    }
}

impl Repository {
    /// Returns the issued versions of the roles that `draft` changes.
    fn issued(&self, draft: &Draft) -> Result<Issued, Error> {
        let jumps = if self.is_emergency { Jumps::Ignore } else { Jumps::Refuse };
        let mut issued =
            Issued::find(&self.layout, &self.published, draft.targets.keys().chain(&RoleName::ONLINE), jumps)?;
        self.seen.iter().for_each(|(role, version)| issued.raise(role, *version));
        Ok(issued)
    }

    /// Returns whether the private keys on this machine reach the threshold of a top-level role.
    fn can_sign(&self, role: &RoleName) -> bool {
        self.published.root.key_ring(role).is_ok_and(|ring| {
            let here: BTreeSet<&PublicKey> = ring.keys().map(|(_, key)| key).filter(|key| self.keys.has(key)).collect();
            here.len() as u64 >= u64::from(ring.threshold().get())
        })
    }

    /// Refuses a clock that is far behind the time when the published metadata was signed: what it signs would expire
    /// before what clients have, and may have expired when it is published.
    fn check_clock(&self) -> Result<(), Error> {
        if self.is_emergency || self.invocation.clock == ClockCheck::Ignore {
            return Ok(());
        }
        let now = self.invocation.now;
        // The dates show the time of the signature, unless the lifetime has been shortened since. So both roles count.
        let signed = |role: &RoleName, expires: DateTime<Utc>| {
            let lifetime = TimeDelta::days(self.config.role(role).expires_days.into());
            expires.checked_sub_signed(lifetime).unwrap_or(DateTime::<Utc>::MIN_UTC)
        };
        let timestamp = signed(&RoleName::TIMESTAMP, self.published.timestamp.expires);
        let earliest = timestamp.min(signed(&RoleName::SNAPSHOT, self.published.snapshot.expires));
        if earliest.signed_duration_since(now) > CLOCK_TOLERANCE {
            return Err(PublicationError::ClockBehind { now, signed: earliest }.into());
        }
        Ok(())
    }

    /// Completes a draft into a plan.
    ///
    /// # Errors
    /// [`PublicationError::ClockBehind`]; [`PendingError::InTheWay`](crate::PendingError::InTheWay) when the draft changes what a
    /// pending change changes, and does not continue it; when an available key cannot be opened; [`Error::Pending`] when a pending file does not match its entry in the draft.
    pub fn plan(&mut self, mut draft: Draft, signing: Signing) -> Result<Plan, Error> {
        let pending = self.pending_beside(&draft)?;
        if let Some(pending) = &pending {
            draft.later_rings = beside::later_rings(&draft, pending)?;
        }
        if draft.from_staged {
            draft.files = staged::listed_files(&self.layout, &draft, self.target_names())?;
        }
        let entries = snapshot::entries_to_complete(&mut self.published, &draft)?;
        if !entries.is_empty() && draft.again.contains(&RoleName::TIMESTAMP) && self.can_sign(&RoleName::SNAPSHOT) {
            draft.again.insert(RoleName::SNAPSHOT);
        }
        // Not when a pending change is only shown: its dates are fixed.
        if !draft.is_empty() && (signing != Signing::Never || !draft.from_staged) {
            self.check_clock()?;
        }
        if signing != Signing::Never && !draft.is_empty() {
            self.compare_with_served(&draft, &entries)?;
        }
        let issued = self.issued(&draft)?;
        let config = draft.config.as_ref().unwrap_or(&self.config);
        let keys = (signing != Signing::Never).then_some(&self.keys);
        let signs_staged = signing == Signing::All;
        let published = Some(&self.published);
        let accepted = &self.invocation.accepted;
        let now = self.invocation.now;
        let authority = &self.authority;
        let issued = &issued;
        let completion =
            Completion { published, config, keys, issued, authority, entries, signs_staged, accepted, now };
        let mut completed = draft.complete(&completion)?;
        let diff = diff::diff(Some(&self.published), &draft, &mut completed);
        let pending = pending.iter().flat_map(Draft::roles).cloned().collect();
        Ok(Plan { draft, completed, diff, pending })
    }

    /// Publishes the plan if it has all signatures, and stages it otherwise. Afterwards this value has the state of a newly
    /// opened repository.
    ///
    /// # Errors
    /// [`Error::Draft`] when a client would refuse the draft; nothing is published then.
    pub fn conclude(&mut self, plan: &Plan, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        self.lock()?;
        self.carry_out(plan, Run::Real(observer))
    }

    /// Does what [`Repository::conclude`] does, with all its checks, but writes nothing. Afterwards this value has the state that a
    /// newly opened repository would have, and holds the new files in memory.
    ///
    /// # Errors
    /// As [`Repository::conclude`].
    pub fn preview(&mut self, plan: &Plan) -> Result<Outcome, Error> {
        self.carry_out(plan, Run::Dry)
    }

    fn carry_out(&mut self, plan: &Plan, run: Run<'_>) -> Result<Outcome, Error> {
        if plan.draft.is_empty() {
            if let Some(config) = &plan.draft.config {
                self.put_config(config.clone(), &run)?;
            }
            return Ok(Outcome::Nothing);
        }
        let pending = self.pending_beside(&plan.draft)?;
        let incomplete: Vec<Document> = plan.completed.incomplete().cloned().collect();
        if !incomplete.is_empty() {
            return self.stage(plan, incomplete, pending.as_ref(), &run);
        }
        let config = plan.draft.config.as_ref().unwrap_or(&self.config);
        let now = self.invocation.now;
        let publication =
            Publication { layout: &self.layout, published: Some(&self.published), plan, config, key_files: &[] };
        let is_real = run.is_real();
        let (published, seamless) = match run {
            Run::Real(observer) => publication.publish(self.lock()?, now, observer)?,
            Run::Dry => publication.preview(now)?,
        };
        self.published = published;
        if is_real {
            self.remember();
        }
        self.adopt_config(plan.draft.config.clone())?;
        Ok(Outcome::Published { seamless })
    }

    /// Adds the documents to the pending change. `pending` is the pending change that they do not continue.
    fn stage(
        &mut self,
        plan: &Plan,
        mut incomplete: Vec<Document>,
        pending: Option<&Draft>,
        run: &Run<'_>,
    ) -> Result<Outcome, Error> {
        if plan.draft.root.is_none() && plan.draft.targets.is_empty() {
            let roles = incomplete.iter().map(|document| document.role.clone()).collect();
            return Err(Error::MissingKeys { roles });
        }
        if let Some(config) = &plan.draft.config {
            // Keep removed keys until publication: the old keys must also sign a new root.
            self.put_config(config.clone().with_keys_of(&self.config), run)?;
        }
        let beside = pending.map_or_else(|| Ok(Vec::new()), |pending| self.staged_documents(pending))?;
        if run.is_real() {
            staged::write(&self.layout, &plan.draft, plan.completed.all().chain(&beside))?;
            self.remember();
        }
        incomplete.extend(beside.into_iter().filter(|document| !document.missing().is_empty()));
        Ok(Outcome::Staged(incomplete))
    }

    /// Writes the configuration and uses it.
    fn put_config(&mut self, config: Config, run: &Run<'_>) -> Result<(), Error> {
        if run.is_real() {
            self.layout.replace(&self.layout.config(), config.text().as_bytes(), 0o644)?;
        }
        self.adopt_config(Some(config))
    }

    /// Uses the configuration that was written, if there is one, and the keys that it names.
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
