//! A large target over loopback, beside curl and openssl doing no more than fetching and hashing.

use super::clients::Visit;
use super::process::{self, PATIENCE};
use super::report::Report;
use super::row::{Bar, OURS, Row, Unit, in_turns};
use super::{Place, server::Server};
use std::fs;
use std::io::Write;
use std::path::Path;

const CURL: &str = "curl + openssl";
const BAR: Bar =
    Bar { text: "0.9 of curl + openssl sha256, under 48 MB", ratios: &[(CURL, 0.9)], most: None, memory: Some(48e6) };

/// Ours refreshes, fetches, verifies, writes to the disk and syncs; the other writes nothing.
pub(crate) fn run(place: &Place, report: &mut Report) -> Result<(), String> {
    let folder = place.scratch.join("download");
    let new = folder.join("new");
    fs::create_dir_all(&new).map_err(|error| error.to_string())?;
    large_file(&new.join("large.bin"), place.sizes.mebibytes).map_err(|error| error.to_string())?;
    place.repository(&folder, "new")?;
    let repository = folder.join("repository");
    let server = Server::start(&repository)?;
    let visit = Visit::new(place, &repository, &server.url, "download/visit");
    let names = ["large.bin".to_owned()];
    let pipe = format!("curl --silent --fail {}targets/{} | openssl dgst -sha256", server.url, served_name(&folder)?);
    let series = in_turns(vec![
        visit.first(OURS, 5, &names),
        visit.contestant(CURL, 5, || {
            let mut shell = process::command(Path::new("/bin/sh"), &folder);
            visit.measure(shell.args(["-c", &pipe]), PATIENCE)
        }),
    ]);
    let work = format!("target of {} MiB on loopback", place.sizes.mebibytes);
    report.row(&Row::new(&work, &BAR, Unit::Seconds, &series, None));
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}

/// Random enough that nothing could compress it, and made in a second.
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

/// The name that the tool gave the published file.
fn served_name(folder: &Path) -> Result<String, String> {
    let entries = fs::read_dir(folder.join("repository/targets")).map_err(|error| error.to_string())?;
    let mut names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|name| name.ends_with("large.bin")).ok_or_else(|| "the target was not published".to_owned())
}
