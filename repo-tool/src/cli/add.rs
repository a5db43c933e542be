//! `add` and `remove`.

use std::path::Path;

use lastmile_metadata::{RoleName, TargetPath};

use super::args::{Add, Remove};
use super::change::{conclude, publish};
use super::output::Output;
use super::{Context, Exit};
use crate::edit::spread::Listings as _;
use crate::ingest::{self, Source};
use crate::list::List;
use crate::policy::Policy;
use crate::queue::Request;
use crate::{Error, names};

pub(super) fn add(context: &Context<'_>, args: &Add, output: &mut Output) -> Result<Exit, Error> {
    let role = args.role.as_deref().map_or(Ok(RoleName::TARGETS), names::role)?;
    if let Some(list) = &args.from_list {
        return add_list(context, &role, list, output);
    }
    let custom = ingest::custom(&args.custom)?;
    let sources = sources(args)?;
    let bar = output.bar("copying", sources.len());
    let progress = |done| bar.set_position(done as u64);
    if !context.global.dry_run {
        let layout = context.layout();
        let policy = Policy::read(&layout)?;
        let request = Request::enter(&layout, &policy, Some(role), &sources, custom.as_ref(), &progress)?;
        bar.finish_and_clear();
        return publish(context, &request, output);
    }
    let mut repository = context.open(output)?;
    let draft = repository.staged()?;
    let draft = repository.preview_files(draft, &role, &sources, custom.as_ref(), &progress)?;
    bar.finish_and_clear();
    conclude(context, &mut repository, draft, output)
}

/// Lists what a file says, whose bytes are elsewhere.
fn add_list(context: &Context<'_>, role: &RoleName, list: &Path, output: &mut Output) -> Result<Exit, Error> {
    let length = list.metadata().map_or(0, |found| usize::try_from(found.len()).unwrap_or(usize::MAX));
    let bar = output.bar("reading", length);
    let list = List::read(list, &|done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    if list.is_empty() {
        return Err(Error::NotFound("there are no targets in the list".into()));
    }
    let mut repository = context.open(output)?;
    let draft = repository.staged()?;
    if !context.global.dry_run {
        repository.prefetch_keys(&[RoleName::TARGETS]);
    }
    let bar = output.bar("listing", list.len());
    let mut edit = repository.edit(draft);
    edit.fill(role, &list, &|done| bar.set_position(done as u64))?;
    let draft = edit.finish()?;
    bar.finish_and_clear();
    drop(list);
    conclude(context, &mut repository, draft, output)
}

/// All files that are named, each with its target path; no path twice.
fn sources(args: &Add) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for path in &args.paths {
        let path = &args_path(path)?;
        sources.extend(ingest::find(path, args.under.as_deref())?);
    }
    if let Some(name) = &args.name {
        match sources.as_mut_slice() {
            [only] => only.name = ingest::target_path(name)?,
            _ => return Err(Error::Usage(format!("--name names one file, and here are {}", sources.len()))),
        }
    }
    if sources.is_empty() {
        return Err(Error::NotFound("there are no files in what you name".into()));
    }
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    let twice = sources.windows(2).find_map(|pair| match pair {
        [one, other] if one.name == other.name => Some((one, other)),
        _ => None,
    });
    match twice {
        Some((one, other)) => Err(Error::Refused(format!(
            "{} and {} would both be published as `{}`",
            one.file.display(),
            other.file.display(),
            one.name
        ))),
        None => Ok(sources),
    }
}

/// A folder named as `.` or `x/..` has no name of its own, and needs none.
fn args_path(path: &Path) -> Result<std::path::PathBuf, Error> {
    let found = path.symlink_metadata().map_err(|error| Error::file("read", path, error))?;
    if found.is_symlink() {
        return Err(Error::Refused(format!("{} is a link; only regular files are published", path.display())));
    }
    Ok(path.to_path_buf())
}

pub(super) fn remove(context: &Context<'_>, args: &Remove, output: &mut Output) -> Result<Exit, Error> {
    let role = args.role.as_deref().map(names::role).transpose()?;
    let path = |name: &String| TargetPath::new(name.as_str()).map_err(|error| Error::Usage(error.to_string()));
    let paths = args.names.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    if !context.global.dry_run {
        let layout = context.layout();
        Policy::read(&layout)?;
        return publish(context, &Request::enter_removal(&layout, role, paths)?, output);
    }
    let mut repository = context.open(output)?;
    let draft = repository.staged()?;
    let mut edit = repository.edit(draft);
    for path in &paths {
        edit.remove_target(role.as_ref(), path)?;
    }
    let draft = edit.finish()?;
    conclude(context, &mut repository, draft, output)
}
