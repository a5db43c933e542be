//! Recognizes private key files in the formats of other tools by their content, and says how to convert each.

use std::path::Path;

use crate::KeyReason;

/// How to convert a private key.
enum Conversion {
    /// By this command, in which `{from}` and `{to}` are files.
    Command(&'static str),
    /// There is no command.
    None(&'static str),
}

const OPENSSL: Conversion = Conversion::Command("openssl pkcs8 -topk8 -in {from} -out {to}");
const RSA: Conversion = Conversion::None("RSA keys cannot sign here; make a new key with `lastmile-repo key generate`");
/// ssh-keygen 9.5 and older cannot write Ed25519 keys in PKCS#8.
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

/// Returns the error for a file in another format than PKCS#8 in PEM, if the format is known.
pub(crate) fn foreign(bytes: &[u8], path: &Path) -> Option<KeyReason> {
    let (format, conversion) = recognized(bytes)?;
    let advice = match conversion {
        Conversion::None(advice) => advice.to_string(),
        Conversion::Command(command) => {
            let from = path.to_string_lossy();
            let to = quoted(&path.with_extension("pkcs8.pem").to_string_lossy());
            // With this umask, nobody else can read the new file.
            let command = command.replace("{from}", &quoted(&from)).replace("{to}", &to);
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
    if has("PRIVATE KEY") || has("ENCRYPTED PRIVATE KEY") {
        return None;
    }
    if has("EC PRIVATE KEY") {
        return Some(("a private key in SEC 1 form", OPENSSL));
    }
    if has("RSA PRIVATE KEY") {
        return Some(("an RSA private key", RSA));
    }
    if has("OPENSSH PRIVATE KEY") {
        return Some(open_ssh(text));
    }
    if has("ENCRYPTED COSIGN PRIVATE KEY") || has("ENCRYPTED SIGSTORE PRIVATE KEY") {
        let advice = Conversion::None("cosign cannot export it; make a new key with `lastmile-repo key generate`");
        return Some(("a private key of cosign", advice));
    }
    if has("PUBLIC KEY") || has("CERTIFICATE") || text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Some(("a public key", Conversion::None("give the file with the private key")));
    }
    if text.starts_with("PuTTY-User-Key-File-") {
        let command = "puttygen {from} -O private-openssh -o {to} && openssl pkcs8 -topk8 -in {to} -out {to}";
        return Some(("a private key of PuTTY", Conversion::Command(command)));
    }
    if text.matches("@@@@").count() >= 4 {
        let advice =
            "decrypt it with securesystemslib 0.31 or older, or make a new key with `lastmile-repo key generate`";
        return Some(("an encrypted private key of securesystemslib", Conversion::None(advice)));
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
        "ed25519" if !private.is_empty() => Some(("a private key of securesystemslib", SECURESYSTEMSLIB)),
        _ => Some(("a key of securesystemslib", Conversion::None("give the file with the private key in PEM"))),
    }
}

/// Recognizes PKCS#12 and other DER by the first bytes. The files of one tool differ in more than that.
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

/// The text `ssh-ed25519` in base64, at each offset.
const ED25519_TYPE: [&str; 3] = ["c3NoLWVkMjU1MT", "NzaC1lZDI1NTE5", "zc2gtZWQyNTUxO"];
/// The text `ssh-rsa` in base64, at each offset.
const RSA_TYPE: [&str; 3] = ["c3NoLXJzY", "NzaC1yc2", "zc2gtcnNh"];

/// The block names the types of its public keys, even if it is encrypted.
fn open_ssh(text: &str) -> (&'static str, Conversion) {
    let content: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let has = |kind: [&str; 3]| kind.iter().any(|encoded| content.contains(encoded));
    if has(ED25519_TYPE) {
        return ("an Ed25519 private key of OpenSSH", OPEN_SSH_ED25519);
    }
    if has(RSA_TYPE) {
        return ("an RSA private key of OpenSSH", RSA);
    }
    let command = "cp {from} {to} && ssh-keygen -p -m PKCS8 -f {to}";
    ("a private key of OpenSSH", Conversion::Command(command))
}

/// Quotes a path for a shell.
fn quoted(path: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+".contains(character);
    if !path.is_empty() && path.chars().all(is_plain) && !path.starts_with('-') {
        return path.to_string();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
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
        let cases: [(&str, &str); 13] = [
            (
                &ec,
                "is a private key in SEC 1 form; convert it with `umask 077; openssl pkcs8 -topk8 -in k -out k.pkcs8.pem`",
            ),
            (&block("RSA PRIVATE KEY"), "RSA keys cannot sign here"),
            (&block("OPENSSH PRIVATE KEY"), "cp k k.pkcs8.pem && ssh-keygen -p -m PKCS8 -f k.pkcs8.pem"),
            (ed25519, "is an Ed25519 private key of OpenSSH; convert it with `umask 077; python3 -c"),
            (&block("ENCRYPTED SIGSTORE PRIVATE KEY"), "cosign cannot export it"),
            ("PuTTY-User-Key-File-3: ecdsa-sha2-nistp256\n", "puttygen k -O private-openssh -o k.pkcs8.pem"),
            ("1a@@@@100000@@@@1b@@@@1c@@@@1d", "an encrypted private key of securesystemslib"),
            (r#"{"kty": "OKP", "d": "x"}"#, "step crypto key format"),
            (
                r#"{"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "", "private": "00"}}"#,
                "is a private key of securesystemslib; convert it with",
            ),
            (&block("PUBLIC KEY"), "is a public key; give the file with the private key"),
            ("ssh-ed25519 AAAA", "is a public key"),
            (&block("PRIVATE KEY"), ""),
            ("hello", ""),
        ];
        for (text, expected) in cases {
            let said = advice(text.as_bytes(), "k");
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{text}: {said}");
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
        let said = advice(b"-----BEGIN EC PRIVATE KEY-----", "my 'key'.pem");
        assert!(said.contains(r"-in 'my '\''key'\''.pem' -out 'my '\''key'\''.pkcs8.pem'"), "{said}");
    }
}
