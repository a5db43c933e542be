//! `demo`: simulates a maintainer, a client and an attacker with the packages that this program was built from.
//!
//! Each part of the demo runs the real commands over HTTP on loopback and checks their results. The maintainer's
//! commands are separate processes. The client's commands run in this process, so that the demo can set their clock.

mod attacker;
mod copies;
mod evidence;
mod packages;
mod runner;

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable_path;

use super::context::Context;
use crate::Error;
use attacker::Attacker;
use packages::Package;
use runner::Runner;

/// `demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep the temporary folder of the demo, and print its path.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// The number of packages that are held back and published later as an update.
const HELD_BACK: usize = 3;

pub(super) fn demo(context: &Context<'_>, args: &Demo, output: &Output) -> Result<ExitStatus, Error> {
    let packages = packages::of_this_build(&context.env)?;
    let mut runner = Runner::build(context.invocation.now, output)?;
    if args.keep {
        runner.keep_folder();
    }
    runner.say(&format!(
        "This demo publishes the {} packages that lastmile was built from, in {} and on 127.0.0.1.",
        packages.len(),
        printable_path(runner.folder())
    ));
    let (held_back, first) = packages.split_at(HELD_BACK.min(packages.len()));
    publish(&mut runner, first)?;
    fetch(&mut runner, first)?;
    let before = Attacker::copy(&runner, "before the update")?;
    update(&mut runner, held_back)?;
    rollback(&mut runner, &before)?;
    freeze(&mut runner)?;
    mix_and_match(&mut runner, &before)?;
    tampered(&mut runner, held_back)?;
    stolen_key(&mut runner)?;
    evidence::evidence(&mut runner)?;
    let failed = runner.failed();
    let verdict = match failed {
        0 => "All checks passed.".to_string(),
        1 => "1 check failed: see FAILED above.".to_string(),
        _ => format!("{failed} checks failed: see FAILED above."),
    };
    runner.say(&format!("\n{verdict}"));
    runner.clear()?;
    Ok(if failed == 0 { ExitStatus::Done } else { ExitStatus::Failed })
}

fn publish(runner: &mut Runner, packages: &[Package]) -> Result<(), Error> {
    runner.start_part("A maintainer creates a repository and publishes packages");
    runner.maintainer(&["init", "packages"])?;
    packages::link(packages, &runner.path("release-1"))?;
    runner.maintainer(&["-C", "packages", "add", "release-1"])?;
    runner.serve(&runner.path("packages"))
}

fn fetch(runner: &mut Runner, packages: &[Package]) -> Result<(), Error> {
    runner.start_part("A client that was shipped with root version 1 downloads all packages");
    let (metadata, targets) = runner.addresses();
    let root = "packages/metadata/1.root.json";
    let trust = ["trust", "add", "demo", "--root", root, "--metadata-url", &metadata, "--targets-url", &targets];
    runner.client(&trust, ExitStatus::Done, "")?;
    get(runner, packages)
}

fn get(runner: &mut Runner, packages: &[Package]) -> Result<(), Error> {
    let names = packages.iter().map(|package| package.file.as_str());
    let get: Vec<&str> = ["get", "--output", "downloads"].into_iter().chain(names).collect();
    runner.client(&get, ExitStatus::Done, "")?;
    let same = packages.iter().filter(|package| package.is_at(&runner.path("downloads"))).count();
    let claim = format!("{same} of {} files match Cargo.lock", packages.len());
    runner.check(same == packages.len(), &claim);
    Ok(())
}

fn update(runner: &mut Runner, packages: &[Package]) -> Result<(), Error> {
    runner.start_part("The maintainer publishes an update, and the client downloads it");
    packages::link(packages, &runner.path("release-2"))?;
    runner.maintainer(&["-C", "packages", "add", "release-2"])?;
    get(runner, packages)?;
    runner.forget_requests();
    runner.client(&["refresh"], ExitStatus::Done, "")?;
    let requests = runner.requests();
    let claim = format!("without a new release, a refresh requests {} files: {}", requests.len(), requests.join(", "));
    runner.check(requests.len() == 2, &claim);
    Ok(())
}

fn rollback(runner: &mut Runner, before: &Attacker) -> Result<(), Error> {
    runner.start_part("Rollback: an attacker serves an old copy of the repository");
    runner.serve(before.folder())?;
    runner.client(&["refresh"], ExitStatus::Refused, "rollback")
}

fn freeze(runner: &mut Runner) -> Result<(), Error> {
    runner.start_part("Freeze: an attacker keeps serving today's files, so that the client never sees an update");
    runner.serve(&runner.path("packages"))?;
    runner.use_client_after(30)?;
    runner.client(&["refresh"], ExitStatus::Refused, "expired")?;
    runner.use_original_client();
    Ok(())
}

fn mix_and_match(runner: &mut Runner, before: &Attacker) -> Result<(), Error> {
    runner.start_part("Mix and match: an attacker serves the new timestamp with the old snapshot and packages");
    let mixed = Attacker::copy(runner, "mixed")?;
    mixed.put_snapshot_of(before)?;
    runner.serve(mixed.folder())?;
    runner.use_new_client()?;
    runner.client(&["refresh"], ExitStatus::Refused, "snapshot")?;
    runner.use_original_client();
    Ok(())
}

fn tampered(runner: &mut Runner, packages: &[Package]) -> Result<(), Error> {
    runner.start_part("Tampering: an attacker changes one bit of a package");
    let tampered = Attacker::copy(runner, "tampered")?;
    let Some(package) = packages.first() else { return Ok(()) };
    tampered.flip_a_bit(&package.file)?;
    runner.serve(tampered.folder())?;
    runner.client(&["get", "--output", "tampered-download", &package.file], ExitStatus::Refused, "sha256")?;
    let nothing = !runner.path("tampered-download").join(&package.file).exists();
    runner.check(nothing, "the tampered package is not in the download folder");
    Ok(())
}

fn stolen_key(runner: &mut Runner) -> Result<(), Error> {
    runner.start_part("Theft: an attacker has stolen the snapshot and timestamp keys");
    runner.say(
        "The attacker signs inflated version numbers. The client then refuses honest updates, because it takes them for \
         rollbacks.",
    );
    let thief = Attacker::copy(runner, "inflated versions")?.with_stolen_keys(runner)?;
    thief.inflate_versions()?;
    runner.serve(thief.folder())?;
    runner.client(&["refresh"], ExitStatus::Done, "")?;
    runner.serve(&runner.path("packages"))?;
    runner.client(&["refresh"], ExitStatus::Refused, "rollback")?;
    runner.say("The attacker cannot add a package, because the stolen keys cannot sign for targets:");
    let thief = Attacker::copy(runner, "forged package")?.with_stolen_keys(runner)?;
    thief.forge_package()?;
    runner.serve(thief.folder())?;
    runner.client(&["refresh"], ExitStatus::Refused, "targets: signed by 0 of the 1 keys")?;

    runner.start_part("Recovery: the maintainer revokes the key");
    runner.maintainer(&["-C", "packages", "revoke", "file:keys/timestamp-1.pem"])?;
    runner.say("The deceived client recovers, and refuses files that are signed with the stolen keys:");
    runner.serve(&runner.path("packages"))?;
    runner.client(&["refresh"], ExitStatus::Done, "")?;
    let late = Attacker::copy(runner, "too late")?.with_stolen_keys(runner)?;
    late.inflate_versions()?;
    runner.serve(late.folder())?;
    runner.client(&["refresh"], ExitStatus::Refused, "0 of the 1 keys")
}
