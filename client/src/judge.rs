//! Evaluates the policies for a target before the target is downloaded. Finds and reads the evidence for the target and
//! the trust roots of the policies. Passes these files to the crate `lastmile-attest`, which returns a [`Verdict`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use lastmile_attest::{
    Demands, DemandsError, EvidenceContent, EvidenceFile, LocalPolicy, MAX_EVIDENCE_LENGTH, MAX_TRUST_ROOT_LENGTH,
    TrustRootRequest, TrustRoots, Verdict,
};
use lastmile_metadata::{Found, TargetFile, TargetPath};

use crate::download::read;
use crate::driver::{Driver, Source};
use crate::error::{Error, Refusal, RefusedError};
use crate::event::Event;
use crate::search::search_all;
use crate::session::Session;
use crate::store::evidence;
use crate::target::Target;

/// The requirements of all policies for a target, and the files that are needed to check them.
#[derive(Clone, Debug)]
pub(crate) struct Demanded {
    demands: Demands,
    /// The path of each evidence file, with its listed length and hashes, or with `None` if no trusted role lists the
    /// file.
    evidence: Vec<(TargetPath, Option<TargetFile>)>,
    trust_roots: Vec<(TrustRootRequest, Option<TargetFile>)>,
    last: LastVerdict,
}

/// The last [`Verdict`] on a target, with the time as of which the policies were evaluated. Clones of a [`Target`]
/// share this value.
type LastVerdict = Arc<Mutex<Option<(DateTime<Utc>, Verdict)>>>;

impl Demanded {
    /// Returns the requirements for a target, or `None` if no rule of any policy applies to the target.
    pub(crate) fn on(found: &Found, local: &LocalPolicy) -> Result<Option<Demanded>, DemandsError> {
        let demands = Demands::on(found, local)?;
        if demands.is_empty() {
            return Ok(None);
        }
        let evidence = demands.evidence().iter().map(|path| (path.clone(), None)).collect();
        let trust_roots = demands.trust_roots().into_iter().map(|request| (request, None)).collect();
        Ok(Some(Demanded { demands, evidence, trust_roots, last: LastVerdict::default() }))
    }

    /// Returns the target paths of the files to search for: all evidence, and each trust root for which a policy gives
    /// the SHA-256 hash. A trust root without a hash must be listed by the role that signs the policy, so its length
    /// and hashes are known without a search.
    fn to_find(&self) -> impl Iterator<Item = &TargetPath> {
        let evidence = self.evidence.iter().map(|(path, _)| path);
        let is_searched = |request: &TrustRootRequest| matches!(request.listed(), Ok(None));
        let roots = self.trust_roots.iter().map(|(request, _)| request).filter(move |request| is_searched(request));
        evidence.chain(roots.map(TrustRootRequest::path))
    }

    fn found(&mut self, found: &BTreeMap<TargetPath, TargetFile>) {
        for (path, file) in &mut self.evidence {
            *file = found.get(path).cloned();
        }
        for (request, file) in &mut self.trust_roots {
            *file = match request.listed() {
                Ok(Some(listed)) => Some(listed.clone()),
                Ok(None) => found.get(request.path()).cloned(),
                Err(_) => None,
            };
        }
    }

    fn verdict_at(&self, time: DateTime<Utc>) -> Option<Verdict> {
        let verdict = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        verdict.as_ref().filter(|(judged, _)| *judged == time).map(|(_, verdict)| verdict.clone())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EvidenceSource {
    StoreAndMirrors,
    Store,
}

impl Session {
    /// Evaluates the local policy and the policies of the roles on the target's delegation chain, as of the time at
    /// which the session started. The returned verdict states for each rule whether the evidence satisfies the rule.
    /// Reads the evidence and the trust roots from the store, and fetches the files that are not stored. Never fetches
    /// the target itself.
    ///
    /// Every download calls this method first, and refuses the target if [`Verdict::check`] returns an error. A session
    /// evaluates the policies for each target only once.
    ///
    /// # Errors
    ///
    /// An error if evidence or a trust root cannot be read. A verdict that refuses the target is not an error.
    pub async fn judge(&self, target: &Target) -> Result<Verdict, Error> {
        self.judge_with(target, EvidenceSource::StoreAndMirrors).await
    }

    /// Like [`judge`](Session::judge), but makes no network requests.
    ///
    /// # Errors
    ///
    /// The same errors as [`judge`](Session::judge), and [`Error::EvidenceNotStored`] if evidence or a trust root is
    /// not stored.
    pub async fn judge_stored(&self, target: &Target) -> Result<Verdict, Error> {
        self.judge_with(target, EvidenceSource::Store).await
    }

    /// Returns an error unless the policies and the application allow the download of `target`.
    pub(crate) async fn permit(&self, target: &Target) -> Result<(), Error> {
        let approve = &self.context.policies.approve;
        if target.demanded.is_none() && approve.is_none() {
            return Ok(());
        }
        let verdict = self.judge(target).await?;
        self.enforce(&verdict)?;
        let Some(approve) = approve else { return Ok(()) };
        let approved = approve.approve(target.file(), &verdict);
        approved.map_err(|reason| refusal(Refusal::NotApproved { path: target.path.clone(), reason }))
    }

    /// Returns an error if the verdict refuses the target. Sends an event if the local policy makes an exception for
    /// the target.
    pub(crate) fn enforce(&self, verdict: &Verdict) -> Result<(), Error> {
        verdict.check().map_err(|refused| refusal(Refusal::Policy(Box::new(refused))))?;
        if let Some(reason) = verdict.exception() {
            let event = Event::PolicyException { target: verdict.path().clone(), reason: reason.to_owned() };
            self.context.events.handle(&event);
        }
        Ok(())
    }

    /// Finds the evidence files for `targets` and the trust roots of their policies. These files are TUF targets and
    /// are verified like all targets. Policies do not apply to evidence files, because each evidence file would then
    /// need further evidence. Instead, the signatures in the evidence are verified. A trust root must be listed by the
    /// role that signs the policy, or have the hash that the policy gives.
    pub(crate) async fn find_evidence(&mut self, targets: &mut [Option<Target>]) -> Result<(), Error> {
        if targets.iter().flatten().all(|target| target.demanded.is_none()) {
            return Ok(());
        }
        let demanded = targets.iter().flatten().filter_map(|target| target.demanded.as_deref());
        let paths: BTreeSet<&TargetPath> = demanded.flat_map(Demanded::to_find).collect();
        let paths: Vec<TargetPath> = paths.into_iter().cloned().collect();
        let mut driver = Driver::of_session(&self.context, self.source, &self.trusted);
        let files = search_all(&mut driver, &mut self.trusted, &paths, |found| Ok(found.target)).await?;
        let found = paths.into_iter().zip(files).filter_map(|(path, file)| Some((path, file?))).collect();
        for demanded in targets.iter_mut().flatten().filter_map(|target| target.demanded.as_deref_mut()) {
            demanded.found(&found);
        }
        Ok(())
    }

    async fn judge_with(&self, target: &Target, source: EvidenceSource) -> Result<Verdict, Error> {
        let time = self.trusted.start_time();
        let Some(demanded) = &target.demanded else {
            let found = Found { chain: Vec::new(), target: target.file().clone() };
            return Ok(Demands::on(&found, &LocalPolicy::default())?.judge(&[], &TrustRoots::default(), time));
        };
        if let Some(verdict) = demanded.verdict_at(time) {
            return Ok(verdict);
        }
        let mut roots = TrustRoots::default();
        for (request, file) in &demanded.trust_roots {
            match file {
                Some(file) if file.length > MAX_TRUST_ROOT_LENGTH => request.too_long(file.length, &mut roots),
                // If the trust root cannot be used, evidence that needs it does not count, and the verdict states the
                // reason.
                Some(file) => drop(request.load(&self.trust_root(file, source).await?, &mut roots)),
                None => request.missing(&mut roots),
            }
        }
        let mut files = Vec::new();
        for (path, file) in &demanded.evidence {
            let content = match file {
                None => EvidenceContent::Unlisted,
                Some(file) if file.length > MAX_EVIDENCE_LENGTH => EvidenceContent::TooLong(file.length),
                Some(file) => EvidenceContent::Read(self.evidence(file, source).await?),
            };
            files.push(EvidenceFile { path: path.clone(), content });
        }
        let verdict = demanded.demands.judge(&files, &roots, time);
        *demanded.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, verdict.clone()));
        Ok(verdict)
    }

    /// If several downloads need the same trust root, the first download reads it while the others wait.
    async fn trust_root(&self, file: &TargetFile, source: EvidenceSource) -> Result<Arc<[u8]>, Error> {
        let mut known = self.trust_roots.lock().await;
        if let Some((_, content)) = known.iter().find(|(known, _)| known == file) {
            return Ok(Arc::clone(content));
        }
        let content: Arc<[u8]> = self.evidence(file, source).await?.into();
        known.push((file.clone(), Arc::clone(&content)));
        Ok(content)
    }

    /// Reads the file from the store or, if it is not stored, from a mirror.
    async fn evidence(&self, file: &TargetFile, source: EvidenceSource) -> Result<Vec<u8>, Error> {
        let time = self.trusted.start_time();
        let is_writable = self.source == Source::MirrorsAndStore;
        let store = &self.context.store;
        if let Some(content) = evidence::read(store, file)? {
            if is_writable {
                evidence::mark_used(store, file, time).await?;
            }
            return Ok(content);
        }
        if source == EvidenceSource::Store {
            return Err(Error::EvidenceNotStored(file.path.clone()));
        }
        let content = read(&self.context, file, self.target_names(), MAX_EVIDENCE_LENGTH).await?;
        if is_writable {
            evidence::keep(store, file, &content, time).await?;
        }
        Ok(content)
    }
}

fn refusal(refusal: Refusal) -> Error {
    RefusedError::from(refusal).into()
}
