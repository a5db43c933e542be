//! A repository that `lastmile-repo` made, clients of this repository, and the page docs/serving.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::cli::program;

/// The targets that are published first: text that compresses well, a compressed file, a web page, and a name that
/// needs encoding in a URL.
pub(super) const TARGETS: [&str; 5] =
    ["docs/notes.txt", "docs/notes.txt.gz", "index.html", "tool", "team/größe 1+1.txt"];

/// A role whose file name needs encoding in a URL.
const ROLE: &str = "team ö+";

/// A folder with the repository `packages` and with the state and the downloads of clients.
pub(crate) struct Site {
    folder: TempDir,
    contents: BTreeMap<String, Vec<u8>>,
}

impl Site {
    /// Creates a repository with compressed metadata and without targets. `init` contains additional arguments for
    /// `lastmile-repo init`.
    pub(crate) fn empty(init: &[&str]) -> Site {
        let site = Site { folder: tempfile::tempdir().unwrap(), contents: BTreeMap::new() };
        fs::create_dir(site.path("packages")).unwrap();
        site.repo(&[&["init", "--unencrypted-keys", "--immutable", "!*"], init].concat());
        let policy = site.path("packages/repo.toml");
        let text = fs::read_to_string(&policy).unwrap();
        assert!(!text.contains("compress"));
        fs::write(policy, format!("compress = [\"gzip\", \"zstd\"]\n{text}")).unwrap();
        site
    }

    /// Like [`Site::empty`], but the repository has the targets [`TARGETS`].
    pub(super) fn new(init: &[&str]) -> Site {
        let mut site = Site::empty(init);
        let notes = "All is well, and all will be well.\n".repeat(40_000);
        site.release(&[
            ("docs/notes.txt", notes.as_bytes()),
            ("docs/notes.txt.gz", &like_gzip(notes.as_bytes())),
            ("index.html", b"<html>A page of the packages</html>"),
            ("tool", &[0; 10_000]),
        ]);
        site.repo(&["key", "generate", "team", "--unencrypted"]);
        site.repo(&["delegate", ROLE, "--paths", "team/*", "--key", "team"]);
        site.add(&["--role", ROLE], &[("team/größe 1+1.txt", b"One and one, they say, is two.")]);
        site
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn repo(&self, arguments: &[&str]) {
        let mut command = Command::new(program("lastmile-repo"));
        command.env("LASTMILE_REPO_CONFIG", self.path("config.toml"));
        succeed(command.current_dir(self.path("packages")).args(arguments));
    }

    pub(super) fn release(&mut self, targets: &[(&str, &[u8])]) {
        self.add(&[], targets);
    }

    fn add(&mut self, arguments: &[&str], targets: &[(&str, &[u8])]) {
        let dist = tempfile::tempdir_in(self.folder.path()).unwrap();
        for (name, content) in targets {
            let path = dist.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            self.contents.insert((*name).to_owned(), content.to_vec());
        }
        self.repo(&[&["add", dist.path().to_str().unwrap()], arguments].concat());
    }

    pub(super) fn content(&self, target: &str) -> &[u8] {
        &self.contents[target]
    }

    /// Among the metadata files whose names end with `ending`, returns the path of the one with the highest version.
    pub(super) fn metadata(&self, ending: &str) -> String {
        newest(self.files("metadata", ending)).unwrap_or_else(|| panic!("no metadata file ends in {ending}"))
    }

    /// Returns the path of the file that holds `target`. The file name must have a hash prefix.
    pub(super) fn target(&self, target: &str) -> String {
        let path = format!("targets/{target}");
        let (folder, name) = path.rsplit_once('/').unwrap();
        let mut files = self.files(folder, &format!(".{name}")).into_iter();
        files.find(|path| self.bytes(path) == self.content(target)).unwrap_or_else(|| panic!("{target} has no file"))
    }

    /// Returns the paths of all files in `folder` whose names end with `ending`. The folder and the paths are relative
    /// to the repository.
    fn files(&self, folder: &str, ending: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path("packages").join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(ending)).map(|name| format!("{folder}/{name}")).collect()
    }

    pub(super) fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.path("packages").join(path)).unwrap()
    }

    /// Returns a command that runs `lastmile` with a state folder for `client`. The command inherits no environment
    /// variables for proxies and certificates.
    pub(super) fn client(&self, client: &str) -> Command {
        let mut command = direct(Command::new(program("lastmile")));
        command.current_dir(self.folder.path()).env("LASTMILE_STATE_DIR", format!("state-{client}"));
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        command
    }

    /// Returns the only block of docs/serving.md that is marked as `language`, adapted to this repository.
    pub(super) fn settings(&self, language: &str) -> String {
        let blocks = page(language);
        assert_eq!(blocks.len(), 1, "the page must have exactly one block of {language}");
        replaced(&blocks[0], "/srv/packages", self.path("packages").to_str().unwrap())
    }

    /// Returns a command that runs the shell command `line` in the site's folder. The folder of the tested programs is
    /// first in `PATH`.
    pub(super) fn shell(&self, line: &str) -> Command {
        let programs = program("lastmile-repo").parent().unwrap().to_str().unwrap().to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = direct(Command::new("sh"));
        command.arg("-euc").arg(line).current_dir(self.folder.path()).env("PATH", format!("{programs}:{path}"));
        command.env("LASTMILE_REPO_CONFIG", self.path("config.toml"));
        command
    }

    /// Makes `client` trust the repository at `url`, which must end with `/`.
    pub(super) fn trust(&self, client: &str, url: &str) {
        let mut command = self.client(client);
        command.args(["trust", "add", "it", "--root", "packages/metadata/1.root.json"]);
        succeed(command.arg("--metadata-url").arg(format!("{url}metadata/")));
    }

    /// Returns the command `lastmile get` for all published targets.
    pub(super) fn get_all(&self, client: &str) -> Command {
        let mut command = self.client(client);
        command.arg("get").args(self.contents.keys()).arg("--output").arg(format!("downloads-{client}"));
        command
    }

    pub(super) fn fetch_all(&self, client: &str) {
        succeed(&mut self.get_all(client));
        self.check_all(client);
    }

    pub(super) fn check_all(&self, client: &str) {
        for (name, content) in &self.contents {
            let found = fs::read(self.path(&format!("downloads-{client}")).join(name)).unwrap();
            assert!(found == *content, "{name}: wrong content");
        }
    }
}

/// Returns the metadata file with the highest version. A file without a version counts as the lowest.
fn newest(files: Vec<String>) -> Option<String> {
    let version = |path: &String| path.rsplit('/').next()?.split('.').next()?.parse::<u64>().ok();
    files.into_iter().max_by_key(version)
}

#[test]
fn version_10_is_newer_than_version_9() {
    let files = ["metadata/9.root.json", "metadata/10.root.json", "metadata/1.root.json"].map(str::to_owned);
    assert_eq!(newest(files.into()).as_deref(), Some("metadata/10.root.json"));
}

/// Removes proxy variables from the environment of a command.
fn direct(mut command: Command) -> Command {
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

pub(super) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Returns content that starts like a gzip file, in case a server guesses the type of a file from its first bytes.
fn like_gzip(content: &[u8]) -> Vec<u8> {
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], content].concat()
}

/// Returns the blocks of docs/serving.md that are marked as `language`, in order.
pub(super) fn page(language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/serving.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("\n```").collect::<Vec<_>>();
    let wanted = blocks.iter().filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
    wanted.map(str::to_owned).collect()
}

/// Like [`str::replace`], but panics if `text` does not contain `from`.
pub(super) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the page no longer has `{from}`: {text}");
    text.replace(from, to)
}
