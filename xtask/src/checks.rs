//! `cargo xtask test`: runs all checks of the project, the quick ones first.

use std::env;
use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use xtask::command::{Outcome, cargo, run_quietly, status};
use xtask::setup;

use crate::steps::Steps;
use crate::{counts, deny, random, style};

/// Runs all checks. Returns `true` if no check failed.
pub(crate) fn run(project: &Path) -> bool {
    let mut steps = Steps::new();
    steps.run("setup", || {
        if setup::run(project) { Outcome::Passed } else { Outcome::Failed("something is missing, see above".into()) }
    });
    lints(&mut steps, project);
    // Check these crates without the rest of the workspace, because cargo would otherwise enable the features that the
    // rest of the workspace needs.
    let lean = ["clippy", "--locked", "--no-default-features", "-p", "lastmile-keys", "-p", "lastmile-metadata"];
    steps.command("keys, metadata without features", cargo(project, &lean).args(["--", "-D", "warnings"]));
    let lean = ["clippy", "--locked", "--no-default-features", "-p", "lastmile-client"];
    steps.command("client without features", cargo(project, &lean).args(["--", "-D", "warnings"]));
    let lean =
        ["test", "--locked", "-p", "lastmile-client", "--no-default-features", "--features", "cli,aws-lc", "--lib"];
    steps.tests("client without attest", &mut cargo(project, &lean));
    steps.run("client with ring", || client_with_ring(project));
    for features in ["", "http,aws-lc", "cli,aws-lc", "default"] {
        let lean = ["clippy", "--locked", "-p", "lastmile-repo-tool", "--no-default-features", "--features", features];
        let name = if features.is_empty() { "no features" } else { features };
        steps.command(&format!("repo-tool with {name}"), cargo(project, &lean).args(["--", "-D", "warnings"]));
    }
    // Build the tests together with the programs and examples that they start, so that each dependency has a single set
    // of features. Separate builds would compile a quarter of the dependencies twice.
    let programs = ["build", "--locked", "--workspace", "--all-features", "--bins", "--examples", "--tests"];
    steps.command("programs and tests", &mut cargo(project, &programs));
    // Many tests wait for other processes, so run more tests at a time than there are cores.
    let threads = available_parallelism().map_or(1, NonZero::get) * 3 / 2;
    let mut all = test(project, &["--lib", "--bins", "--tests", "--", "--skip", "interop::"]);
    if env::var_os("RUST_TEST_THREADS").is_none() {
        all.env("RUST_TEST_THREADS", threads.to_string());
    }
    steps.tests("tests", &mut all);
    steps.tests("interop", &mut test(project, &["--test", "it", "--", "interop::"]));
    match random::histories(project) {
        Ok(mut histories) => steps.tests("random adversary", &mut histories),
        Err(error) => steps.run("random adversary", || Outcome::Failed(error)),
    }
    steps.tests("doc tests", &mut test(project, &["--doc"]));
    steps.run("packages", || package(project));
    steps.run("instruction counts", || counts::check(project));
    let docs = ["doc", "--locked", "--workspace", "--all-features", "--no-deps"];
    steps.command("docs", cargo(project, &docs).env("RUSTDOCFLAGS", "-D warnings"));
    steps.command("licences, bans, sources", &mut deny::check(project, &["licenses", "bans", "sources"]));
    steps.run("advisories", || deny::advisories(project));
    steps.summary()
}

/// Runs the checks that only read the sources. Returns `true` if no check failed.
pub(crate) fn lint(project: &Path) -> bool {
    let mut steps = Steps::new();
    lints(&mut steps, project);
    steps.summary()
}

fn lints(steps: &mut Steps, project: &Path) {
    steps.command("format", &mut cargo(project, &["fmt", "--all", "--check"]));
    steps.run("style", || style::run(project));
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    steps.command("clippy", &mut cargo(project, &clippy));
}

const PUBLISHED: [&str; 9] = [
    "lastmile-fs",
    "lastmile-keys",
    "lastmile-metadata",
    "lastmile-attest",
    "lastmile-cli-support",
    "lastmile-client",
    "lastmile-testkit",
    "lastmile-attacks",
    "lastmile-repo-tool",
];

/// The files that every published crate contains in addition to its sources.
const PACKAGED_FILES: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// Packages the published crates. Fails if a dependency has no version, if a manifest is incomplete, or if a package
/// lacks one of [`PACKAGED_FILES`]. Does not build the packages; `cargo publish` builds them.
fn package(project: &Path) -> Outcome {
    let mut missing = Vec::new();
    for name in PUBLISHED {
        let listed = match run_quietly(&mut cargo(project, &["package", "--list", "--allow-dirty", "-p", name])) {
            Ok(output) => output.stdout,
            Err(error) => return Outcome::Failed(error),
        };
        let lacks = |file: &&&str| !listed.lines().any(|line| line == **file);
        missing.extend(PACKAGED_FILES.iter().filter(lacks).map(|file| format!("{name} lacks {file}")));
    }
    if !missing.is_empty() {
        return Outcome::Failed(missing.join(", "));
    }
    let mut command = cargo(project, &["package", "--locked", "--no-verify", "--allow-dirty"]);
    command.args(PUBLISHED.iter().flat_map(|name| ["-p", name]));
    status(&mut command)
}

/// Checks that `lastmile-client` with the feature `ring`, but without `aws-lc`, does not depend on AWS-LC. Compiles
/// nothing.
fn client_with_ring(project: &Path) -> Outcome {
    let arguments = ["tree", "--locked", "-p", "lastmile-client", "--no-default-features", "--features", "http,ring"];
    let mut tree = cargo(project, &arguments);
    tree.args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let output = match tree.output() {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => return Outcome::Failed(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let packages = String::from_utf8_lossy(&output);
    let has = |name: &str| packages.lines().any(|line| line.split(' ').next() == Some(name));
    if !has("ring") {
        return Outcome::Failed("the feature `ring` does not enable ring".to_owned());
    }
    if has("aws-lc-rs") || has("aws-lc-sys") {
        return Outcome::Failed("AWS-LC is built although the feature `ring` replaces `aws-lc`".to_owned());
    }
    Outcome::Passed
}

fn test(project: &Path, arguments: &[&str]) -> Command {
    let mut command = cargo(project, &["test", "--locked", "--workspace", "--all-features", "--no-fail-fast"]);
    command.args(arguments);
    command
}
