//! A large target over loopback, beside curl and openssl doing no more than fetching and hashing.

use super::report::Report;
use super::requests::with_state;
use super::server::Server;
use super::{Place, median, process};
use std::fs;
use std::io::Write;
use std::path::Path;

const RUNS: usize = 5;
const MEBIBYTES: usize = 1024;

/// Fetches 1 GiB with each, in turns.
pub(crate) fn run(place: &Place, report: &mut Report) -> Result<(), String> {
    let folder = place.scratch.join("download");
    let new = folder.join("new");
    fs::create_dir_all(&new).map_err(|error| error.to_string())?;
    large_file(&new.join("large.bin")).map_err(|error| error.to_string())?;
    place.repository(&folder, "new")?;
    let server = Server::start(&folder.join("repository")).map_err(|error| error.to_string())?;
    place.trust(&folder, &server.url)?;
    let url = format!("{}targets/{}", server.url, served_name(&folder)?);
    let (mut ours, mut theirs, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..RUNS {
        let pipe = format!("curl --silent --fail {url} | openssl dgst -sha256");
        theirs.push(process::measure(Path::new("/bin/sh"), &["-c", &pipe], &folder)?.time.as_secs_f64());
        let _ = fs::remove_dir_all(folder.join("output"));
        let used = process::measure(&place.client, &with_state(&["get", "large.bin"]), &folder)?;
        ours.push(used.time.as_secs_f64());
        memory = memory.max(used.memory);
    }
    let (mine, other) = (median(&ours), median(&theirs));
    let speed = |seconds: f64| 1024.0 / seconds;
    let ratio = other / mine;
    let _ = fs::remove_dir_all(&folder);
    report.part(
        "A target of 1 GiB over loopback",
        "`lastmile get` refreshes, fetches, verifies, writes the file to the disk and syncs it. The other fetches and hashes, \
         and writes nothing.",
    );
    report.line("| | median | |");
    report.line("|---|---|---|");
    report.line(&format!("| `lastmile get` | {mine:.2} s | {:.0} MiB/s |", speed(mine)));
    report.line(&format!("| `curl \\| openssl dgst -sha256` | {other:.2} s | {:.0} MiB/s |", speed(other)));
    report.line("");
    report.line(&format!(
        "Ratio **{ratio:.2}**; resident memory at most **{:.1} MiB**; {RUNS} runs each.",
        memory as f64 / f64::from(1 << 20)
    ));
    report.promise("at least 0.8 of the other's speed, in less than 64 MiB", ratio >= 0.8 && memory < 64 << 20);
    Ok(())
}

/// Random enough that nothing could compress it, and made in a second.
fn large_file(path: &Path) -> std::io::Result<()> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut block = Vec::with_capacity(1 << 20);
    while block.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend_from_slice(&state.to_le_bytes());
    }
    let mut file = fs::File::create(path)?;
    for _ in 0..MEBIBYTES {
        file.write_all(&block)?;
    }
    Ok(())
}

/// The name that the tool gave the published file.
fn served_name(folder: &Path) -> Result<String, String> {
    let entries = fs::read_dir(folder.join("repository/targets")).map_err(|error| error.to_string())?;
    let mut names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|name| name.ends_with("large.bin")).ok_or_else(|| "the target was not published".to_owned())
}
