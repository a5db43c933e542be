//! Private keys in the formats of other tools. The error about such a key contains a command that converts the key.
//! These tests run the commands, if the other tools are installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lastmile_repo_tool::NoPassPhrases;
use lastmile_repo_tool::internal::key_store::open_private_key;
use lastmile_repo_tool::internal::links::Links;
use tempfile::TempDir;

use crate::world::say;

fn shell(folder: &Path, command: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder).stdin(Stdio::null()).output().unwrap().status.success()
}

/// Creates a key file with `command`. The error about this file proposes a command that converts the key, and this
/// function runs the proposed command. Returns the path of the converted key, or `None` if `command` fails because a
/// tool is not installed.
fn convert(folder: &TempDir, name: &str, command: &str) -> Option<PathBuf> {
    if !shell(folder.path(), &command.replace("{}", name)) {
        say(&format!("NOT CHECKED, because a tool is missing: {command}"));
        return None;
    }
    let path = folder.path().join(name);
    let error = open_private_key(&path, name, Links::Refuse, &NoPassPhrases).unwrap_err().to_string();
    let advice = error.split('`').nth(1).unwrap_or_else(|| panic!("{name}: {error}"));
    // These commands ask for a pass-phrase, which the test cannot enter.
    let advice = advice.replace("-topk8", "-topk8 -nocrypt").replace("ssh-keygen -p", "ssh-keygen -p -N ''");
    assert!(shell(folder.path(), &advice), "{name}: {advice}");
    let converted = path.with_extension("pkcs8.pem");
    open_private_key(&converted, name, Links::Refuse, &NoPassPhrases).unwrap();
    Some(converted)
}

#[test]
fn the_command_in_the_error_about_a_key_converts_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let python = "python3 -c 'import cryptography'";
    let putty = "--new-passphrase /dev/null -q -o {}";
    for (name, command) in [
        ("sec-1.pem", "openssl ecparam -name prime256v1 -genkey -noout -out {}".to_string()),
        ("ed25519.der", "openssl genpkey -algorithm ed25519 -outform DER -out {}".to_string()),
        ("ssh-ecdsa", "ssh-keygen -q -t ecdsa -N '' -f {}".to_string()),
        ("ssh-ed25519", format!("{python} && ssh-keygen -q -t ed25519 -N '' -f {{}}")),
        ("putty-256.ppk", format!("puttygen -t ecdsa -b 256 {putty}")),
        ("putty-384.ppk", format!("puttygen -t ecdsa -b 384 {putty}")),
        ("putty-ed25519.ppk", format!("{python} && puttygen -t ed25519 {putty}")),
    ] {
        let converted = convert(&folder, name, &format!("umask 077; {command}"));
        let between = folder.path().join(name).with_extension("openssh");
        assert!(converted.is_none() || !between.exists(), "{name}: the command must remove {}", between.display());
    }
}

#[test]
fn no_command_is_proposed_for_a_putty_key_that_cannot_sign() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["ssh-rsa", "ssh-dss", "ecdsa-sha2-nistp521"] {
        let path = folder.path().join("key.ppk");
        std::fs::write(&path, format!("PuTTY-User-Key-File-3: {kind}\r\nEncryption: none\r\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let error = open_private_key(&path, "key", Links::Refuse, &NoPassPhrases).unwrap_err().to_string();
        assert!(error.contains("cannot sign with keys of this type") && !error.contains("puttygen"), "{error}");
    }
}
