//! Measures the verification of Sigstore bundles, and compares lastmile with cosign and with the verifiers of the
//! Sigstore project. All programs verify the same bundle for the same file with the same trusted root, without a
//! network.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::command::{Outcome, cargo, status};

use crate::Setup;
use crate::process::{self, TIME_LIMIT, Used, measure};
use crate::report::Report;
use crate::row::{Bar, Contestant, OURS, Row, Unit, in_turns};

const COSIGN: &str = "cosign";
const SIGSTORE_GO: &str = "sigstore-go";
const SIGSTORE_PYTHON: &str = "sigstore-python";
const SIGSTORE_JS: &str = "sigstore-js";

const PROCESS: Bar = Bar {
    text: "10× sigstore-python, 1× cosign, under 24 MB",
    ratios: &[(SIGSTORE_PYTHON, 10.0), (COSIGN, 1.0)],
    most: None,
    memory: Some(24e6),
};
const LOOP: Bar = Bar { text: "1× sigstore-python", ratios: &[(SIGSTORE_PYTHON, 1.0)], most: None, memory: None };

/// A bundle in `attest/tests/fixtures`, and the expected file, identity and statement.
struct Sample {
    what: &'static str,
    bundle: &'static str,
    subject: &'static str,
    issuer: &'static str,
    /// The SHA-256 of the file.
    digest: &'static str,
    /// The type of the statement, or `None` for a signature over the file.
    statement: Option<&'static str>,
}

const ROOT: &str = "public-root.json";

const SAMPLES: [Sample; 2] = [
    Sample {
        what: "a signature over a file (certificate, SCT, Rekor v1)",
        bundle: "file-v0.2.json",
        subject: "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2",
        issuer: "https://token.actions.githubusercontent.com",
        digest: "c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201",
        statement: None,
    },
    Sample {
        what: "provenance (certificate, SCT, Rekor v1)",
        bundle: "custom-issuer.json",
        subject: "https://github.com/too-legit/attest/.github/workflows/integration.yml@refs/heads/main",
        issuer: "https://token.actions.githubusercontent.com/hammer-time",
        digest: "afa27b44d43b02a9fea41d13cedc2e4016cfcf87c5dbf990e593669aa8ce286d",
        statement: Some("https://slsa.dev/provenance/v1"),
    },
];

/// Measures how long a whole process takes, and how long a single verification takes within a process.
pub(crate) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let build = ["build", "--release", "--locked", "-p", "lastmile-tests", "--bin", "lastmile-conformance"];
    if let Outcome::Failed(why) = status(&mut cargo(&setup.project, &build)) {
        return Err(format!("the verifiers could not be built: {why}"));
    }
    let verifiers = Verifiers { setup, rounds: if setup.peers { 11 } else { 5 } };
    report.part(
        "Evidence",
        "The programs verify the same Sigstore bundle for the same SHA-256, with the same trusted root and without a network: \
         `lastmile-conformance verify-bundle`, `cosign verify-blob` and `verify-blob-attestation`, \
         `sigstore-go-verification`, and scripts that call sigstore-python and @sigstore/verify from npm. \
         `sigstore-go-verification` has no option for the expected type of the statement. @sigstore/verify does not \
         check that the statement contains the SHA-256. In the rows that begin with \"a repeated verification\", one \
         process verifies the bundle many times. It reads the bundle anew each time, but the trusted root only once.",
    );
    report.table_head();
    for sample in &SAMPLES {
        verifiers.check(sample)?;
        let series = in_turns(verifiers.processes(sample));
        report.table_row(&Row::new(
            &format!("a process that verifies once: {}", sample.what),
            &PROCESS,
            Unit::Seconds,
            &series,
            None,
        ));
        let series = in_turns(verifiers.loops(sample));
        let rate = series.first().and_then(|ours| ours.median()).map_or(0.0, |seconds| 1.0 / seconds);
        let also = Some((format!("{rate:.0} verifications a second"), rate > 0.0));
        report.table_row(&Row::new(
            &format!("a repeated verification of {}", sample.what),
            &LOOP,
            Unit::Seconds,
            &series,
            also,
        ));
    }
    Ok(())
}

struct Verifiers<'a> {
    setup: &'a Setup,
    rounds: usize,
}

impl Verifiers<'_> {
    fn fixture(&self, name: &str) -> PathBuf {
        self.setup.project.join("attest/tests/fixtures").join(name)
    }

    /// The command configures an HTTP proxy that does not exist, so the program fails if it uses the network.
    fn command(&self, program: &Path) -> Command {
        let mut command = process::command(program, &self.setup.scratch);
        for variable in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env(variable, "http://127.0.0.1:1");
        }
        command.env("HOME", &self.setup.scratch);
        command
    }

    fn ours(&self, sample: &Sample) -> Command {
        let mut command = self.command(&self.setup.project.join("target/release/lastmile-conformance"));
        command.arg("verify-bundle").arg("--bundle").arg(self.fixture(sample.bundle));
        command.arg("--trusted-root").arg(self.fixture(ROOT)).args(["--certificate-identity", sample.subject]);
        command.args(["--certificate-oidc-issuer", sample.issuer]).arg(format!("sha256:{}", sample.digest));
        command
    }

    fn cosign(&self, sample: &Sample) -> Command {
        let mut command = self.command(&self.debian("cosign"));
        match sample.statement {
            None => drop(command.args(["verify-blob", &format!("sha256:{}", sample.digest)])),
            Some(kind) => {
                command.args(["verify-blob-attestation", "--type", kind, "--digest", sample.digest]);
                command.args(["--digestAlg", "sha256"]);
            }
        }
        command.args(["--certificate-identity", sample.subject, "--certificate-oidc-issuer", sample.issuer]);
        command.arg("--trusted-root").arg(self.fixture(ROOT)).arg("--bundle").arg(self.fixture(sample.bundle));
        command
    }

    fn sigstore_go(&self, sample: &Sample) -> Command {
        let mut command = self.command(&self.debian("sigstore-go-verification"));
        command.arg("-trustedrootJSONpath").arg(self.fixture(ROOT));
        command.args(["-artifact-digest", sample.digest, "-artifact-digest-algorithm", "sha256"]);
        command.args(["-expectedSAN", sample.subject, "-expectedIssuer", sample.issuer]);
        command.arg(self.fixture(sample.bundle));
        command
    }

    fn sigstore_python(&self, sample: &Sample, rounds: u32) -> Command {
        let mut command = self.command(&self.setup.project.join("target/interop/sigstore-venv/bin/python"));
        command.arg(self.setup.project.join("tests/perf/sigstore_python.py"));
        command.arg(self.fixture(sample.bundle)).arg(self.fixture(ROOT));
        command.args([sample.subject, sample.issuer, sample.digest, &rounds.to_string()]);
        command
    }

    /// To verify a signature over a file, @sigstore/verify would need the file itself, so it is measured only with
    /// statements.
    fn sigstore_js(&self, sample: &Sample) -> Command {
        let mut command = self.command(Path::new("node"));
        command.env("NODE_MODULES", self.setup.project.join("target/interop/node/node_modules"));
        command.arg(self.setup.project.join("tests/interop/verify_with_sigstore_js.cjs")).arg("identity");
        command.arg(self.fixture(sample.bundle)).arg(self.fixture(ROOT)).args([sample.subject, sample.issuer]);
        command
    }

    fn debian(&self, program: &str) -> PathBuf {
        self.setup.project.join("target/interop/debian/root/usr/bin").join(program)
    }

    /// Checks that the programs refuse the bundle if a different certificate subject is expected, and that
    /// @sigstore/verify accepts the bundle. A program that verified nothing would make the measurement meaningless.
    fn check(&self, sample: &Sample) -> Result<(), String> {
        let wrong = Sample { subject: "mallory@example.com", ..*sample };
        let mut commands = vec![self.ours(&wrong), self.sigstore_python(&wrong, 1)];
        if self.debian("cosign").exists() {
            commands.push(self.cosign(&wrong));
        }
        if self.debian("sigstore-go-verification").exists() {
            commands.push(self.sigstore_go(&wrong));
        }
        for mut command in commands {
            let output = command.output().map_err(|error| error.to_string())?;
            if output.status.success() {
                return Err(format!("{command:?} accepts another subject"));
            }
        }
        if sample.statement.is_some() && self.setup.peers {
            // This script prints `ok` or an error, and always exits with status 0.
            let output = self.sigstore_js(sample).output().map_err(|error| error.to_string())?;
            if output.stdout != b"ok\n" {
                return Err(format!("{SIGSTORE_JS} refuses the bundle: {}", String::from_utf8_lossy(&output.stdout)));
            }
        }
        Ok(())
    }

    fn processes(&self, sample: &Sample) -> Vec<Contestant<'_>> {
        let peer = |program: &str| if self.setup.peers && self.debian(program).exists() { self.rounds } else { 0 };
        let others = if self.setup.peers { self.rounds } else { 0 };
        let js = if sample.statement.is_some() { others } else { 0 };
        vec![
            self.contestant(OURS, self.rounds, self.ours(sample)),
            self.contestant(COSIGN, peer("cosign"), self.cosign(sample)),
            self.contestant(SIGSTORE_GO, peer("sigstore-go-verification"), self.sigstore_go(sample)),
            self.contestant(SIGSTORE_PYTHON, others, self.sigstore_python(sample, 1)),
            self.contestant(SIGSTORE_JS, js, self.sigstore_js(sample)),
        ]
    }

    fn contestant<'a>(&'a self, program: &'static str, rounds: usize, command: Command) -> Contestant<'a> {
        let turn = Box::new(move || measure(&self.setup.python, &command, TIME_LIMIT));
        Contestant { program, rounds, turn }
    }

    /// Measures processes that verify the bundle many times. Each process prints the seconds per verification.
    fn loops(&self, sample: &Sample) -> Vec<Contestant<'_>> {
        let each = |program, rounds, mut command: Command| {
            let turn = Box::new(move || {
                let output = command.output().map_err(|error| error.to_string())?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let seconds = text.trim().parse().map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
                Ok(Used { seconds, memory: 0.0 })
            });
            Contestant { program, rounds, turn }
        };
        let python = if self.setup.peers { 5 } else { 0 };
        let mut ours = self.ours(sample);
        ours.args(["--rounds", "2000"]);
        vec![each(OURS, 5, ours), each(SIGSTORE_PYTHON, python, self.sigstore_python(sample, 50))]
    }
}
