//! Tests of releases by a team. The team's machine has the team's key, and in some tests also the online keys.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::program;

const DAY: u64 = 86_400;

/// The exit status if a change stays pending because signatures are missing.
const PENDING: i32 = 6;

/// A maintainer's machine, with a home folder, a configuration and a clone of the repository in `packages`.
struct Machine {
    folder: PathBuf,
    /// The time on this machine, in seconds since 1970.
    now: u64,
}

impl Machine {
    fn new(company: &Company, name: &str) -> Machine {
        let folder = company.path(name);
        fs::create_dir(&folder).unwrap();
        Machine { folder, now: company.now }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn command(&self, line: &str) -> Command {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = Command::new(program(words[0]));
        command.env_clear().env("HOME", &self.folder).current_dir(&self.folder);
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> (i32, String) {
        let output = self.command(line).env("SOURCE_DATE_EPOCH", self.now.to_string()).output().unwrap();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), printed)
    }

    fn succeed(&self, line: &str) -> String {
        let (status, printed) = self.run(line);
        assert_eq!(status, 0, "{line}: {printed}");
        printed
    }

    /// Runs a command line whose change must stay pending.
    fn pend(&self, line: &str) -> String {
        let (status, printed) = self.run(line);
        assert_eq!(status, PENDING, "{line}: {printed}");
        printed
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Copies the folder of a pending change to the new folder `name`. The message `printed` contains the path of the
    /// folder.
    fn receive(&self, name: &str, printed: &str) {
        let line = printed.lines().find(|line| line.contains("opy") && line.contains("/staged")).unwrap();
        let folder =
            line.split_whitespace().map(|word| word.trim_end_matches('.')).find(|word| word.ends_with("/staged"));
        copy(Path::new(folder.unwrap()), &self.path(name));
    }
}

/// The folder of a company. It contains the machines and the folder `www`, from which clients read the repository.
struct Company {
    folder: TempDir,
    now: u64,
}

impl Company {
    /// Creates a company in which the owner publishes a repository with the role `team-a` at the destination `www`. The
    /// key of `team-a` is on the machine of the team. The clocks of the machines are four days behind, so the timestamp
    /// is due for renewal.
    fn new() -> (Company, Machine, Machine) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 4 * DAY;
        let company = Company { folder: tempfile::tempdir().unwrap(), now };
        let owner = Machine::new(&company, "owner");
        let team = Machine::new(&company, "team");
        owner.succeed("lastmile-repo init packages --unencrypted-keys");
        owner.succeed("lastmile-repo push -C packages --to ../www");
        team.succeed("lastmile-repo key generate team-a --unencrypted --folder private");
        company.pull(&team);
        team.succeed("lastmile-repo key allow -C packages private/team-a.pem");

        // The delegation needs the team's signature, so the owner sends the change to the team, and the team sends it
        // back.
        copy(&team.path("private/team-a.pub"), &owner.path("team-a.pub"));
        let printed = owner.pend("lastmile-repo delegate -C packages team-a --paths team-a/* --key team-a.pub");
        team.receive("delegation", &printed);
        let printed = team.succeed("lastmile-repo sign -C packages --from delegation --yes");
        owner.receive("delegation", &printed);
        owner.succeed("lastmile-repo publish -C packages --from delegation --push");
        team.succeed("lastmile-repo pull -C packages --adopt");
        assert!(!team.path("packages/staged").exists(), "the pending change was published");
        (company, owner, team)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a clone of the repository on a machine, without its target files.
    fn pull(&self, machine: &Machine) {
        let root = self.path("owner/packages/metadata/1.root.json");
        let root = root.to_str().unwrap();
        machine.succeed(&format!("lastmile-repo pull -C packages --from ../www --root {root} --without-targets"));
    }

    /// Copies the owner's private keys of snapshot and timestamp to `machine`, and runs `key allow` for them.
    fn give_online_keys(&self, machine: &Machine) {
        for key in ["snapshot-1.pem", "timestamp-1.pem"] {
            copy(&self.path("owner/packages/keys").join(key), &machine.path(key));
            machine.succeed(&format!("lastmile-repo key allow -C packages {key}"));
        }
    }

    /// Checks that a new client gets exactly `targets`, each with its own name as content.
    fn serves(&self, targets: &[&str]) {
        let client = Machine { folder: tempfile::tempdir_in(self.folder.path()).unwrap().keep(), now: self.now };
        let root = self.path("owner/packages/metadata/1.root.json");
        let www = self.path("www/metadata/");
        let root = root.to_str().unwrap();
        let trust = format!("lastmile trust add it --root {root} --metadata-url file://{}", www.to_str().unwrap());
        client.succeed(&trust);
        client.succeed(&format!("lastmile get --output downloads {}", targets.join(" ")));
        for target in targets {
            assert_eq!(fs::read_to_string(client.path("downloads").join(target)).unwrap(), *target);
        }
        assert_eq!(client.succeed("lastmile list").lines().count(), targets.len());
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Writes a target with its own name as content, and publishes it on the owner's machine.
fn release_of_owner(owner: &Machine, target: &str) {
    owner.write(target, target);
    owner.succeed(&format!("lastmile-repo add -C packages {target} --push"));
}

#[test]
fn a_team_that_has_the_online_keys_releases_with_one_command_while_a_server_renews() {
    let (company, owner, team) = Company::new();
    company.give_online_keys(&team);
    let server = Machine::new(&company, "server");
    company.pull(&server);
    company.give_online_keys(&server);
    // The owner releases something that the team's clone and the server do not have.
    release_of_owner(&owner, "tool");

    team.write("app", "team-a/app");
    let printed = team.succeed("lastmile-repo add -C packages app --role team-a --under team-a --push --json");
    let json: Value = serde_json::from_str(&printed[..printed.rfind('}').unwrap() + 1]).unwrap();
    assert_eq!(json["outcome"], "published");
    company.serves(&["tool", "team-a/app"]);
    assert!(!team.path("packages/targets").join("tool").exists());

    // The server renews the timestamp, although other machines have pushed releases.
    let mut service = server.command("lastmile-repo renew --watch --push --json -C packages");
    let mut service = service.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let ended = events.map(|event| event["event"].as_str().unwrap().to_owned());
    let ended = ended.filter(|event| event == "failed" || event == "pushed").take(1).collect::<Vec<_>>();
    service.kill().unwrap();
    service.wait().unwrap();
    assert_eq!(ended, ["pushed"]);
    company.serves(&["tool", "team-a/app"]);
}

#[test]
fn a_team_with_only_its_own_key_hands_its_releases_to_the_machine_with_the_online_keys() {
    let (company, owner, team) = Company::new();
    let server = Machine::new(&company, "server");
    company.pull(&server);
    company.give_online_keys(&server);

    team.write("app", "team-a/app");
    let printed = team.pend("lastmile-repo add -C packages app --role team-a --under team-a");
    for key in ["snapshot: ", "timestamp: ", "lastmile-repo publish --from FOLDER"] {
        assert!(printed.contains(key), "{printed}");
    }
    server.receive("incoming", &printed);
    server.receive("changed", &printed);
    release_of_owner(&owner, "tool");

    // A file that differs from its entry is refused, and so is a document without the team's signature.
    let package = fs::read_dir(server.path("changed/targets/team-a")).unwrap().next().unwrap().unwrap().path();
    let original = fs::read(&package).unwrap();
    fs::write(&package, "team-a/APP").unwrap();
    let (status, printed) = server.run("lastmile-repo publish -C packages --from changed --push");
    assert!(status == 1 && printed.contains("is not the file that the pending change lists"), "{status} {printed}");
    fs::write(&package, original).unwrap();
    let document = server.path("changed/team-a.json");
    let text = fs::read_to_string(&document).unwrap();
    fs::write(&document, text.replace("team-a/app", "team-a/apq")).unwrap();
    let (status, printed) = server.run("lastmile-repo publish -C packages --from changed --dry-run");
    assert!(status == PENDING && printed.contains("team-a version 2 needs 1 more signature"), "{status} {printed}");

    // The server publishes the team's release before it has adopted the owner's release. `push --catch-up` combines the
    // two releases. It cannot sign for the team, so it keeps the team's document.
    server.succeed("lastmile-repo publish -C packages --from incoming --dry-run");
    server.succeed("lastmile-repo publish -C packages --from incoming");
    server.succeed("lastmile-repo push -C packages --catch-up");
    company.serves(&["tool", "team-a/app"]);
    let (status, printed) = server.run("lastmile-repo publish -C packages --from incoming --push");
    assert!(status == 1 && printed.contains("has been published since"), "{status} {printed}");

    // The next release, like the first, needs only one command on the team's machine.
    team.write("lib", "team-a/lib");
    let printed = team.pend("lastmile-repo add -C packages lib --role team-a --under team-a --catch-up");
    server.receive("next", &printed);
    // `publish` does not use the team's key to sign a document from another machine. Only `sign` does, after it has
    // shown the document.
    team.receive("forged", &printed);
    let document = team.path("forged/team-a.json");
    let text = fs::read_to_string(&document).unwrap();
    fs::write(&document, text.replace("team-a/lib", "team-a/lob")).unwrap();
    team.succeed("lastmile-repo discard -C packages --yes");
    let printed = team.pend("lastmile-repo publish -C packages --from forged --dry-run");
    assert!(printed.contains("team-a version 3 needs 1 more signature"), "{printed}");
    release_of_owner(&owner, "manual");
    server.succeed("lastmile-repo publish -C packages --from next --push");
    company.serves(&["tool", "manual", "team-a/app", "team-a/lib"]);
}

#[test]
fn a_change_that_needs_two_signers_passes_from_machine_to_machine() {
    let (company, owner, team) = Company::new();
    let second = Machine::new(&company, "second");
    second.succeed("lastmile-repo key generate team-b --unencrypted --folder private");
    company.pull(&second);
    second.succeed("lastmile-repo key allow -C packages private/team-b.pem");
    for (machine, key) in [(&team, "private/team-a.pub"), (&second, "private/team-b.pub")] {
        copy(&machine.path(key), &owner.path(key.trim_start_matches("private/")));
    }
    // Both keys must sign the new role. The owner gets each signature from another machine.
    let printed = owner
        .pend("lastmile-repo delegate -C packages both --paths both/* --key team-a.pub --key team-b.pub --threshold 2");
    for (machine, name) in [(&team, "from-team"), (&second, "from-second")] {
        machine.receive("from-owner", &printed);
        machine.succeed("lastmile-repo sign -C packages --from from-owner --yes");
        copy(&machine.path("packages/staged"), &owner.path(name));
    }
    owner.pend("lastmile-repo publish -C packages --from from-team");
    owner.succeed("lastmile-repo publish -C packages --from from-second --push");

    // A release passes from the first signer to the second one, and then to the machine with the online keys. The owner
    // has another pending change, which neither blocks the release nor is published with it.
    team.write("app", "both/app");
    let printed = team.pend("lastmile-repo add -C packages app --role both --under both --catch-up");
    second.succeed("lastmile-repo pull -C packages --adopt");
    second.receive("from-first", &printed);
    let printed = second.succeed("lastmile-repo sign -C packages --from from-first --yes");
    owner.receive("release", &printed);
    owner.succeed("lastmile-repo key generate other --unencrypted --folder other");
    fs::remove_file(owner.path("other/other.pem")).unwrap();
    owner.pend("lastmile-repo delegate -C packages third --paths third/* --key other/other.pub");
    owner.succeed("lastmile-repo publish -C packages --from release --push");
    company.serves(&["both/app"]);
    let (_, printed) = owner.run("lastmile-repo status -C packages");
    assert!(printed.contains("pending: third version 1 needs 1 more signature"), "{printed}");
}
