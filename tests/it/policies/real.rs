//! Tests the real programs with real bundles of Sigstore's public and staging instances: `lastmile-repo` makes a
//! repository whose policy names a trusted root and an identity, and `lastmile get` installs or refuses the package.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::cli::program;

/// A package with a real bundle, and the policy that the bundle satisfies.
struct Sample {
    /// The name of the fixtures: the package `NAME.txt` and the bundle `NAME.json`.
    name: &'static str,
    /// The file name of the trusted root.
    root: &'static str,
    issuer: &'static str,
    subject: &'static str,
    /// The TOML keys of the policy's rule and their values, except `name` and `paths`. A rule about provenance is
    /// followed by the section `[builder]`.
    rule: &'static str,
    /// The required evidence, as error messages describe it.
    wanted: &'static str,
}

/// Provenance from a workflow of GitHub Actions, recorded in Rekor v1 by the public instance.
const PROVENANCE: Sample = Sample {
    name: "custom-issuer",
    root: "public-root.json",
    issuer: "https://token.actions.githubusercontent.com/hammer-time",
    subject: "https://github.com/too-legit/attest/.github/workflows/integration.yml@refs/heads/*",
    rule: r#"
        kind = "provenance"
        builder = ["workflow"]
        level = 2
        source = ["git+https://github.com/too-legit/attest"]
        ref = ["refs/heads/main"]
        [builder.workflow]
        id = ["https://github.com/too-legit/attest/.github/workflows/integration.yml@refs/heads/*"]
        by = ["author"]
        level = 2
    "#,
    wanted: "provenance",
};

/// A person's signature over a file, recorded in Rekor v2 by the staging instance, with an RFC 3161 timestamp.
const SIGNATURE: Sample = Sample {
    name: "rekor-v2-file",
    root: "staging-root.json",
    issuer: "https://github.com/login/oauth",
    subject: "jku@goto.fi",
    rule: "kind = \"signature\"\nby = [\"author\"]",
    wanted: "a signature by author",
};

/// A person's signature over a file, recorded in Rekor v1 by the public instance. Both the log and an RFC 3161
/// timestamp attest to the signing time.
const TWO_TIMES: Sample = Sample {
    name: "two-times",
    root: "public-root.json",
    issuer: "https://github.com/login/oauth",
    subject: "w.vollprecht@gmail.com",
    rule: "kind = \"signature\"\nby = [\"author\"]",
    wanted: "a signature by author",
};

impl Sample {
    fn policy(&self) -> String {
        let (rule, builder) = self.rule.split_once("[builder").unwrap_or((self.rule, ""));
        let builder = if builder.is_empty() { String::new() } else { format!("[builder{builder}") };
        format!(
            "version = 1\n[trust.instance]\nroot = \"trust/root.json\"\n\
             [signer.author]\ntrust = \"instance\"\nissuer = \"{}\"\nsubject = [\"{}\"]\n\
             [[require]]\nname = \"by-the-author\"\npaths = [\"*.txt\"]\n{rule}\n{builder}",
            self.issuer, self.subject
        )
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../attest/tests/fixtures").join(name)
}

/// A repository and a client, in one folder.
struct Home {
    folder: TempDir,
    sample: &'static Sample,
}

impl Home {
    /// Creates a repository that contains the sample's trusted root, policy, package and bundle, and a client that
    /// trusts the repository.
    fn new(sample: &'static Sample) -> Home {
        let home = Home { folder: tempfile::tempdir().unwrap(), sample };
        home.repo(&["init", "packages", "--unencrypted-keys"], 0);
        home.add_root(sample.root, "trust/root.json");
        home.set_policy(&sample.policy(), &[], 0);
        let [package, bundle] = ["txt", "json"].map(|ending| fixture(&format!("{}.{ending}", sample.name)));
        let add = ["-C", "packages", "add", package.to_str().unwrap(), "--evidence", bundle.to_str().unwrap()];
        home.repo(&add, 0);
        let url = format!("file://{}/packages/metadata/", home.folder.path().display());
        let root = ["--root", "packages/metadata/1.root.json", "--metadata-url", &url];
        let added = home.run("lastmile", &[&["trust", "add", "it"], &root[..]].concat());
        assert!(added.status.success(), "{added:?}");
        home
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program(name));
        command.current_dir(self.folder.path()).env("LASTMILE_STATE_DIR", "state").args(arguments);
        command.env("LASTMILE_REPO_CONFIG", self.folder.path().join("config.toml"));
        command.output().unwrap()
    }

    /// Runs `lastmile-repo`, which must exit with `status`, and returns its messages.
    fn repo(&self, arguments: &[&str], status: i32) -> String {
        let output = self.run("lastmile-repo", arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
        text
    }

    fn add_root(&self, root: &str, name: &str) {
        let root = fixture(root);
        self.repo(&["-C", "packages", "add", root.to_str().unwrap(), "--name", name], 0);
    }

    fn set_policy(&self, policy: &str, options: &[&str], status: i32) -> String {
        std::fs::write(self.folder.path().join("policy.toml"), policy).unwrap();
        self.repo(&[&["-C", "packages", "policy", "set", "policy.toml"], options].concat(), status)
    }

    fn package(&self) -> PathBuf {
        self.folder.path().join("out").join(format!("{}.txt", self.sample.name))
    }

    fn installs(&self) {
        let output = self.get();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(
            std::fs::read(self.package()).unwrap(),
            std::fs::read(fixture(&format!("{}.txt", self.sample.name))).unwrap()
        );
        std::fs::remove_file(self.package()).unwrap();
    }

    /// Checks that the real client refuses the package, and that the error names the rule, the required evidence, and
    /// what was found instead.
    fn refuses(&self, found: &str) {
        let output = self.get();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{text}");
        for expected in ["the rule `by-the-author` of role `targets`", self.sample.wanted, found] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!self.package().exists());
    }

    fn get(&self) -> Output {
        self.run("lastmile", &["get", &format!("{}.txt", self.sample.name), "--output", "out"])
    }

    /// Replaces `replaced` with `replacement` in the sample's policy, publishes this policy, and checks that the client
    /// refuses the package. The package violates this policy, so `lastmile-repo` publishes it only with `--even-so`.
    /// Finally, publishes the original policy again.
    fn refuses_under(&self, [replaced, replacement]: [&str; 2], found: &str) {
        let policy = self.sample.policy();
        assert!(policy.contains(replaced), "{replaced}");
        let changed = policy.replacen(replaced, replacement, 1);
        let refused = self.set_policy(&changed, &[], 5);
        assert!(refused.contains(found), "{found}: {refused}");
        self.set_policy(&changed, &["--even-so"], 0);
        self.refuses(found);
        self.set_policy(&policy, &[], 0);
        self.installs();
    }
}

#[test]
fn a_package_with_real_provenance_is_installed_only_under_its_identity_ref_source_and_root() {
    let home = Home::new(&PROVENANCE);
    home.installs();
    home.refuses_under(
        ["subject = [\"https://github.com/too-legit", "subject = [\"https://github.com/too"],
        "the evidence is signed by",
    );
    home.refuses_under(["/hammer-time", ""], "the issuer is https://token.actions.githubusercontent.com/hammer-time");
    home.refuses_under(
        ["ref = [\"refs/heads/main\"]", "ref = [\"refs/tags/v*\"]"],
        "the ref is refs/heads/main, expected refs/tags/v*",
    );
    home.refuses_under(["git+https://github.com/too-legit/attest", "git+https://github.com/acme/app"], "the source is");
    let claims = ["[signer.author]\n", "[signer.author]\nclaims = { source-repository-id = [\"1\"] }\n"];
    home.refuses_under(claims, "the claim source-repository-id is 851894824, expected 1");
    let runner = ["level = 2\n        source", "level = 2\n        parameters = \"none\"\n        source"];
    home.refuses_under(runner, "the provenance does not record the parameters of the build");
}

#[test]
fn a_package_with_a_real_signature_in_rekor_v2_is_installed_only_under_its_identity() {
    let home = Home::new(&SIGNATURE);
    home.installs();
    home.refuses_under(["jku@goto.fi", "ju@goto.fi"], "the evidence is signed by jku@goto.fi, expected ju@goto.fi");
    home.refuses_under(["login/oauth", "login/oauth2"], "the issuer is https://github.com/login/oauth");
    let logs = ["root = \"trust/root.json\"\n", "root = \"trust/root.json\"\nlogs = 2\n"];
    home.refuses_under(logs, "1 distinct logs recorded the signature, expected at least 2");
    let period = ["[signer.author]\n", "[signer.author]\nnot-after = 2025-01-01T00:00:00Z\n"];
    home.refuses_under(period, "after the signer's `not-after`");
}

#[test]
fn a_package_with_two_real_times_satisfies_a_policy_that_demands_two_but_not_three() {
    let home = Home::new(&TWO_TIMES);
    let times = |number: u8| {
        TWO_TIMES.policy().replacen("trust/root.json\"\n", &format!("trust/root.json\"\ntimes = {number}\n"), 1)
    };
    home.set_policy(&times(2), &[], 0);
    home.installs();
    home.set_policy(&times(3), &["--even-so"], 0);
    home.refuses("2 distinct sources attest to the signing time, expected at least 3");
}

#[test]
fn under_the_trusted_root_of_another_instance_a_real_bundle_is_refused() {
    for (sample, other) in [(&PROVENANCE, "staging-root.json"), (&SIGNATURE, "public-root.json")] {
        let home = Home::new(sample);
        home.add_root(other, "trust/other.json");
        home.refuses_under(["root = \"trust/root.json\"", "root = \"trust/other.json\""], "found item 1 of ");
    }
}

#[test]
fn c_1_a_real_bundle_with_the_log_entry_of_another_signature_is_refused() {
    let home = Home::new(&SIGNATURE);
    let [package, bundle] = ["cve-2022-36056.txt", "cve-2022-36056.json"].map(fixture);
    let add = ["-C", "packages", "add", package.to_str().unwrap(), "--evidence", bundle.to_str().unwrap(), "--name"];
    let found = "the log entry is for another signature";
    assert!(home.repo(&[&add[..], &["other.txt"]].concat(), 5).contains(found));
    // No rule covers this name yet.
    home.repo(&[&add[..], &["file.bin"]].concat(), 0);
    home.set_policy(&SIGNATURE.policy().replace("*.txt", "*.bin"), &["--even-so"], 0);
    let output = home.run("lastmile", &["get", "file.bin", "--output", "out"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(5) && text.contains(found), "{text}");
}
