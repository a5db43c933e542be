//! Publishes the files of a plan: determines their destinations and their order (spec 6.3).

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use lastmile_attest::Refused;
use lastmile_metadata::{RoleName, Root};

use crate::check::policies::FailingPackages;
use crate::check::{Check, Checked};
use crate::config::Config;
use crate::document::Document;
use crate::files::digest::FileDigest;
use crate::files::layout::{Layout, Lock};
use crate::publish::compress::Coding;
use crate::publish::journal::{Existing, FileKind, Step};
use crate::publish::observer::Observer;
use crate::publish::plan::Plan;
use crate::publish::queue::Answer;
use crate::publish::transaction::{Content, Prepared, Transaction, check_places};
use crate::publish::versions::RECORD;
use crate::published::Published;
use crate::report::diff;
use crate::{Error, names};

/// A plan that is about to be published.
pub(crate) struct Publication<'a> {
    pub(crate) layout: &'a Layout,
    /// The published state; `None` for a new repository.
    pub(crate) published: Option<&'a Published>,
    pub(crate) plan: &'a Plan,
    pub(crate) config: &'a Config,
    /// The names of key files in `.publishing/` that move to `keys/`.
    pub(crate) key_files: &'a [String],
    /// Whether to publish the plan even if it makes clients refuse packages that are already published.
    pub(crate) failing: FailingPackages,
}

pub(crate) struct PublicationResult {
    /// The new published state.
    pub(crate) published: Published,
    /// Whether clients can update without errors even during the publication.
    pub(crate) seamless: bool,
    /// The packages that were published earlier and that clients refuse from now on.
    pub(crate) refused: Vec<Refused>,
}

impl Publication<'_> {
    /// Writes the files of the plan while simulated clients check the plan. Once the clients have accepted it, moves
    /// the files to their final paths.
    pub(crate) fn publish(
        &self,
        lock: &Lock,
        now: DateTime<Utc>,
        observer: &mut dyn Observer,
    ) -> Result<PublicationResult, Error> {
        let place = RootPlace::of(self.published, self.plan);
        let (checked, prepared) = self.check(now)?.run(|| self.prepare(place, lock, observer));
        let checked: Checked = checked?;
        prepared?.commit(&checked)?;
        let Checked { published, refused } = checked;
        let seamless = place != RootPlace::BeforeTimestamp;
        Ok(PublicationResult { published: published.written(), seamless, refused })
    }

    /// Performs the checks of [`Publication::publish`], but writes nothing. The result is the same, except that the new
    /// files are only in memory.
    pub(crate) fn preview(&self, now: DateTime<Utc>) -> Result<PublicationResult, Error> {
        let place = RootPlace::of(self.published, self.plan);
        let (checked, destinations) = self.check(now)?.run(|| self.check_destinations());
        let Checked { published, refused } = checked?;
        destinations?;
        Ok(PublicationResult { published, seamless: place != RootPlace::BeforeTimestamp, refused })
    }

    fn check(&self, now: DateTime<Utc>) -> Result<Check<'_>, Error> {
        Ok(Check {
            layout: self.layout,
            published: self.published,
            draft: &self.plan.draft,
            completed: &self.plan.completed,
            now: Check::time(now, self.published, self.plan)?,
            names: self.config.target_names(),
            failing: self.failing,
        })
    }

    /// Checks that every file can be moved to its destination.
    fn check_destinations(&self) -> Result<(), Error> {
        let Self { layout, published, plan, config, .. } = *self;
        let root_after = plan.draft.root_after(published)?;
        let mut steps = Vec::new();
        for file in &plan.draft.files {
            let to = Path::new("targets").join(&file.to);
            steps.push(step(to, target_existing(root_after), file.content.clone()));
        }
        for document in plan.completed.all() {
            let to = Path::new("metadata").join(file_name(document, root_after));
            let content = FileDigest::of(&document.file()?);
            for coding in &config.compress {
                steps.push(step(coding.beside(&to), Existing::Replaced, Some(content.clone())));
            }
            steps.push(step(to, existing_of(document, root_after), Some(content)));
        }
        let dir = if layout.dir().exists() { Some(layout.open()?) } else { None };
        check_places(layout, &steps, |parent| dir.as_ref().map_or(Ok(None), |dir| dir.find(parent)))
    }

    fn prepare<'a>(
        &'a self,
        place: RootPlace,
        lock: &Lock,
        observer: &'a mut dyn Observer,
    ) -> Result<Prepared<'a>, Error> {
        let Self { layout, published, plan, config, key_files, .. } = *self;
        let root_after = plan.draft.root_after(published)?;
        let mut publication = Transaction::begin(layout, lock, observer)?;
        for name in key_files {
            publication.add_key(name);
        }
        let documents = &plan.completed.documents;
        let root = |publication: &mut Transaction<'a>| {
            if let Some(root) = &plan.completed.root {
                add(publication, FileKind::Root, root, root_after, &config.compress);
            }
        };
        if place == RootPlace::First {
            root(&mut publication);
        }
        // TUF specification 6.3.1: the target files come first.
        for file in &plan.draft.files {
            publication.add_target(file, target_existing(root_after))?;
        }
        // TUF specification 6.3.1, 6.3.2, 6.3.3: the targets roles come next, then the snapshot, and the timestamp is
        // last.
        for document in documents {
            let rank = match document.role.as_str() {
                "targets" => FileKind::Targets,
                "snapshot" => FileKind::Snapshot,
                "timestamp" => FileKind::Timestamp,
                _ => FileKind::Delegated,
            };
            if rank == FileKind::Timestamp && place == RootPlace::BeforeTimestamp {
                root(&mut publication);
            }
            add(&mut publication, rank, document, root_after, &config.compress);
        }
        if place == RootPlace::Last {
            root(&mut publication);
        }
        if !documents.is_empty() {
            let record = Content::Bytes(plan.completed.record.clone());
            publication.add(FileKind::Config, RECORD.into(), record, Existing::Replaced);
        }
        let served = &plan.draft.requests;
        if !served.is_empty() {
            let changes = diff::json(&plan.diff);
            let text = diff::text(&plan.diff);
            publication.answer_requests(served, Answer::Published { changes, text });
        }
        if plan.draft.from_staged {
            publication.clear_staged();
        }
        if let Some(config) = &plan.draft.config {
            let content = Content::Bytes(config.text().into_bytes());
            publication.add(FileKind::Config, "repo.toml".into(), content, Existing::Replaced);
        }
        publication.prepare()
    }
}

/// Returns a step that is only checked. It has a destination but no source file.
fn step(to: PathBuf, existing: Existing, content: Option<FileDigest>) -> Step {
    Step { rank: FileKind::Config, from: PathBuf::new(), to, existing, is_copy: false, content }
}

fn add<'a>(
    publication: &mut Transaction<'a>,
    rank: FileKind,
    document: &'a Document,
    root_after: &Root,
    codings: &[Coding],
) {
    let to = Path::new("metadata").join(file_name(document, root_after));
    publication.add_document(rank, &to, document, existing_of(document, root_after), codings);
}

fn target_existing(root_after: &Root) -> Existing {
    // TUF specification 3.1.1, 6.2.1: with consistent snapshots, the content of a published target file never changes,
    // whether or not its name has a hash prefix.
    if root_after.consistent_snapshot { Existing::Same } else { Existing::Replaced }
}

fn existing_of(document: &Document, root_after: &Root) -> Existing {
    match root_after.version_in_name(&document.role, document.version) {
        // TUF specification 6.1, 6.2.1: published roots, and other files with a version in their names, never change.
        Some(_) => Existing::Same,
        None => Existing::Replaced,
    }
}

/// The position of the new root in the order of publication. It is chosen so that, if possible, clients can update
/// without errors even during the publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RootPlace {
    /// The root is published first. Clients that already have the new root still accept the old files.
    First,
    /// The root is published after the timestamp. Clients that still have the old root already accept the new files.
    Last,
    /// The root is published just before the timestamp. The old files are not valid under the new root, and the new
    /// files are not valid under the old root, so clients may see errors during the publication.
    BeforeTimestamp,
}

impl RootPlace {
    fn of(published: Option<&Published>, plan: &Plan) -> Self {
        let (Some(published), Some(root)) = (published, &plan.draft.root) else {
            return Self::First;
        };
        let holds = |role: &RoleName| {
            root.key_ring(role).is_ok_and(|ring| match role.as_str() {
                "timestamp" => published.timestamp.verify(role, &ring).is_ok(),
                "snapshot" => published.snapshot.verify(role, &ring).is_ok(),
                _ => published.targets().is_ok_and(|targets| targets.verify(role, &ring).is_ok()),
            })
        };
        if [RoleName::TIMESTAMP, RoleName::SNAPSHOT, RoleName::TARGETS].iter().all(holds) {
            return Self::First;
        }
        if plan.completed.documents.iter().all(Document::is_trusted_by_previous_root) {
            Self::Last
        } else {
            Self::BeforeTimestamp
        }
    }
}

/// Returns the file name of a document below `metadata/`. `root` is the root after the publication.
fn file_name(document: &Document, root: &Root) -> String {
    names::metadata_file(&document.role, root.version_in_name(&document.role, document.version))
}
