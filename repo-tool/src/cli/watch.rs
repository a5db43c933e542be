//! `renew --watch`: renew roles well before they expire, until the command is stopped.

use std::ops::ControlFlow;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lastmile_cli_support::{ExitStatus, Failure, Output};
use lastmile_client::text::printable;
use lastmile_metadata::{RoleName, format_time};
use serde_json::{Value, json};

use super::context::Context;
use super::counts::some_of;
use super::push::{require_stored, variables};
use super::renew::Renew;
use crate::error::chain;
use crate::push::Variables;
use crate::report::overview::minute;
use crate::watch::{Event, Reason, Remote, Watch};
use crate::{Error, Renewal, shell};

/// The maximum time between two checks of the clock. The command checks the clock often, to notice that the clock was
/// set or that the machine was suspended.
const MAX_SLEEP: Duration = Duration::from_secs(60);

pub(super) fn watch(context: &Context<'_>, args: &Renew, output: &Output) -> Result<ExitStatus, Error> {
    if (context.env)("SOURCE_DATE_EPOCH").is_some() {
        return Err(Error::Usage("--watch needs the real time: unset SOURCE_DATE_EPOCH".into()));
    }
    let variables = variables(context);
    let remote = args.push.then(|| remote(context, &variables)).transpose()?;
    let dir = &context.global.repository;
    let mut watch = Watch::new(dir, context.invocation.clone(), args.roles.clone(), remote, &*context.clock);
    watch.check((context.clock)())?;
    if context.run().is_dry() {
        for event in watch.plan((context.clock)())? {
            report(&event, output)?;
        }
        output.note("Nothing was changed (--dry-run).");
        return Ok(ExitStatus::Done);
    }
    // The first wait installs the signal handlers. From then on, a signal cannot end the process while it publishes.
    let mut waited = (context.wait)(Duration::ZERO);
    while waited.is_continue() {
        let step = watch.step();
        for event in &step.events {
            report(event, output)?;
        }
        waited = wait_until(step.next, context);
    }
    output.note("Stopped.");
    Ok(ExitStatus::Done)
}

/// Returns the destination that `push` stored for the repository.
fn remote<'v>(context: &Context<'_>, variables: Variables<'v>) -> Result<Remote<'v>, Error> {
    let (name, _, repository) = require_stored(context, "--push")?;
    Ok(Remote::new(name, repository, variables))
}

/// Returns early if the clock is set back, because the renewal times may have to be computed again.
/// Waits at least once, even if `time` has passed, because a signal stops the command only during a wait.
fn wait_until(time: DateTime<Utc>, context: &Context<'_>) -> ControlFlow<()> {
    let mut before = (context.clock)();
    loop {
        let left = (time - before).to_std().unwrap_or(Duration::ZERO);
        (context.wait)(left.min(MAX_SLEEP))?;
        let now = (context.clock)();
        if now >= time || now < before {
            return ControlFlow::Continue(());
        }
        before = now;
    }
}

/// Prints plans, renewals and pushes on standard output, and everything else as a warning. With `--json`, writes every
/// event to standard output as JSON.
fn report(event: &Event, output: &Output) -> Result<(), Error> {
    let line = line(event);
    match event {
        Event::Planned { .. } | Event::Renewed { .. } | Event::Pushed { .. } => {
            output.event(&json(event), Some(&line))?
        }
        Event::NotRenewed { .. } => {
            output.warning(&line);
            output.event(&json(event), None)?;
        }
        // Print this error even with `--quiet`, because the command continues and so no exit status reports the error.
        Event::Failed { .. } => {
            output.despite_quiet().warning(&line);
            output.event(&json(event), None)?;
        }
    }
    Ok(())
}

fn line(event: &Event) -> String {
    match event {
        Event::Planned { role, version, expires, at } => {
            format!(
                "{} version {version} expires {}, and will be renewed at {}",
                shown(role),
                minute(*expires),
                minute(*at)
            )
        }
        Event::Renewed { role, version, expires } => {
            format!("{} was renewed: version {version} expires {}", shown(role), minute(*expires))
        }
        Event::Pushed { url, timestamp } => format!("pushed timestamp version {timestamp} to {url}"),
        Event::NotRenewed { role, expires, renewal, reason } => {
            let verb = if *renewal == Renewal::Expired { "expired" } else { "expires" };
            let advice = match reason {
                Reason::NotWatched => "this command does not renew it",
                Reason::KeysMissing => "too few of its keys are on this machine",
            };
            let (role, argument) = (shown(role), shell::arguments([role]));
            format!("{role} {verb} {}, and {advice}: run `lastmile-repo renew {argument}`", minute(*expires))
        }
        Event::Failed { roles, error, again } => {
            let what = match roles.as_slice() {
                [] => "cannot renew".to_string(),
                roles => format!("cannot renew {}", some_of(roles.iter().map(shown))),
            };
            let failure = Failure::from(error).json();
            let hint = failure.pointer("/error/hint").and_then(Value::as_str);
            let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
            format!("{what}: {}{hint}. Next attempt: {}", chain(error), minute(*again))
        }
    }
}

fn json(event: &Event) -> Value {
    match event {
        Event::Planned { role, version, expires, at } => json!({
            "event": "planned", "role": role.as_str(), "version": version.get(), "expires": format_time(expires),
            "at": format_time(at),
        }),
        Event::Renewed { role, version, expires } => json!({
            "event": "renewed", "role": role.as_str(), "version": version.get(), "expires": format_time(expires),
        }),
        Event::Pushed { url, timestamp } => json!({ "event": "pushed", "url": url, "timestamp": timestamp.get() }),
        Event::NotRenewed { role, expires, renewal, reason } => json!({
            "event": "not-renewed", "role": role.as_str(), "expires": format_time(expires), "renewal": renewal.name(),
            "keys_missing": *reason == Reason::KeysMissing,
        }),
        Event::Failed { roles, error, again } => json!({
            "event": "failed", "roles": roles.iter().map(RoleName::as_str).collect::<Vec<_>>(),
            "error": Failure::from(error).json().get("error"), "again": format_time(again),
        }),
    }
}

fn shown(role: &RoleName) -> String {
    printable(role.as_str())
}
