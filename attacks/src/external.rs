//! Runs cases against any program that implements the client-under-test protocol, and checks the program's exit code
//! and files.
//!
//! The protocol comes from the TUF community's conformance suite. The client has the commands `init`, `refresh` and
//! `download`, exits with code 0 or 1, and stores trusted roles as `ROLE.json` in the metadata folder.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use lastmile_testkit::{FakeNetwork, file_name};
use tempfile::TempDir;

use crate::case_server::{CaseServer, below, changed, newest};
use crate::harm::{Ending, Holdings, harm};
use crate::{Action, Case, Expect, GOOD};

/// The default time limit for one run of the client.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The maximum memory of one run, in bytes. Memory is measured only on systems with `/proc`.
pub const MAX_MEMORY: u64 = 512 << 20;
/// The client's folder, relative to the temporary directory of the case. The folder is several levels deep so that a
/// path with a few `..` segments still leads into the temporary directory, where the checks notice a file that the
/// client writes to this path.
const HOME: &str = "a/b/c";

/// The environment variables that are passed on to the client if they are set. All other variables are removed, because
/// they may contain pass-phrases, tokens or proxies. To pass other variables to a client, use the command `env
/// NAME=VALUE CLIENT`.
pub const VISIBLE_VARIABLES: [&str; 9] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

/// A client program: its command, its environment variables, and its time limit.
#[derive(Debug, Clone)]
pub struct Program {
    command: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    time_limit: Duration,
}

impl Program {
    /// Creates a client with the time limit [`TIME_LIMIT`]. `command` consists of the program and its first arguments.
    ///
    /// `variable` returns the value of an environment variable. Only the variables in [`VISIBLE_VARIABLES`] are passed
    /// to the client.
    pub fn new(command: &[OsString], variable: impl Fn(&str) -> Option<OsString>) -> Program {
        let environment = VISIBLE_VARIABLES.iter().filter_map(|name| Some((*name, variable(name)?)));
        Program { command: command.to_vec(), environment: environment.collect(), time_limit: TIME_LIMIT }
    }

    /// Sets the time limit for one run.
    #[must_use]
    pub fn time_limit(self, time_limit: Duration) -> Program {
        Program { time_limit, ..self }
    }

    /// Returns the command, without the arguments that the protocol adds.
    fn command(&self) -> io::Result<Command> {
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// The result of running a case against a client.
///
/// The first four variants mean that the client is safe. The last four variants mean that it is not safe. A safe client
/// is `Harmless` if it is less strict than expected, and `TooStrict` if it is stricter than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The client refused the attack twice, kept none of the attacker's files, and recovered.
    Refused,
    /// The client accepted unusual but legal input.
    Served,
    /// The client accepted input that it should refuse, but it still has the right packages at the right versions, and
    /// it recovered.
    Harmless,
    /// The client refused unusual but legal input, and recovered.
    TooStrict,
    /// The attack succeeded: the client has files with wrong content, is in an older or incomplete state, or wrote a
    /// file outside its folders.
    Accepted,
    /// The client was terminated by a signal, or ended with an exit code that the protocol does not define.
    Crashed,
    /// The client did not end in time, read too many bytes, or used too much memory.
    Hung,
    /// The client refused an honest repository, before or after the attack.
    NotRecovered,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Refused => "refused",
            Verdict::Served => "served",
            Verdict::Harmless => "harmless",
            Verdict::TooStrict => "too strict",
            Verdict::Accepted => "accepted",
            Verdict::Crashed => "crashed",
            Verdict::Hung => "hung",
            Verdict::NotRecovered => "not recovered",
        })
    }
}

impl Verdict {
    /// The verdicts for a client that is not safe.
    pub const UNSAFE: [Verdict; 4] = [Verdict::Accepted, Verdict::Crashed, Verdict::Hung, Verdict::NotRecovered];
    /// The verdicts for a safe client that is less or more strict than expected.
    pub const STRICTNESS: [Verdict; 2] = [Verdict::Harmless, Verdict::TooStrict];

    /// Returns `true` if the attack did not harm the client.
    #[must_use]
    pub fn is_safe(self) -> bool {
        !Verdict::UNSAFE.contains(&self)
    }

    /// Returns `true` if the client did exactly what the case expects.
    #[must_use]
    pub fn is_expected(self) -> bool {
        matches!(self, Verdict::Refused | Verdict::Served)
    }
}

/// An unexpected verdict and the observation that led to it.
type Finding = (Verdict, String);

/// Runs a case against `program`. Returns the verdict and a reason, which is empty if the verdict is the expected one.
///
/// # Errors
///
/// Returns an error if the program cannot be started, or if its folders cannot be created.
pub fn run(case: &Case, program: &Program) -> io::Result<(Verdict, String)> {
    let installation = Installation::new(program)?;
    match installation.run_case(case) {
        Ok(Some(difference)) => Ok(difference),
        Ok(None) => Ok((if case.is_attack() { Verdict::Refused } else { Verdict::Served }, String::new())),
        Err(Failure::Judged(fault)) => Ok(fault),
        Err(Failure::Machine(error)) => Err(error),
    }
}

enum Failure {
    Judged(Finding),
    Machine(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Machine(error)
    }
}

fn fail<T>(verdict: Verdict, seen: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Judged((verdict, seen.into())))
}

struct Installation<'a> {
    program: &'a Program,
    server: CaseServer,
    folder: TempDir,
}

/// All files that an attack could change.
struct State {
    trusted: BTreeMap<String, Vec<u8>>,
    output: BTreeMap<String, Vec<u8>>,
    outside: BTreeMap<String, Vec<u8>>,
}

impl<'a> Installation<'a> {
    fn new(program: &'a Program) -> io::Result<Installation<'a>> {
        let installation = Installation { program, server: CaseServer::new(), folder: tempfile::tempdir()? };
        fs::create_dir_all(installation.metadata())?;
        fs::create_dir_all(installation.targets())?;
        Ok(installation)
    }

    fn metadata(&self) -> PathBuf {
        self.folder.path().join(HOME).join("metadata")
    }

    fn targets(&self) -> PathBuf {
        self.folder.path().join(HOME).join("targets")
    }

    /// Runs the case. Returns `None` if the client did what the case expects. Returns a finding if the client is safe,
    /// but less or more strict than expected. Returns an error if the client is not safe.
    fn run_case(&self, case: &Case) -> Result<Option<Finding>, Failure> {
        let shipped = self.folder.path().join("shipped.json");
        fs::write(&shipped, &case.shipped)?;
        let init = self.run(&["init".into(), shipped.into()])?;
        if init != Some(0) {
            return fail(Verdict::NotRecovered, format!("`init` ended with {}", word(init)));
        }
        for network in &case.before {
            if let Some(difference) = self.followed(case, network, "before the attack")? {
                return Ok(Some(difference));
            }
        }
        for network in &case.failed {
            self.server.serve(network);
            // This update only prepares the client for the attack, so its exit code is ignored.
            self.act(&[])?;
        }
        if let Some(tamper) = &case.tamper {
            tamper(&self.metadata());
        }
        let mut difference = None;
        for time in ["the first time", "the second time"] {
            let at_that_time = |(verdict, seen): Finding| (verdict, format!("{time}: {seen}"));
            self.server.attack(case);
            let found = self.attack(case).map_err(|failure| match failure {
                Failure::Judged(fault) => Failure::Judged(at_that_time(fault)),
                other => other,
            })?;
            difference = difference.or(found.map(at_that_time));
        }
        Ok(difference.or(self.followed(case, &case.honest, "after the attack")?))
    }

    /// Runs the client against an honest repository. If the case marks the repository as unusual, a client that refuses
    /// it is reported as too strict.
    fn followed(&self, case: &Case, network: &FakeNetwork, when: &str) -> Result<Option<Finding>, Failure> {
        match self.honest(case, network, when) {
            Ok(()) => Ok(None),
            Err(Failure::Judged((Verdict::NotRecovered, seen))) if case.honest_may_be_refused => {
                Ok(Some((Verdict::TooStrict, seen)))
            }
            Err(failure) => Err(failure),
        }
    }

    fn honest(&self, case: &Case, network: &FakeNetwork, when: &str) -> Result<(), Failure> {
        self.server.serve(network);
        let code = self.act(&case.packages)?;
        if code != Some(0) {
            return fail(Verdict::NotRecovered, format!("{when}, an honest repository was refused: {}", word(code)));
        }
        let state = self.state();
        if !case.packages.is_empty() && !is_good(&state.output) {
            return fail(
                Verdict::NotRecovered,
                format!("{when}, a package of an honest repository was not downloaded"),
            );
        }
        match state.trusted.get("timestamp.json").and_then(|bytes| version(bytes)) {
            Some(found) if found != newest(network) => fail(
                Verdict::NotRecovered,
                format!("{when}, version {found} of the timestamp is trusted, but {} is published", newest(network)),
            ),
            _ => Ok(()),
        }
    }

    fn attack(&self, case: &Case) -> Result<Option<Finding>, Failure> {
        let before = self.state();
        let wanted = match &case.action {
            Action::Refresh => Vec::new(),
            Action::Get(path) => vec![path.clone()],
        };
        let code = self.server.counted(case, || self.act(&wanted));
        let code = code.or_else(|seen| fail(Verdict::Hung, seen))??;
        let after = self.state();
        let outside = changed(&before.outside, &after.outside);
        if !outside.is_empty() {
            return fail(Verdict::Accepted, format!("files outside the client's folders changed: {outside:?}"));
        }
        let ending = if code == Some(0) { Ending::Success } else { Ending::Failure };
        if case.expect == Expect::Accepted && ending == Ending::Success {
            return legal(case, &before, &after).map_or(Ok(None), |seen| fail(Verdict::Accepted, seen));
        }
        if let Some(harm) = harm(case, before.holdings(), after.holdings(), ending) {
            return fail(Verdict::Accepted, format!("{}: {harm}", word(code)));
        }
        let may: Vec<String> = case.advances.iter().map(|role| file_name(role, None)).collect();
        let mut trusted = changed(&before.trusted, &after.trusted);
        trusted.retain(|name| !may.contains(name));
        Ok(match &case.expect {
            Expect::Accepted => Some((Verdict::TooStrict, format!("legal input was refused: {}", word(code)))),
            Expect::Refused(..) if ending == Ending::Success => {
                Some((Verdict::Harmless, format!("{}, with the right packages at the right versions", word(code))))
            }
            Expect::Refused(..) if !trusted.is_empty() => Some((
                Verdict::Harmless,
                format!("{}, but trusted files changed in a harmless way: {trusted:?}", word(code)),
            )),
            Expect::Refused(..) => None,
        })
    }

    fn state(&self) -> State {
        let roles =
            below(&self.metadata()).into_iter().filter(|(name, _)| name.ends_with(".json") && !name.contains('/'));
        let trusted = roles.map(|(name, bytes)| (self.linked(&name).unwrap_or(bytes), name));
        let own =
            |name: &String| ["metadata/", "targets/"].iter().any(|own| name.starts_with(&format!("{HOME}/{own}")));
        let ours = |name: &String| name == "shipped.json" || name == "stderr";
        let all = below(self.folder.path()).into_iter();
        State {
            trusted: trusted.map(|(bytes, name)| (name, bytes)).collect(),
            output: below(&self.targets()),
            outside: all.filter(|(name, _)| !own(name) && !ours(name)).collect(),
        }
    }

    /// Returns the content of a trusted file that is a symbolic link to another file in the metadata folder. Some
    /// clients store `root.json` as such a link.
    fn linked(&self, name: &str) -> Option<Vec<u8>> {
        let folder = self.metadata().canonicalize().ok()?;
        let file = folder.join(name).canonicalize().ok()?;
        file.starts_with(&folder).then(|| fs::read(file).ok())?
    }

    /// Runs `download` for `targets`, or `refresh` if the list is empty.
    fn act(&self, targets: &[String]) -> Result<Option<i32>, Failure> {
        let mut words: Vec<OsString> = vec!["--metadata-url".into(), format!("{}metadata/", self.server.url()).into()];
        for target in targets {
            words.extend(["--target-name".into(), target.into()]);
        }
        if targets.is_empty() {
            words.push("refresh".into());
        } else {
            words.extend(["--target-dir".into(), self.targets().into(), "--target-base-url".into()]);
            words.extend([format!("{}targets/", self.server.url()).into(), "download".into()]);
        }
        self.run(&words)
    }

    /// Runs the client and returns its exit code. Any code other than 0 or 1 counts as a crash.
    fn run(&self, words: &[OsString]) -> Result<Option<i32>, Failure> {
        let mut command = self.program.command()?;
        command.arg("--metadata-dir").arg(self.metadata()).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(self.folder.path().join("stderr"))?);
        let mut child = command.spawn()?;
        let code = match wait(&mut child, self.program.time_limit)? {
            Ok(status) => status.code(),
            Err(seen) => return fail(Verdict::Hung, seen),
        };
        match code {
            Some(0 | 1) => Ok(code),
            other => fail(Verdict::Crashed, format!("ended with {}: {}", word(other), self.last_words())),
        }
    }

    fn last_words(&self) -> String {
        let stderr = fs::read(self.folder.path().join("stderr")).unwrap_or_default();
        let text = String::from_utf8_lossy(&stderr);
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().chars().take(200).collect()
    }
}

impl State {
    fn holdings(&self) -> Holdings<'_> {
        Holdings { trusted: &self.trusted, output: &self.output }
    }
}

/// Checks the state of a client that accepted unusual but legal input. Returns a description of the first fault.
fn legal(case: &Case, before: &State, after: &State) -> Option<String> {
    let trusted = changed(&before.trusted, &after.trusted);
    if case.changes_nothing && !trusted.is_empty() {
        return Some(format!("trusted files changed: {trusted:?}"));
    }
    let is_wrong = matches!(case.action, Action::Get(_)) && !is_good(&after.output);
    is_wrong.then(|| "the legal package was not downloaded".to_owned())
}

/// Returns `true` if `output` contains at least one file and all its files have the content [`GOOD`]. The names of the
/// files are not checked, because clients may choose them.
fn is_good(output: &BTreeMap<String, Vec<u8>>) -> bool {
    !output.is_empty() && output.values().all(|bytes| bytes == GOOD)
}

fn word(code: Option<i32>) -> String {
    code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"))
}

fn version(bytes: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(bytes).ok()?["signed"]["version"].as_u64()
}

/// Waits for the client to exit, and kills it if it exceeds the time limit or the memory limit.
fn wait(child: &mut Child, time_limit: Duration) -> io::Result<Result<ExitStatus, String>> {
    // Add up the pauses instead of reading a clock. Otherwise, the client would appear to hang after the machine was
    // suspended.
    let mut waited = Duration::ZERO;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut pause = Duration::from_millis(1);
    let seen = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ok(status));
        }
        if waited > time_limit {
            break format!("did not end within {} s", time_limit.as_secs());
        }
        if let Some(memory) = peak_memory(&status).filter(|memory| *memory > MAX_MEMORY) {
            break format!("used {} MiB of memory", memory >> 20);
        }
        thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    child.kill()?;
    child.wait()?;
    Ok(Err(seen))
}

/// Reads the peak memory in bytes from a line like `VmHWM:      5432 kB`.
fn peak_memory(status: &Path) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sees_the_listed_variables_and_no_others() {
        let mut asked = std::cell::RefCell::new(Vec::new());
        let program = Program::new(&["env".into()], |name| {
            asked.borrow_mut().push(name.to_owned());
            (name != "TZ").then(|| format!("the {name}").into())
        });
        assert_eq!(asked.get_mut().as_slice(), VISIBLE_VARIABLES);
        let command = program.command().unwrap();
        let passed: Vec<_> = command.get_envs().map(|(name, _)| name.to_str().unwrap()).collect();
        let mut expected: Vec<_> = VISIBLE_VARIABLES.into_iter().filter(|name| *name != "TZ").collect();
        expected.sort_unstable();
        assert_eq!(passed, expected);
        // The client must not inherit variables of this process, such as `CARGO`.
        let output = Command::new("sh").args(["-c", "command -v env"]).output().unwrap();
        let env = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let output = Program::new(&[env.into()], |_| None).command().unwrap().output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }
}
