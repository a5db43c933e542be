//! Recognizes private key files of other tools by their content, and explains how to convert files that cannot be read.

use std::path::Path;

use crate::shell::quoted;
use crate::{KeyReason, cosign_key};

enum Conversion {
    /// The placeholders `{from}`, `{between}` and `{to}` stand for file names.
    Command(&'static str),
    /// No command converts the key. The text explains what to do instead.
    None(&'static str),
}

const OPENSSL: Conversion = Conversion::Command("openssl pkcs8 -topk8 -in {from} -out {to}");
const RSA: Conversion =
    Conversion::None("lastmile-repo cannot sign with RSA keys; make a new key with `lastmile-repo key generate`");
const UNSUPPORTED: Conversion = Conversion::None(
    "lastmile-repo cannot sign with keys of this type; make a new key with `lastmile-repo key generate`",
);
/// PuTTY can write the key only in OpenSSH format.
const PUTTY_ED25519: Conversion = Conversion::Command(
    "puttygen {from} -O private-openssh --new-passphrase /dev/null -o {between} && \
     python3 -c 'import sys; from cryptography.hazmat.primitives.serialization import *; \
     print(load_ssh_private_key(open(sys.argv[1], \"rb\").read(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, \
     NoEncryption()).decode())' {between} > {to} && rm {between}",
);
/// PuTTY writes the key in SEC 1 format.
const PUTTY_ECDSA: Conversion = Conversion::Command(
    "puttygen {from} -O private-openssh --new-passphrase /dev/null -o {between} && openssl pkcs8 -topk8 -in {between} -out \
     {to} && rm {between}",
);
/// Uses Python, because ssh-keygen up to version 9.5
/// cannot write Ed25519 keys in PKCS#8.
const OPEN_SSH_ED25519: Conversion = Conversion::Command(
    "python3 -c 'import sys; from cryptography.hazmat.primitives.serialization import *; \
     print(load_ssh_private_key(open(sys.argv[1], \"rb\").read(), None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, \
     NoEncryption()).decode())' {from} > {to}",
);
const SECURESYSTEMSLIB: Conversion = Conversion::Command(
    "python3 -c 'import sys, json; from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as K; \
     from cryptography.hazmat.primitives.serialization import *; \
     print(K.from_private_bytes(bytes.fromhex(json.load(open(sys.argv[1]))[\"keyval\"][\"private\"])).private_bytes(Encoding.PEM, \
     PrivateFormat.PKCS8, NoEncryption()).decode())' {from} > {to}",
);

/// If a key file has a known format that this tool cannot read, returns an error that says what to do. Otherwise,
/// returns `None`.
pub(crate) fn foreign(bytes: &[u8], path: &Path) -> Option<KeyReason> {
    let (format, conversion) = recognized(bytes)?;
    let advice = match conversion {
        Conversion::None(advice) => advice.to_string(),
        Conversion::Command(command) => {
            let file = |path: &Path| quoted(&path.to_string_lossy());
            let to = file(&path.with_extension("pkcs8.pem"));
            let between = file(&path.with_extension("openssh"));
            let command = command.replace("{to}", &to).replace("{between}", &between).replace("{from}", &file(path));
            // The umask prevents other users from reading the new files.
            format!("convert it with `umask 077; {command}`, then import {to}")
        }
    };
    Some(KeyReason::OtherFormat { format, advice })
}

fn recognized(bytes: &[u8]) -> Option<(&'static str, Conversion)> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return binary(bytes);
    };
    let has = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    if has("PRIVATE KEY") || has("ENCRYPTED PRIVATE KEY") || cosign_key::is_cosign(text) {
        return None;
    }
    if has("EC PRIVATE KEY") {
        return Some(("a private key in SEC 1 format", OPENSSL));
    }
    if has("RSA PRIVATE KEY") {
        return Some(("an RSA private key", RSA));
    }
    if has("OPENSSH PRIVATE KEY") {
        return Some(open_ssh(text));
    }
    if has("PUBLIC KEY") || has("CERTIFICATE") || text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Some(("a public key", Conversion::None("use the file with the private key instead")));
    }
    if text.starts_with("PuTTY-User-Key-File-") {
        let kind = text.lines().next().and_then(|line| line.split_once(": ")).map(|(_, kind)| kind.trim_end());
        return Some(match kind {
            Some("ssh-ed25519") => ("an Ed25519 private key in PuTTY's format", PUTTY_ED25519),
            Some("ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384") => {
                ("an ECDSA private key in PuTTY's format", PUTTY_ECDSA)
            }
            _ => ("a PuTTY private key", UNSUPPORTED),
        });
    }
    if text.matches("@@@@").count() >= 4 {
        let advice =
            "decrypt it with securesystemslib 0.31 or older, or make a new key with `lastmile-repo key generate`";
        return Some(("an encrypted securesystemslib private key", Conversion::None(advice)));
    }
    let Ok(json) = serde_json::from_str::<serde_json::Value>(text) else {
        return binary(bytes);
    };
    if json.get("kty").is_some() {
        let command = "step crypto key format --pkcs8 --pem --no-password --insecure {from} > {to}";
        return Some(("a JSON web key", Conversion::Command(command)));
    }
    let private = json.get("keyval")?.get("private")?.as_str()?;
    match json.get("keytype")?.as_str()? {
        "ed25519" if !private.is_empty() => Some(("a securesystemslib private key", SECURESYSTEMSLIB)),
        _ => Some(("a securesystemslib key", Conversion::None("use a PEM file with the private key instead"))),
    }
}

fn binary(bytes: &[u8]) -> Option<(&'static str, Conversion)> {
    let length = bytes.len() as u64;
    match crate::files::der::private_key(bytes, length)? {
        "a PKCS#12 key store" => Some((
            "a PKCS#12 key store",
            Conversion::Command("openssl pkcs12 -in {from} -nocerts -nodes | openssl pkcs8 -topk8 -out {to}"),
        )),
        "a private key in DER (PKCS#1 or DSA)" => Some(("an RSA or DSA private key", RSA)),
        found => Some((found, Conversion::Command("openssl pkcs8 -topk8 -inform DER -in {from} -out {to}"))),
    }
}

/// The three possible base64 encodings of the text `ssh-ed25519`. The encoding depends on the offset of the text in the
/// encoded data.
const ED25519_TYPE: [&str; 3] = ["c3NoLWVkMjU1MT", "NzaC1lZDI1NTE5", "zc2gtZWQyNTUxO"];
/// The three possible base64 encodings of the text `ssh-rsa`.
const RSA_TYPE: [&str; 3] = ["c3NoLXJzY", "NzaC1yc2", "zc2gtcnNh"];

/// An OpenSSH file contains the public key
/// unencrypted, even if the private key is encrypted.
fn open_ssh(text: &str) -> (&'static str, Conversion) {
    let content: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let has = |kind: [&str; 3]| kind.iter().any(|encoded| content.contains(encoded));
    if has(ED25519_TYPE) {
        return ("an Ed25519 private key in OpenSSH format", OPEN_SSH_ED25519);
    }
    if has(RSA_TYPE) {
        return ("an RSA private key in OpenSSH format", RSA);
    }
    let command = "cp {from} {to} && ssh-keygen -p -m PKCS8 -f {to}";
    ("a private key in OpenSSH format", Conversion::Command(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(bytes: &[u8], path: &str) -> String {
        foreign(bytes, Path::new(path)).map(|reason| reason.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_usual_private_key_format_comes_with_the_command_that_converts_it() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let ec = format!("{}{}", block("EC PARAMETERS"), block("EC PRIVATE KEY"));
        let ed25519 = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
                       b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACB\n";
        let cases: [(&str, &str); 15] = [
            (
                &ec,
                "is a private key in SEC 1 format; convert it with `umask 077; openssl pkcs8 -topk8 -in k -out k.pkcs8.pem`",
            ),
            (&block("RSA PRIVATE KEY"), "cannot sign with RSA keys"),
            (&block("OPENSSH PRIVATE KEY"), "cp k k.pkcs8.pem && ssh-keygen -p -m PKCS8 -f k.pkcs8.pem"),
            (ed25519, "is an Ed25519 private key in OpenSSH format; convert it with `umask 077; python3 -c"),
            (&block("ENCRYPTED SIGSTORE PRIVATE KEY"), ""),
            (
                "PuTTY-User-Key-File-3: ecdsa-sha2-nistp256\r\n",
                "-o k.openssh && openssl pkcs8 -topk8 -in k.openssh -out k.pkcs8.pem && rm k.openssh`",
            ),
            ("PuTTY-User-Key-File-3: ssh-ed25519\n", "puttygen k -O private-openssh"),
            ("PuTTY-User-Key-File-3: ssh-rsa\n", "cannot sign with keys of this type"),
            ("1a@@@@100000@@@@1b@@@@1c@@@@1d", "an encrypted securesystemslib private key"),
            (r#"{"kty": "OKP", "d": "x"}"#, "step crypto key format"),
            (
                r#"{"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "", "private": "00"}}"#,
                "is a securesystemslib private key; convert it with",
            ),
            (&block("PUBLIC KEY"), "is a public key; use the file with the private key instead"),
            ("ssh-ed25519 AAAA", "is a public key"),
            (&block("PRIVATE KEY"), ""),
            ("hello", ""),
        ];
        for (text, expected) in cases {
            let printed = advice(text.as_bytes(), "k");
            assert!(printed.contains(expected) && printed.is_empty() == expected.is_empty(), "{text}: {printed}");
        }
        let der = b"\x30\x0c\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x00";
        assert!(advice(der, "k").contains("openssl pkcs8 -topk8 -inform DER"), "{}", advice(der, "k"));
        assert!(
            advice(b"\x30\x80\x02\x01\x03\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", "k")
                .contains("openssl pkcs12")
        );
    }

    #[test]
    fn the_path_in_a_command_is_quoted() {
        let printed = advice(b"-----BEGIN EC PRIVATE KEY-----", "my 'key'.pem");
        assert!(printed.contains(r"-in 'my '\''key'\''.pem' -out 'my '\''key'\''.pkcs8.pem'"), "{printed}");
    }
}
