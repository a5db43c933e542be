//! How many files the client asks for.

use super::Place;
use super::clients::Visit;
use super::process::PATIENCE;
use super::report::Report;
use super::row::OURS;
use super::server::Server;

/// Counts the requests of a first `get`, a `refresh` with nothing new, and a `get` of what is there.
pub(crate) fn run(place: &Place, report: &mut Report) -> Result<(), String> {
    let folder = place.scratch.join("requests");
    std::fs::create_dir_all(folder.join("new")).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("new/app.tar.gz"), vec![7; 100_000]).map_err(|error| error.to_string())?;
    place.repository(&folder, "new")?;
    let repository = folder.join("repository");
    let server = Server::start(&repository)?;
    let visit = Visit::new(place, &repository, &server.url, "requests/visit");
    visit.forget(OURS)?;
    report.part("Requests", "What the client asks a server for.");
    let app = ["app.tar.gz".to_owned()];
    for (what, names) in [
        ("a first `get` of a top-level target", app.as_slice()),
        ("`refresh` with nothing new", &[]),
        ("`get` of a target that is already there", &app),
    ] {
        server.asked();
        visit.measure(&visit.get(OURS, names), PATIENCE)?;
        let paths = server.asked().paths;
        report.line(&format!("* {what}: **{}** ({})", paths.len(), paths.join(", ")));
    }
    Ok(())
}
