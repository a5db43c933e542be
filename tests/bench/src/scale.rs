//! Measures lastmile-repo with a million targets: the creation of the repository, and the cost of each change.

use crate::generated::{self, Generated};
use crate::large::{gets_from_bins, returning, thousands};
use crate::process::{self, TIME_LIMIT, Used};
use crate::report::Report;
use crate::row::{Bar, Contestant, OURS, Row, Series, Unit, in_turns};
use crate::{Setup, server::Server};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Instant;

const IMPORT: Bar =
    Bar { text: "under 30 s on two cores, under 1 GB", ratios: &[], most: Some(30.0), memory: Some(1e9) };
const RELEASE: Bar = Bar { text: "under 100 ms, 3 metadata files", ratios: &[], most: Some(0.1), memory: None };
const PUSH: Bar =
    Bar { text: "under 200 ms, the package and 3 metadata files", ratios: &[], most: Some(0.2), memory: None };
const RENEW: Bar = Bar { text: "under 50 ms", ratios: &[], most: Some(0.05), memory: None };
const SIGN_ALL: Bar = Bar { text: "under 5 s", ratios: &[], most: Some(5.0), memory: None };
const PUBLISHERS: Bar =
    Bar { text: "at most 10 publications; all releases visible", ratios: &[], most: Some(10.0), memory: None };

/// A folder with the repository and the files to publish.
struct Scale<'a> {
    setup: &'a Setup,
    folder: PathBuf,
    releases: usize,
}

pub(crate) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let made = Generated::bins(setup.sizes.targets, setup.sizes.bits, "prefix").folder(setup)?;
    returning(setup, report, &made, "prefix bins of python-tuf", || generated::state(&made, 2))?;
    generated::state(&made, 1)?;

    let mut scale = Scale { setup, folder: setup.scratch.join("scale"), releases: 0 };
    fs::create_dir_all(scale.folder.join("new")).map_err(|error| error.to_string())?;
    fs::write(scale.folder.join("list"), list(setup.sizes.targets)).map_err(|error| error.to_string())?;
    let work = format!(
        "import of {} listed targets into {} bins, signed and published",
        thousands(setup.sizes.targets),
        thousands(1 << setup.sizes.bits)
    );
    scale.row(report, &work, &IMPORT, 3, Scale::import);
    scale.row(report, "one release in the imported repository", &RELEASE, 11, Scale::release);
    scale.tool(&["push", "--to", "site", "--allow-missing-targets"])?;
    scale.row(report, "`push` of one release to a folder", &PUSH, 11, Scale::push);
    scale.row(report, "`renew` of snapshot and timestamp in the imported repository", &RENEW, 11, |scale| {
        scale.tool(&["renew", "--force"])
    });
    scale.row(report, "`renew` of all bins in the imported repository", &SIGN_ALL, 3, |scale| {
        scale.tool(&["renew", "--force", "bin-*"])
    });
    let first = scale.newest();
    let repository = scale.repository();
    gets_from_bins(setup, report, &repository, "succinct bins of lastmile-repo", &[first])?;
    let publishers = scale.publishers();
    let also =
        publishers.as_ref().ok().map(|(_, seconds)| (format!("all releases visible; {seconds:.1} s in total"), true));
    let work = format!("{} concurrent publishers, one release each", setup.sizes.publishers);
    let series = [Series::once(OURS, publishers.map(|(publications, _)| publications))];
    report.row(&Row::new(&work, &PUBLISHERS, Unit::Publications, &series, also));
    returning(setup, report, &repository, "succinct bins of lastmile-repo", || scale.compressed_release())?;
    let _ = fs::remove_dir_all(&scale.folder);
    Ok(())
}

impl Scale<'_> {
    fn row(
        &mut self,
        report: &mut Report,
        work: &str,
        bar: &Bar,
        rounds: usize,
        mut turn: impl FnMut(&mut Self) -> Result<Used, String>,
    ) {
        let mut written = None;
        let contestant = Contestant {
            program: OURS,
            rounds,
            turn: Box::new(|| {
                let before = self.metadata_files();
                let used = turn(self)?;
                written = Some(self.metadata_files() - before);
                Ok(used)
            }),
        };
        let series = in_turns(vec![contestant]);
        // `written` counts the files that were added. It does not count the timestamp, because the new timestamp
        // replaces the old file. Therefore, `new + 1` files are reported.
        let also = written.filter(|_| bar.text == RELEASE.text).map(|new| (format!("{} files", new + 1), new == 2));
        report.row(&Row::new(work, bar, Unit::Seconds, &series, also));
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    /// Does not count the compressed copies.
    fn metadata_files(&self) -> isize {
        let entries = fs::read_dir(self.repository().join("metadata")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".json")).count().cast_signed()
    }

    fn tool(&self, arguments: &[&str]) -> Result<Used, String> {
        self.setup.measure_repo_tool(&[&["--quiet", "--repository", "repository"], arguments].concat(), &self.folder)
    }

    /// Creates the repository and imports the list of targets. The private keys are not encrypted, because
    /// encryption with a pass-phrase is slow by design, and the time for it would be part of the measured time.
    fn import(&mut self) -> Result<Used, String> {
        let _ = fs::remove_dir_all(self.repository());
        let bits = self.setup.sizes.bits.to_string();
        let init = self.setup.measure_repo_tool(&["init", "repository", "--unencrypted-keys"], &self.folder)?;
        let bins = self.tool(&["bins", "--bit-length", &bits])?;
        Ok(init.and(bins).and(self.tool(&["add", "--from-list", "list"])?))
    }

    fn release(&mut self) -> Result<Used, String> {
        self.releases += 1;
        let name = self.newest();
        self.write_release(&name)?;
        self.tool(&["add", &format!("new/{name}")])
    }

    /// Publishes a release, and measures the push of this release. Fails if the push uploads anything except the package,
    /// its bin, the snapshot and the timestamp.
    fn push(&mut self) -> Result<Used, String> {
        self.release()?;
        let push = ["push", "--allow-missing-targets"];
        let preview = [&["--quiet", "--repository", "repository"], &push[..], &["--dry-run"]].concat();
        let files = process::run(&self.setup.repo_tool, &preview, &self.folder)?;
        let is_expected = match files.lines().collect::<Vec<_>>().as_slice() {
            [package, bin, snapshot, timestamp] => {
                package.starts_with("targets/")
                    && bin.contains(".bin-")
                    && snapshot.contains(".snapshot.json")
                    && timestamp.starts_with("metadata/timestamp.json")
            }
            _ => false,
        };
        if !is_expected {
            return Err(format!("the push uploads other files: {files}"));
        }
        self.tool(&push)
    }

    /// Turns on compressed copies of metadata in `repo.toml`, and publishes a release.
    fn compressed_release(&mut self) -> Result<(), String> {
        let policy = self.repository().join("repo.toml");
        let text = fs::read_to_string(&policy).map_err(|error| error.to_string())?;
        fs::write(&policy, format!("compress = [\"gzip\", \"zstd\"]\n{text}")).map_err(|error| error.to_string())?;
        self.release().map(drop)
    }

    fn newest(&self) -> String {
        format!("release-{}.tar.gz", self.releases)
    }

    fn write_release(&self, name: &str) -> Result<(), String> {
        fs::write(self.folder.join("new").join(name), name.repeat(512)).map_err(|error| error.to_string())
    }

    /// Runs all publishers at the same time. Returns the number of versions that they published, and the total time in
    /// seconds.
    fn publishers(&self) -> Result<(f64, f64), String> {
        let names: Vec<_> =
            (0..self.setup.sizes.publishers).map(|number| format!("published-{number}.tar.gz")).collect();
        names.iter().try_for_each(|name| self.write_release(name))?;
        let before = self.timestamp_version()?;
        let started = Instant::now();
        let mut running = names.iter().map(|name| self.publisher(name)).collect::<Result<Vec<_>, String>>()?;
        let outcome = running.iter_mut().try_for_each(|publisher| finish(publisher, started));
        let seconds = started.elapsed().as_secs_f64();
        for publisher in &mut running {
            let _ = publisher.kill();
            let _ = publisher.wait();
        }
        outcome?;
        let publications = self.timestamp_version()? - before;
        let server = Server::start(&self.repository())?;
        let clients = crate::clients::Clients::new(self.setup, &self.repository(), &server.url, "scale/visible");
        clients.forget(OURS)?;
        clients.measure(&clients.get(OURS, &names), TIME_LIMIT)?;
        Ok((publications as f64, seconds))
    }

    fn publisher(&self, name: &str) -> Result<Child, String> {
        let mut add = process::command(&self.setup.repo_tool, &self.folder);
        add.args(["--quiet", "--repository", "repository", "add", &format!("new/{name}")]);
        add.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| error.to_string())
    }

    /// Returns the version of the timestamp. In canonical JSON, the version is the last member of the timestamp.
    fn timestamp_version(&self) -> Result<u64, String> {
        let text =
            fs::read_to_string(self.repository().join("metadata/timestamp.json")).map_err(|error| error.to_string())?;
        let digits = text.rsplit("\"version\":").next().unwrap_or_default();
        digits
            .trim_end_matches(['}', '\n'])
            .parse()
            .map_err(|_| "the timestamp does not end with its version".to_owned())
    }
}

fn finish(publisher: &mut Child, started: Instant) -> Result<(), String> {
    loop {
        match publisher.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("a publisher ended with {status}")),
            None if started.elapsed() > TIME_LIMIT => {
                return Err("not all releases were published within 120 s".to_owned());
            }
            None => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    }
}

/// Returns one line `SHA256  LENGTH  PATH` for each target. The files are not read, so the hashes are arbitrary.
fn list(targets: usize) -> String {
    let mut text = String::new();
    for number in 0..targets as u64 {
        let digits = format!("{:016x}", (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
        let _ = writeln!(text, "{digits}  10240  project-{number:07}-1.0.0.tar.gz");
    }
    text
}
