//! Turns a [`Draft`] into a [`Plan`]. Then publishes the plan, stores it as the pending change, or only previews it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_keys::PublicKey;
use lastmile_metadata::{KeyRing, RoleName};

use crate::config::Config;
use crate::document::Document;
use crate::draft::Draft;
use crate::publish::beside;
use crate::publish::completion::Completion;
use crate::publish::observer::Observer;
use crate::publish::plan::{Outcome, Plan, Signing};
use crate::publish::publication::{Publication, PublicationResult};
use crate::publish::snapshot;
use crate::publish::staged;
use crate::publish::versions::{Issued, Jumps};
use crate::report::diff;
use crate::repository::Repository;
use crate::{ClockCheck, Error, PublicationError};

/// How far this machine's clock may be behind the clocks of other signers.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::days(1);

/// Whether a plan is carried out or only previewed.
enum Run<'o> {
    Real(&'o mut dyn Observer),
    Dry,
}

impl Run<'_> {
    fn is_real(&self) -> bool {
        matches!(self, Self::Real(_))
    }
}

impl Repository {
    fn issued(&self, draft: &Draft) -> Result<Issued, Error> {
        let jumps = if self.is_emergency { Jumps::Ignore } else { Jumps::Refuse };
        let mut issued =
            Issued::find(&self.layout, &self.published, draft.targets.keys().chain(&RoleName::ONLINE), jumps)?;
        self.seen.iter().for_each(|(role, version)| issued.raise(role, *version));
        Ok(issued)
    }

    /// Returns whether the available keys reach the threshold of `role`. Returns false for a delegated role that has
    /// not been read.
    pub(crate) fn can_sign(&self, role: &RoleName) -> bool {
        self.published.key_ring(role).is_ok_and(|ring| self.can_sign_with(&ring))
    }

    pub(crate) fn can_sign_with(&self, ring: &KeyRing) -> bool {
        let here: BTreeSet<&PublicKey> = ring.keys().map(|(_, key)| key).filter(|key| self.keys.has(key)).collect();
        here.len() as u64 >= u64::from(ring.threshold().get())
    }

    /// Refuses to sign if this machine's clock is far behind the time at which the published metadata was signed.
    /// Otherwise, new metadata would expire before the published metadata, and might already have expired when it is
    /// published.
    fn check_clock(&self) -> Result<(), Error> {
        if self.is_emergency || self.invocation.clock == ClockCheck::Ignore {
            return Ok(());
        }
        let now = self.invocation.now;
        // Estimate when the published metadata was signed: at its expiry date minus the configured lifetime. If the
        // lifetime has been shortened since then, the estimate is too late. Therefore, use the earlier of two
        // estimates, one from the timestamp and one from the snapshot. It is too late only if both lifetimes were
        // shortened.
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

    /// Turns a draft into a plan: creates and signs its documents.
    ///
    /// # Errors
    /// [`PublicationError::ClockBehind`] if this machine's clock is behind;
    /// [`PendingError::InTheWay`](crate::PendingError::InTheWay) if the draft conflicts with the pending change;
    /// [`Error::Pending`] if a pending file does not match its target entry. Also returns an error if an available key
    /// cannot be opened.
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
        // Skip this check if a pending change is only displayed, because its expiry dates are already fixed.
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
        let diff = diff::diff(Some(&self.published), &draft, &mut completed)?;
        let pending = pending.iter().flat_map(Draft::roles).cloned().collect();
        Ok(Plan { draft, completed, diff, pending })
    }

    /// Publishes the plan if no signatures are missing. Otherwise, stores it in `staged/` as the pending change.
    /// Afterwards, `self` has the state of a newly opened repository.
    ///
    /// # Errors
    /// [`Error::Draft`] if clients would refuse the draft. [`Error::MissingKeys`] if signatures are missing in a plan
    /// that only renews the snapshot or the timestamp. In these cases, nothing is published.
    pub fn conclude(&mut self, plan: &Plan, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        self.lock()?;
        self.carry_out(plan, Run::Real(observer))
    }

    /// Performs all checks of [`Repository::conclude`], but writes nothing. Afterwards, `self` has the same state as
    /// after [`Repository::conclude`], except that the new files are only in memory.
    ///
    /// # Errors
    /// Returns the errors of [`Repository::conclude`].
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
        let publication = Publication {
            layout: &self.layout,
            published: Some(&self.published),
            plan,
            config,
            key_files: &[],
            failing: self.failing,
        };
        let is_real = run.is_real();
        let PublicationResult { published, seamless, refused } = match run {
            Run::Real(observer) => publication.publish(self.lock()?, now, observer)?,
            Run::Dry => publication.preview(now)?,
        };
        self.published = published;
        if is_real {
            self.remember();
        }
        self.adopt_config(plan.draft.config.clone())?;
        Ok(Outcome::Published { seamless, refused })
    }

    /// Writes the documents of the plan to `staged/`, together with the documents of `pending`, a pending change that
    /// is independent of the plan.
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
            // Keep the old keys in the configuration until publication. The keys of the old root must also sign a new
            // root, and the tool finds them through the configuration.
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

    fn put_config(&mut self, config: Config, run: &Run<'_>) -> Result<(), Error> {
        if run.is_real() {
            self.layout.replace(&self.layout.config(), config.text().as_bytes(), 0o644)?;
        }
        self.adopt_config(Some(config))
    }

    /// Applies the new configuration, if there is one, and adds the keys that it names.
    fn adopt_config(&mut self, config: Option<Config>) -> Result<(), Error> {
        if let Some(config) = config {
            for uri in self.invocation.usable_keys(&self.layout, &config, self.digest)? {
                self.keys.add(self.layout.dir(), &uri);
            }
            self.config = config;
        }
        Ok(())
    }
}
