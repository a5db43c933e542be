//! `status --listen`: check the repository repeatedly, and serve the results to Prometheus.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use lastmile_cli_support::{ExitStatus, Output};
use tokio::sync::watch;

use super::{Args, check, is_about_invocation, monitor, unreadable};
use crate::cli::context::Context;
use crate::cli::signals::exit_after_signal;
use crate::error::chain;
use crate::report::metrics_server::{MetricsServer, PATH};
use crate::report::overview::minute;
use crate::report::prometheus;
use crate::{Error, NetworkError};

pub(super) fn listen(
    context: &mut Context<'_>,
    args: &Args,
    address: SocketAddr,
    output: &Output,
) -> Result<ExitStatus, Error> {
    if (context.env)("SOURCE_DATE_EPOCH").is_some() {
        return Err(Error::Usage("--listen needs the real time: unset SOURCE_DATE_EPOCH".into()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::file("start", Path::new("a runtime"), error))?;
    let bound = runtime.block_on(async {
        let server = MetricsServer::bind(address).await?;
        Ok((server.address()?, server))
    });
    let (at, server) = bound.map_err(|error| NetworkError::Listen { address, error })?;
    let mut checks = Checks { args, output, line: String::new() };
    if context.run().is_dry() {
        checks.run(context)?;
        output.note("Not serving (--dry-run).");
        return Ok(ExitStatus::Done);
    }
    // The first wait installs the signal handlers. From then on, a signal does not end the process in the middle of
    // writing a file.
    if (context.wait)(Duration::ZERO).is_break() {
        return Ok(ExitStatus::Done);
    }
    exit_after_signal(&runtime);
    // Check once before serving, so that the first request already gets metrics.
    let (sender, metrics) = watch::channel(checks.run(context)?);
    let serving = runtime.spawn(server.run(metrics));
    output.note(&format!("Serving http://{at}{PATH}. Press Ctrl-C to stop."));
    let pause = Duration::from_secs(args.outputs.every.into());
    while (context.wait)(pause).is_continue() {
        sender.send_replace(checks.run(context)?);
    }
    drop(sender);
    // The server task can fail only by panicking.
    let _ = runtime.block_on(serving);
    output.note("Stopped.");
    Ok(ExitStatus::Done)
}

struct Checks<'a> {
    args: &'a Args,
    output: &'a Output,
    /// The line that describes the result of the last check.
    line: String,
}

impl Checks<'_> {
    /// Checks the repository once, writes all outputs, and returns the metrics. If the repository cannot be checked,
    /// reports this as the result, because a later check may succeed.
    ///
    /// # Errors
    /// Returns an error if the command line or the user's configuration is invalid, or if the result cannot be printed.
    /// If an output file cannot be written, the first check returns an error, but later checks print a warning.
    fn run(&mut self, context: &mut Context<'_>) -> Result<Bytes, Error> {
        let Self { args, output, .. } = *self;
        context.invocation.now = (context.clock)();
        let result = check(context, args, output);
        let failed;
        let (overview, mirrors, document) = match &result {
            Ok(checked) => (checked.overview(), checked.mirrors(), checked.json()),
            Err(error) if is_about_invocation(error, context) => return result.map(|_| Bytes::new()),
            Err(error) => {
                failed = unreadable(context, args, error);
                (&failed, &[][..], failed.json())
            }
        };
        match args.outputs.write(overview, mirrors, context, output) {
            Err(error) if self.line.is_empty() => return Err(error),
            // Print this error even with `--quiet`, because the command continues and so no exit status reports the
            // error.
            Err(error) => {
                output.despite_quiet().warning(&format!("{}; the next check tries again", chain(&error)));
            }
            Ok(()) => {}
        }
        let line = monitor::summary(overview);
        let is_new = line != self.line;
        let shown = is_new.then(|| format!("{} {line}", minute(overview.checked)));
        output.event(&document, shown.as_deref())?;
        if let (true, Some(hint)) = (is_new, result.as_ref().err().and_then(Error::hint)) {
            output.note(&hint);
        }
        self.line = line;
        Ok(prometheus::text(overview, mirrors).into())
    }
}
