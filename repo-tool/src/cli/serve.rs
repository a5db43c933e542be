//! `serve`: serve metadata/ and targets/ over HTTP, for testing.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use serde_json::json;

use super::context::Context;
use crate::served::server::Server;
use crate::{Error, NetworkError, Repository};

/// `serve`
#[derive(Debug, Args)]
#[command(after_help = "Example: lastmile-repo serve --port 8080")]
pub(crate) struct Serve {
    /// Port to listen on; 0 chooses a free port.
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
}

pub(super) fn serve(context: &Context<'_>, args: &Serve, output: &Output) -> Result<ExitStatus, Error> {
    let dir = context.global.repository.as_path();
    Repository::open(dir, &context.invocation)?;
    if !args.address.is_loopback() {
        output.warning("other machines can connect to this server, which is meant only for testing");
    }
    let address = SocketAddr::new(args.address, args.port);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::file("start", Path::new("a runtime"), error))?;
    let log = output.clone();
    runtime.block_on(async {
        let bound = Server::bind(dir, address).await.and_then(|server| Ok((server.address()?, server)));
        let (at, server) = bound.map_err(|error| NetworkError::Listen { address, error })?;
        let metadata = format!("http://{at}/metadata/");
        let targets = format!("http://{at}/targets/");
        let text = format!("metadata: {metadata}\ntargets:  {targets}");
        output.data_text(&json!({ "metadata_url": metadata, "targets_url": targets }), &text)?;
        if context.run().is_dry() {
            output.note("Not serving (--dry-run).");
            return Ok(ExitStatus::Done);
        }
        output.note("Press Ctrl-C to stop.");
        let log = move |answered: crate::served::server::Answered| log.note(&answered.to_string());
        let stop = async {
            let _ = tokio::signal::ctrl_c().await;
        };
        server.run_until(stop, log).await;
        Ok(ExitStatus::Done)
    })
}
