//! Writes the result of `status` in other forms: as metrics, a calendar, an HTML page or a notification.

use std::net::SocketAddr;
use std::path::PathBuf;

use lastmile_cli_support::Output;
use lastmile_client::text::printable;

use crate::Error;
use crate::cli::context::Context;
use crate::files::own;
use crate::report::overview::Overview;
use crate::report::served_status::MirrorStatus;
use crate::report::{calendar, notify, page, prometheus};

/// The options for the outputs of `status`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Outputs for other programs")]
pub(crate) struct Outputs {
    /// Write metrics for Prometheus to FILE, for example for node_exporter's textfile collector. If FILE is `-`, print
    /// the metrics instead of the status.
    #[arg(long, value_name = "FILE")]
    pub(crate) prometheus: Option<PathBuf>,
    /// Write a calendar (.ics) with the renewal dates of all roles except timestamp and snapshot.
    #[arg(long, value_name = "FILE")]
    pub(crate) calendar: Option<PathBuf>,
    /// Write a static HTML page without scripts.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Send a notification if the state has changed since the last one. The receivers are the url and the command in
    /// the section [monitor] of your configuration.
    #[arg(long)]
    pub(crate) notify: bool,
    /// Repeat the check until the command is stopped, and serve metrics for Prometheus at http://ADDRESS:PORT/metrics.
    /// ADDRESS must be a loopback address.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback)]
    pub(crate) listen: Option<SocketAddr>,
    /// Number of seconds to wait between two checks, from 10 to 86400.
    #[arg(long, requires = "listen", value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u32).range(10..=86400))]
    pub(crate) every: u32,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:9469")?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("only a loopback address such as 127.0.0.1 or [::1] is accepted, because the server has neither encryption nor \
         authentication; to make the metrics available to other machines, use a reverse proxy"
        .to_string())
}

impl Outputs {
    /// Returns whether `--prometheus -` was given, so that metrics are printed instead of the status.
    pub(super) fn prints_metrics(&self) -> bool {
        self.prometheus.as_ref().is_some_and(|file| file.as_os_str() == "-")
    }

    /// Checks that the options can be used together, and that a receiver of notifications is configured if `--notify`
    /// is given.
    pub(super) fn check(&self, context: &Context<'_>) -> Result<(), Error> {
        let conflict = [("--json", context.global.json), ("--listen", self.listen.is_some())];
        if let Some((option, _)) = conflict.iter().find(|(_, is_given)| self.prints_metrics() && *is_given) {
            return Err(Error::Usage(format!("--prometheus - cannot be used with {option}")));
        }
        if self.notify && context.invocation.user.receivers()?.is_none() {
            return Err(Error::Usage(
                "--notify needs the section [monitor] with url or command in your configuration".to_string(),
            ));
        }
        Ok(())
    }

    /// If a notification cannot be delivered, only prints a warning, because the next run sends the notification again.
    pub(super) fn write(
        &self,
        overview: &Overview,
        mirrors: &[MirrorStatus],
        context: &Context<'_>,
        output: &Output,
    ) -> Result<(), Error> {
        if self.prints_metrics() {
            output.raw(prometheus::text(overview, mirrors).as_bytes())?;
        }
        if context.run().is_dry() {
            return Ok(());
        }
        // A file that cannot be written must not prevent the notification.
        let notified = self.send_notification(overview, context, output);
        if let Some(file) = self.prometheus.as_ref().filter(|_| !self.prints_metrics()) {
            own::write_report(file, &prometheus::text(overview, mirrors))?;
        }
        // If the repository cannot be read now, leave the earlier renewal dates in the calendar.
        if let Some(file) = self.calendar.as_ref().filter(|_| overview.is_up) {
            own::write_report(file, &calendar::text(overview))?;
        }
        if let Some(file) = &self.html {
            own::write_report(file, &page::html(overview))?;
        }
        notified
    }

    fn send_notification(&self, overview: &Overview, context: &Context<'_>, output: &Output) -> Result<(), Error> {
        if !self.notify {
            return Ok(());
        }
        let Some(receivers) = context.invocation.user.receivers()? else { return Ok(()) };
        for failure in notify::notify(overview, &receivers, context.state_dir.as_deref())? {
            output.warning(&format!("{}; the next run tries again", printable(&failure)));
        }
        Ok(())
    }
}
