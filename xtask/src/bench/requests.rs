//! How many files the client asks for.

use super::report::Report;
use super::server::Server;
use super::{Place, process};

/// Counts the requests of a first `get`, a `refresh` with nothing new, and a `get` of what is there.
pub(crate) fn run(place: &Place, report: &mut Report) -> Result<(), String> {
    let folder = place.scratch.join("requests");
    std::fs::create_dir_all(folder.join("new")).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("new/app.tar.gz"), vec![7; 100_000]).map_err(|error| error.to_string())?;
    place.repository(&folder, "new")?;
    let server = Server::start(&folder.join("repository")).map_err(|error| error.to_string())?;
    place.trust(&folder, &server.url)?;
    report.part("Requests", "What the client asks a server for. Fewer is faster on a long road.");
    let mut counts = Vec::new();
    for (what, arguments) in [
        ("a first `get` of a top-level target", ["get", "app.tar.gz"].as_slice()),
        ("`refresh` with nothing new", &["refresh"]),
        ("`get` of a target that is already there", &["get", "app.tar.gz"]),
    ] {
        server.requests();
        place.client(&folder, arguments)?;
        let asked = server.requests();
        report.line(&format!("* {what}: **{}** ({})", asked.len(), asked.join(", ")));
        counts.push(asked.len());
    }
    report.promise("5 requests for a first `get`, 2 for a `refresh` with nothing new", counts.starts_with(&[5, 2]));
    Ok(())
}

impl Place {
    /// Makes `FOLDER/repository` and publishes `FOLDER/FILES` in it.
    pub(crate) fn repository(&self, folder: &std::path::Path, files: &str) -> Result<(), String> {
        process::run(&self.repo_tool, &["init", "repository"], folder)?;
        process::run(&self.repo_tool, &["--repository", "repository", "add", files], folder)
    }

    /// Makes the client in `FOLDER/state` trust the repository that is served at `url`.
    pub(crate) fn trust(&self, folder: &std::path::Path, url: &str) -> Result<(), String> {
        let (metadata, targets) = (format!("{url}metadata/"), format!("{url}targets/"));
        let root = "repository/metadata/1.root.json";
        let add = ["trust", "add", "bench", "--root", root, "--metadata-url", &metadata, "--targets-url", &targets];
        self.client(folder, &add)
    }

    /// Runs the client with its state and output below `folder`.
    pub(crate) fn client(&self, folder: &std::path::Path, arguments: &[&str]) -> Result<(), String> {
        process::run(&self.client, &with_state(arguments), folder)
    }
}

/// The arguments, with state and output folders where benches have them.
pub(crate) fn with_state<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["--state-dir", "state"];
    all.extend(arguments);
    if arguments.first() == Some(&"get") {
        all.extend(["--output", "output"]);
    }
    all
}
