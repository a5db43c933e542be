//! Measures the download of a large target over loopback, and compares it with curl and openssl, which only fetch and
//! hash the file.

use crate::clients::Clients;
use crate::process::{self, TIME_LIMIT};
use crate::report::Report;
use crate::row::{Bar, OURS, Row, Unit, in_turns};
use crate::{Setup, server::Server};
use std::fs;
use std::io::Write;
use std::path::Path;

const CURL: &str = "curl + openssl";
const BAR: Bar =
    Bar { text: "0.9× curl + openssl sha256, under 48 MB", ratios: &[(CURL, 0.9)], most: None, memory: Some(48e6) };

/// Measures the download. lastmile refreshes its metadata, fetches, verifies and writes the target, and calls `fsync`.
/// curl and openssl write nothing.
pub(crate) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let folder = setup.scratch.join("download");
    let new = folder.join("new");
    fs::create_dir_all(&new).map_err(|error| error.to_string())?;
    large_file(&new.join("large.bin"), setup.sizes.mebibytes).map_err(|error| error.to_string())?;
    setup.repository(&folder, "new")?;
    let repository = folder.join("repository");
    let server = Server::start(&repository)?;
    let clients = Clients::new(setup, &repository, &server.url, "download/visit");
    let names = ["large.bin".to_owned()];
    let pipe = format!("curl --silent --fail {}targets/{} | openssl dgst -sha256", server.url, served_name(&folder)?);
    let series = in_turns(vec![
        clients.first(OURS, 5, &names),
        clients.contestant(CURL, 5, || {
            let mut shell = process::command(Path::new("/bin/sh"), &folder);
            clients.measure(shell.args(["-c", &pipe]), TIME_LIMIT)
        }),
    ]);
    let work = format!("download of a target of {} MiB over loopback", setup.sizes.mebibytes);
    report.row(&Row::new(&work, &BAR, Unit::Seconds, &series, None));
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}

/// Writes a file that repeats one pseudorandom block of 1 MiB. Generating random bytes for the whole file would take
/// longer.
fn large_file(path: &Path, mebibytes: usize) -> std::io::Result<()> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut block = Vec::with_capacity(1 << 20);
    while block.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend_from_slice(&state.to_le_bytes());
    }
    let mut file = fs::File::create(path)?;
    (0..mebibytes).try_for_each(|_| file.write_all(&block))
}

/// In the repository, the file name of the target begins with the hash of the file.
fn served_name(folder: &Path) -> Result<String, String> {
    let entries = fs::read_dir(folder.join("repository/targets")).map_err(|error| error.to_string())?;
    let mut names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names
        .find(|name| name.ends_with("large.bin"))
        .ok_or_else(|| "the repository has no file for the target large.bin".to_owned())
}
