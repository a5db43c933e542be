//! Counts the requests that the client sends.

use crate::Setup;
use crate::clients::Clients;
use crate::process::TIME_LIMIT;
use crate::report::Report;
use crate::row::OURS;
use crate::server::Server;

/// Counts the requests of a first `get`, of a `refresh` when nothing has changed, and of a `get` when the downloaded
/// target is up to date.
pub(crate) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let folder = setup.scratch.join("requests");
    std::fs::create_dir_all(folder.join("new")).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("new/app.tar.gz"), vec![7; 100_000]).map_err(|error| error.to_string())?;
    setup.repository(&folder, "new")?;
    let repository = folder.join("repository");
    let server = Server::start(&repository)?;
    let clients = Clients::new(setup, &repository, &server.url, "requests/visit");
    clients.forget(OURS)?;
    report.part("Requests", "The client makes these requests:");
    let app = ["app.tar.gz".to_owned()];
    for (what, names) in [
        ("a first `get` of a top-level target", app.as_slice()),
        ("`refresh` with nothing new", &[]),
        ("`get` of a target that is up to date", &app),
    ] {
        server.take_log();
        clients.measure(&clients.get(OURS, names), TIME_LIMIT)?;
        let paths = server.take_log().paths;
        report.line(&format!("* {what}: **{}** ({})", paths.len(), paths.join(", ")));
    }
    Ok(())
}
