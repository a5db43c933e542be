//! Reads the encrypted private key files of cosign. Each file is a PEM block with a JSON object that contains the
//! encrypted key and the parameters of the encryption.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lastmile_keys::{PemError, SealedKey};
use serde::Deserialize;

/// The label of the PEM block, and the label that cosign used before version 2.
const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];

pub(crate) fn is_cosign(pem: &str) -> bool {
    LABELS.iter().any(|label| pem.contains(&format!("-----BEGIN {label}-----")))
}

/// Parses a cosign private key file, without decrypting the key.
///
/// # Errors
/// [`PemError`] if the file is malformed, or if its encryption is not supported.
pub(crate) fn parse(pem: &str) -> Result<SealedKey, PemError> {
    let content = LABELS.iter().find_map(|label| {
        let content = pem.trim_ascii().strip_prefix(&format!("-----BEGIN {label}-----"))?;
        content.strip_suffix(&format!("-----END {label}-----"))
    });
    let content = content.ok_or_else(|| malformed("the PEM block is truncated or surrounded by other text"))?;
    let text: String = content.split_ascii_whitespace().collect();
    let json = decode(&text)?;
    let file: File = serde_json::from_slice(&json)
        .map_err(|error| malformed(&format!("the content of the PEM block is not a private key of cosign: {error}")))?;
    if file.kdf.name != "scrypt" || file.cipher.name != "nacl/secretbox" {
        return Err(PemError::Unsupported(format!(
            "the private key is encrypted with {} and {}, expected scrypt and nacl/secretbox",
            file.kdf.name, file.cipher.name
        )));
    }
    Ok(SealedKey {
        cost: file.kdf.params.n,
        block_size: file.kdf.params.r,
        parallelization: file.kdf.params.p,
        salt: decode(&file.kdf.salt)?,
        nonce: decode(&file.cipher.nonce)?.try_into().map_err(|_| malformed("the nonce must have 24 bytes"))?,
        secretbox: decode(&file.ciphertext)?,
    })
}

#[derive(Deserialize)]
struct File {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

fn decode(text: &str) -> Result<Vec<u8>, PemError> {
    STANDARD.decode(text).map_err(|_| malformed("the PEM block or a value in it is not base64"))
}

fn malformed(reason: &str) -> PemError {
    PemError::Malformed(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(label: &str, json: &str) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(json))
    }

    const JSON: &str = r#"{"kdf": {"name": "scrypt", "params": {"N": 32768, "r": 8, "p": 1}, "salt": "AAE="},
        "cipher": {"name": "nacl/secretbox", "nonce": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, "ciphertext": "AgM="}"#;

    #[test]
    fn both_labels_are_read() {
        for label in LABELS {
            let text = file(label, JSON);
            assert!(is_cosign(&text));
            let key = parse(&text).unwrap();
            assert_eq!((key.cost, key.block_size, key.parallelization), (32768, 8, 1));
            assert_eq!((key.salt.as_slice(), key.secretbox.as_slice()), ([0, 1].as_slice(), [2, 3].as_slice()));
        }
        assert!(!is_cosign(&file("ENCRYPTED PRIVATE KEY", JSON)));
    }

    #[test]
    fn malformed_files_and_other_ciphers_are_refused() {
        let label = LABELS[0];
        let refused = [
            (file(label, &JSON.replace("scrypt", "argon2")), "encrypted with argon2 and nacl/secretbox"),
            (file(label, &JSON.replace("nacl/secretbox", "aes")), "encrypted with scrypt and aes"),
            (file(label, &JSON.replace("AAAAAAAA\"", "\"")), "24 bytes"),
            (file(label, &JSON.replace("32768", "-1")), "not a private key of cosign"),
            (file(label, "{}"), "not a private key of cosign"),
            (file(label, JSON).replace("-----END", "*-----END"), "not base64"),
            (format!("{}x", file(label, JSON)), "surrounded by other text"),
        ];
        for (text, expected) in refused {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
