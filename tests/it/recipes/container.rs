//! Runs the command of docs/recipes/Containerfile as a container runtime does: as an unprivileged user, as the first
//! process, and with a file system that is read-only except for the volumes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::run;
use crate::cli::program;

const DAY: u64 = 86_400;

/// The volumes. Each pair contains a folder on the host and its path in the container.
const VOLUMES: [(&str, &str); 4] = [
    ("packages", "/srv/packages"),
    ("config", "/var/lib/lastmile-repo"),
    ("secrets", "/run/secrets"),
    ("www", "/srv/www"),
];

#[derive(Default)]
struct Definition {
    user: String,
    variables: BTreeMap<String, String>,
    volumes: Vec<String>,
    entry_point: Vec<String>,
    command: Vec<String>,
    /// The path of the program in the image.
    program: String,
}

impl Definition {
    /// Reads docs/recipes/Containerfile, and checks each instruction.
    fn read() -> Definition {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes/Containerfile");
        let text = fs::read_to_string(path).unwrap();
        let mut definition = Definition::default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for (number, line) in lines.enumerate() {
            let (instruction, rest) = line.split_once(' ').unwrap();
            assert_eq!(number == 0, instruction == "FROM", "{line}");
            let list = || serde_json::from_str::<Vec<String>>(rest).unwrap();
            match instruction {
                "FROM" => assert_eq!(rest, "debian:stable-slim"),
                // These commands run as root while the image is built, so they come before USER.
                "RUN" => {
                    assert!(definition.user.is_empty(), "{line}");
                    assert!(Command::new("sh").args(["-n", "-c", rest]).status().unwrap().success(), "{line}");
                }
                "COPY" => definition.program = rest.strip_prefix("lastmile-repo ").unwrap().to_owned(),
                "USER" => definition.user = rest.to_owned(),
                "ENV" => {
                    let (name, value) = rest.split_once('=').unwrap();
                    definition.variables.insert(name.to_owned(), value.to_owned());
                }
                "VOLUME" => definition.volumes = list(),
                "ENTRYPOINT" => definition.entry_point = list(),
                "CMD" => definition.command = list(),
                _ => panic!("unexpected instruction: {line}"),
            }
        }
        definition
    }

    /// Returns a command that runs the entry point in the container. The volumes are folders in `folder`.
    fn command(&self, folder: &Path, arguments: &[String]) -> Command {
        let (user, group) = self.user.split_once(':').unwrap();
        let mut script = "mount --make-rprivate /\n".to_owned();
        let program = program("lastmile-repo");
        let program = program.to_str().unwrap();
        // The mounts below hide some folders of the host. The program may be in one of these folders, so it is copied
        // first.
        script += &format!("cp {program} {}/lastmile-repo\n", folder.display());
        script += "for folder in /srv /run /var/lib /usr/local/bin; do mount -t tmpfs -o mode=755 none $folder; done\n";
        for (name, to) in VOLUMES {
            let options = if name == "secrets" { "ro,bind" } else { "rw,bind" };
            script += &format!(
                "mkdir -p {to}\nmount --bind {0}/{name} {to}\nmount -o remount,{options} {to}\n",
                folder.display()
            );
        }
        script += &format!("touch {0}\nmount --bind {1}/lastmile-repo {0}\n", self.program, folder.display());
        script += "for folder in /srv /run /var/lib /usr/local/bin /tmp /; do mount -o remount,bind,ro $folder 2>/dev/null || [ $folder = /tmp ]; done\n";
        script += "for folder in /srv /tmp /usr; do if touch $folder/written 2>/dev/null; then exit 70; fi; done\n";
        script += &format!(
            "exec setpriv --reuid {user} --regid {group} --clear-groups --no-new-privs --bounding-set -all \"$@\"\n"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-euc"]).arg(script).arg("sh");
        command.args(&self.entry_point).args(arguments).env_clear().envs(&self.variables);
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command
    }
}

#[test]
fn the_container_renews_and_pushes_with_a_read_only_file_system_and_stops_on_request() {
    let definition = Definition::read();
    assert!(definition.user.split(':').all(|id| id.parse::<u32>().unwrap() > 0), "the user must not be root");
    assert_eq!(definition.entry_point, std::slice::from_ref(&definition.program));
    assert_eq!(definition.volumes, [VOLUMES[0].1, VOLUMES[1].1]);
    let probe =
        Command::new("unshare").args(["--mount", "--pid", "--fork", "setpriv", "--no-new-privs", "true"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        lastmile_tests::say(
            "NOT CHECKED: this test requires root, the permission to make mount namespaces, and util-linux",
        );
        return;
    }

    // The repository was published four days ago, so its timestamp is due for renewal.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 4 * DAY;
    for line in ["init owner --unencrypted-keys", "push -C owner --to www"] {
        let mut command = Command::new(program("lastmile-repo"));
        command.args(line.split(' ')).current_dir(&folder).env("LASTMILE_REPO_CONFIG", path("owner.toml"));
        run(command.env("SOURCE_DATE_EPOCH", before.to_string()));
    }
    for (name, _) in VOLUMES {
        fs::create_dir_all(path(name)).unwrap();
    }
    for role in ["timestamp", "snapshot"] {
        fs::copy(path(&format!("owner/keys/{role}-1.pem")), path(&format!("secrets/{role}.pem"))).unwrap();
    }
    run(Command::new("chmod").args(["a+x"]).arg(folder.path()));
    for (name, _) in VOLUMES {
        run(Command::new("chown").arg("-R").arg(&definition.user).arg(path(name)));
    }

    let root = path("owner/metadata/1.root.json");
    let digest = run(Command::new("sha256sum").arg(root));
    let pull = ["pull", "--from", "/srv/www", "--without-targets", "--root-sha256", digest.split(' ').next().unwrap()];
    run(&mut definition.command(folder.path(), &pull.map(str::to_owned)));

    let mut service = definition.command(folder.path(), &definition.command);
    let mut service = service.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("timestamp was renewed: version 2 expires")).expect("no renewal");
    lines.find(|line| line.starts_with("pushed timestamp version 2 to file:///srv/www/")).expect("no push");
    // A container runtime stops a container by sending SIGTERM to the first process.
    let children = format!("/proc/{0}/task/{0}/children", service.id());
    let first = fs::read_to_string(children).unwrap();
    run(Command::new("kill").args(["-TERM", first.trim()]));
    assert!(service.wait().unwrap().success());
    let served = fs::read_to_string(path("www/metadata/timestamp.json")).unwrap();
    assert!(served.contains("\"version\":2"), "{served}");
}
