//! `demo`: a maintainer, a client and an attacker play with the real packages that this program was built from.
//!
//! Every scene runs the real commands over HTTP on loopback and knows how it must end. The commands of the maintainer are
//! processes of their own; the client's run in this one, so that its clock can be set.

mod attacker;
mod packages;
mod stage;

use std::path::Path;

use super::args::Demo;
use super::{Context, ExitStatus, Output};
use crate::Error;
use attacker::Attacker;
use packages::Package;
use stage::Stage;

/// How many packages are held back for the update.
const HELD_BACK: usize = 3;

pub(super) fn demo(context: &Context<'_>, args: &Demo, output: &Output) -> Result<ExitStatus, Error> {
    let packages = packages::of_this_build(&context.env)?;
    let mut stage = Stage::build(context.invocation.now, args.keep, output)?;
    stage.say(&format!(
        "lastmile with the {} packages that it was built from. It plays in {} and on 127.0.0.1.",
        packages.len(),
        stage.folder().display()
    ));
    let (held_back, first) = packages.split_at(HELD_BACK.min(packages.len()));
    publish(&mut stage, first)?;
    fetch(&mut stage, first)?;
    let before = Attacker::copy(&stage, "before the update")?;
    update(&mut stage, held_back)?;
    rollback(&mut stage, &before)?;
    freeze(&mut stage)?;
    mix_and_match(&mut stage, &before)?;
    tampered(&mut stage, held_back)?;
    stolen_key(&mut stage)?;
    let failed = stage.failed();
    let verdict = match failed {
        0 => "Every scene ended as it must.".to_string(),
        1 => "1 thing did not end as it must: see FAILED above.".to_string(),
        _ => format!("{failed} things did not end as they must: see FAILED above."),
    };
    stage.say(&format!("\n{verdict}"));
    stage.clear()?;
    Ok(if failed == 0 { ExitStatus::Done } else { ExitStatus::Failed })
}

fn publish(stage: &mut Stage, packages: &[Package]) -> Result<(), Error> {
    stage.scene("A maintainer makes a repository and publishes");
    stage.maintainer(&["init", "packages"])?;
    packages::link(packages, &stage.path("release-1"))?;
    stage.maintainer(&["-C", "packages", "add", "release-1"])?;
    stage.serve(&stage.path("packages"))
}

fn fetch(stage: &mut Stage, packages: &[Package]) -> Result<(), Error> {
    stage.scene("A client that was shipped with root version 1 fetches all of it");
    let (metadata, targets) = stage.addresses();
    let root = "packages/metadata/1.root.json";
    let trust = ["trust", "add", "demo", "--root", root, "--metadata-url", &metadata, "--targets-url", &targets];
    stage.client(&trust, ExitStatus::Done, "")?;
    get(stage, packages)
}

fn get(stage: &mut Stage, packages: &[Package]) -> Result<(), Error> {
    let names = packages.iter().map(|package| package.file.as_str());
    let get: Vec<&str> = ["get", "--output", "downloads"].into_iter().chain(names).collect();
    stage.client(&get, ExitStatus::Done, "")?;
    let same = packages.iter().filter(|package| package.is_at(&stage.path("downloads"))).count();
    let claim = format!("{same} of {} files are what Cargo.lock says", packages.len());
    stage.check(same == packages.len(), &claim);
    Ok(())
}

fn update(stage: &mut Stage, packages: &[Package]) -> Result<(), Error> {
    stage.scene("An update is published, and arrives");
    packages::link(packages, &stage.path("release-2"))?;
    stage.maintainer(&["-C", "packages", "add", "release-2"])?;
    get(stage, packages)?;
    stage.forget_requests();
    stage.client(&["refresh"], ExitStatus::Done, "")?;
    let requests = stage.requests();
    let claim = format!("with nothing new, a refresh asks for {} files: {}", requests.len(), requests.join(", "));
    stage.check(requests.len() == 2, &claim);
    Ok(())
}

fn rollback(stage: &mut Stage, before: &Attacker) -> Result<(), Error> {
    stage.scene("Rollback: an attacker serves the repository as it was before the update");
    stage.serve(before.folder())?;
    stage.client(&["refresh"], ExitStatus::Refused, "rollback")
}

fn freeze(stage: &mut Stage) -> Result<(), Error> {
    stage.scene("Freeze: an attacker goes on serving what is the newest today, so that no update is ever seen");
    stage.serve(&stage.path("packages"))?;
    stage.a_client_in(30)?;
    stage.client(&["refresh"], ExitStatus::Refused, "expired")?;
    stage.the_client_of_today();
    Ok(())
}

fn mix_and_match(stage: &mut Stage, before: &Attacker) -> Result<(), Error> {
    stage.scene("Mix and match: the new timestamp with the old snapshot and its old packages");
    let mixed = Attacker::copy(stage, "mixed")?;
    mixed.put_snapshot_of(before)?;
    stage.serve(mixed.folder())?;
    stage.a_new_client()?;
    stage.client(&["refresh"], ExitStatus::Refused, "snapshot")?;
    stage.the_client_of_today();
    Ok(())
}

fn tampered(stage: &mut Stage, packages: &[Package]) -> Result<(), Error> {
    stage.scene("Tampering: one bit of a package is another");
    let tampered = Attacker::copy(stage, "tampered")?;
    let Some(package) = packages.first() else { return Ok(()) };
    tampered.flip_a_bit(&package.file)?;
    stage.serve(tampered.folder())?;
    stage.client(&["get", "--output", "elsewhere", &package.file], ExitStatus::Refused, "sha256")?;
    let nothing = !stage.path("elsewhere").join(&package.file).exists();
    stage.check(nothing, "nothing of it is on the disk");
    Ok(())
}

fn stolen_key(stage: &mut Stage) -> Result<(), Error> {
    stage.scene("Theft: an attacker has taken the keys of snapshot and timestamp");
    stage.say("The thief drives their versions up. That, these keys can do: the client will refuse honest updates.");
    let thief = Attacker::copy(stage, "driven up")?.with_stolen_keys(stage)?;
    thief.drive_versions_up()?;
    stage.serve(thief.folder())?;
    stage.client(&["refresh"], ExitStatus::Done, "")?;
    stage.serve(&stage.path("packages"))?;
    stage.client(&["refresh"], ExitStatus::Refused, "rollback")?;
    stage.say("What they cannot do is to vouch for another package:");
    let thief = Attacker::copy(stage, "forged package")?.with_stolen_keys(stage)?;
    thief.forge_package()?;
    stage.serve(thief.folder())?;
    stage.client(&["refresh"], ExitStatus::Refused, "targets: signed by 0 of the 1 keys")?;

    stage.scene("Three in the morning: the key is revoked");
    stage.maintainer(&["-C", "packages", "revoke", "file:keys/timestamp-1.pem"])?;
    stage.say("The client that was misled comes back, and the thief's keys are worth nothing any more:");
    stage.serve(&stage.path("packages"))?;
    stage.client(&["refresh"], ExitStatus::Done, "")?;
    let late = Attacker::copy(stage, "too late")?.with_stolen_keys(stage)?;
    late.drive_versions_up()?;
    stage.serve(late.folder())?;
    stage.client(&["refresh"], ExitStatus::Refused, "0 of the 1 keys")
}

/// Copies a folder as hard links where that works: nobody writes into files here, they are replaced.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.map_err(|error| Error::file("read", from, error.into()))?;
        let goal = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&goal).map_err(|error| Error::file("create", &goal, error))?;
        } else {
            link_or_copy(entry.path(), &goal)?;
        }
    }
    Ok(())
}

fn link_or_copy(from: &Path, to: &Path) -> Result<(), Error> {
    let made = std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(drop));
    made.map_err(|error| Error::file("write", to, error))
}
