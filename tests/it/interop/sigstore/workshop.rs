//! A folder with packages, keys and evidence, in which cosign and `lastmile-repo` run.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::Utc;
use lastmile_keys::PublicKey;
use lastmile_metadata::{Algorithm, Hashes};
use lastmile_repo_tool::internal::cli::{self, ExitStatus, World};
use lastmile_tests::{BundleCheck, ExpectedSigner, say};
use serde_json::Value;
use tempfile::TempDir;

/// The pass-phrase of every encrypted key.
pub(crate) const PASS_PHRASE: &str = "only for tests";

pub(crate) const CONTENT: &[u8] = b"the package\n";

/// The predicate type of a statement that counts as a signature.
pub(crate) const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// The predicate type of a statement that does not count as a signature.
pub(crate) const REVIEW: &str = "https://example.com/review/v1";

/// The error is the output of the verifier.
pub(crate) type Verdict = Result<(), String>;

/// Prints `NOT CHECKED` and returns `None` if the program is not installed.
pub(crate) fn debian(program: &str) -> Option<PathBuf> {
    let path = super::super::programs::project("target/interop/debian/root/usr/bin").join(program);
    if !path.exists() {
        say(&format!("{program}: NOT CHECKED: `cargo xtask setup` did not install it on this machine"));
        return None;
    }
    Some(path)
}

/// A folder with the package `app`.
pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let workshop = Self { folder: tempfile::tempdir().unwrap() };
        workshop.write("app", CONTENT);
        workshop.write("phrase", PASS_PHRASE.as_bytes());
        workshop.write("review.json", br#"{"approved":true}"#);
        workshop.write("signing-config.json", SIGNING_CONFIG.as_bytes());
        workshop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only this user can read, because it may be a key.
    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Flips the lowest bit of the byte at the position `at`.
    pub(crate) fn damage(&self, name: &str, at: usize) {
        let mut content = self.read(name);
        content[at] ^= 1;
        fs::write(self.path(name), content).unwrap();
    }

    /// Runs `openssl genpkey`, and writes `NAME.pem` and `NAME.pub`.
    pub(crate) fn openssl_key(&self, name: &str, options: &[&str]) {
        let private = format!("{name}.pem");
        self.run(Command::new("openssl").arg("genpkey").args(options).args(["-out", &private])).unwrap();
        let public = format!("{name}.pub");
        self.run(Command::new("openssl").args(["pkey", "-in", &private, "-pubout", "-out", &public])).unwrap();
        fs::set_permissions(self.path(&private), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs `lastmile-repo ARGUMENTS…`. Replaces each argument that names a file in this folder with the path of the
    /// file. If the name ends with `.json` or `.jsonl`, the file need not exist yet.
    pub(crate) fn lastmile(&self, arguments: &[&str]) -> ExitStatus {
        self.lastmile_output(arguments).0
    }

    /// Like [`Workshop::lastmile`], but also returns the standard output.
    pub(crate) fn lastmile_output(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let absolute = |argument: &&str| {
            let is_name = self.path(argument).exists() || argument.ends_with(".json") || argument.ends_with(".jsonl");
            if is_name { self.path(argument).into_os_string() } else { OsString::from(argument) }
        };
        let fixed = [
            "lastmile-repo".into(),
            "--quiet".into(),
            "--pass-phrase-file".into(),
            self.path("phrase").into_os_string(),
        ];
        let stdout = fs::File::create(self.path("stdout")).unwrap();
        let world = World { stdout: Box::new(stdout), ..World::system() };
        let status = cli::run(fixed.into_iter().chain(arguments.iter().map(absolute)), world);
        (status, String::from_utf8(self.read("stdout")).unwrap())
    }

    pub(crate) fn attest(&self, key: &str, options: &[&str]) {
        let arguments = [&["attest", "app", "--key", key], options].concat();
        assert_eq!(self.lastmile(&arguments), ExitStatus::Done, "{arguments:?}");
    }

    /// Runs cosign in this folder, without network access.
    pub(crate) fn cosign(&self, cosign: &Path, arguments: &[&str]) -> Verdict {
        self.run(Command::new(cosign).args(arguments).env("COSIGN_PASSWORD", PASS_PHRASE))
    }

    pub(crate) fn cosign_verifies_file(&self, cosign: &Path, key: &str, bundle: &str) -> Verdict {
        self.cosign(cosign, &["verify-blob", "--key", key, "--bundle", bundle, "--insecure-ignore-tlog", "app"])
    }

    pub(crate) fn cosign_verifies_statement(&self, cosign: &Path, key: &str, bundle: &str, kind: &str) -> Verdict {
        let bundle = ["--key", key, "--bundle", bundle, "--type", kind, "--insecure-ignore-tlog", "app"];
        self.cosign(cosign, &[&["verify-blob-attestation"], &bundle[..]].concat())
    }

    pub(crate) fn cosign_signs_file(&self, cosign: &Path, key: &str, bundle: &str) {
        self.cosign(cosign, &["sign-blob", "--yes", "--key", key, CONFIG, "--bundle", bundle, "app"]).unwrap();
    }

    pub(crate) fn cosign_signs_statement(&self, cosign: &Path, key: &str, bundle: &str, kind: &str) {
        let predicate = ["--predicate", "review.json", "--type", kind, "--bundle", bundle, "app"];
        self.cosign(cosign, &[&["attest-blob", "--yes", "--key", key, CONFIG], &predicate[..]].concat()).unwrap();
    }

    fn run(&self, command: &mut Command) -> Verdict {
        // The proxy does not exist, so a program that needs the network fails.
        for variable in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env(variable, "http://127.0.0.1:1");
        }
        let output = command.current_dir(self.folder.path()).env("HOME", self.folder.path()).output().unwrap();
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(errors.trim().lines().last().unwrap_or("no message").to_owned())
    }

    /// Reads a public key in PEM or in the format of TUF metadata.
    pub(crate) fn key(&self, name: &str) -> PublicKey {
        let text = String::from_utf8(self.read(name)).unwrap();
        let Ok(tuf) = serde_json::from_str::<Value>(&text) else { return PublicKey::from_text(&text).unwrap() };
        let member = |pointer| tuf.pointer(pointer).and_then(Value::as_str).unwrap();
        PublicKey::from_tuf(member("/keytype"), member("/scheme"), member("/keyval/public")).unwrap()
    }

    pub(crate) fn judge_signature(&self, key: &str, evidence: &str) -> Verdict {
        self.judge(key, evidence, None)
    }

    pub(crate) fn judge_statement(&self, key: &str, evidence: &str, kind: &str) -> Verdict {
        self.judge(key, evidence, Some(kind.to_owned()))
    }

    fn judge(&self, key: &str, evidence: &str, attestation: Option<String>) -> Verdict {
        let check = BundleCheck { signer: ExpectedSigner::Key(self.key(key)), attestation, trusted_root: None };
        // lastmile-repo lists targets with these hashes.
        let hashes = Hashes::of(&self.read("app"), &[Algorithm::Sha256, Algorithm::Sha512]).unwrap();
        check.judge(&self.read(evidence), hashes, Utc::now()).map_err(|error| error.to_string())
    }

    pub(crate) fn edit(&self, bundle: &str, change: impl FnOnce(&mut Value)) {
        let mut value: Value = serde_json::from_slice(&self.read(bundle)).unwrap();
        change(&mut value);
        self.write(bundle, &serde_json::to_vec(&value).unwrap());
    }
}

/// A signing configuration that makes cosign use no logs and no timestamp authorities. It has the format that `cosign
/// signing-config create` writes.
const SIGNING_CONFIG: &str =
    r#"{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}"#;
const CONFIG: &str = "--signing-config=signing-config.json";

/// Decodes a base64 string, flips a bit in the middle byte, and encodes it again.
pub(crate) fn flip(value: &mut Value) {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let mut bytes = base64.decode(value.as_str().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    *value = Value::String(base64.encode(bytes));
}
