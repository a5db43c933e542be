//! Tests of public keys in the formats of other tools.

use lastmile_keys::{KeyError, PublicKey};

const P256: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5TNCZ8WrjGIcSL8AIaimxLNxNRNp
ZGjomDWvIVNHKChSK1vDrTx1u81fVBQdWeET+nvTf0gf2jQHToS+T3L18w==
-----END PUBLIC KEY-----";
const P256_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBbjCCARWgAwIBAgIULu/D7ncVsHKph9bVtJqzX3DKZegwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjkwMjQxNTBaGA8yMTI2MTEwNTAyNDE1MFow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOUzQmfFq4xi
HEi/ACGopsSzcTUTaWRo6Jg1ryFTRygoUitbw608dbvNX1QUHVnhE/p7039IH9o0
B06Evk9y9fOjUzBRMB0GA1UdDgQWBBRiekBDtvj3cQ488ZuyfJkfTFhADzAfBgNV
HSMEGDAWgBRiekBDtvj3cQ488ZuyfJkfTFhADzAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0cAMEQCIFzB0w9nM/41HfB5ZbnfkPP9DibgIj62WnMQj1m8Yhxt
AiBjSMzN4JkGky4HmT4+osi7ZqKNRspcCf1WQmmEkkmOUA==
-----END CERTIFICATE-----";
const P256_OPEN_SSH: &str = "\
ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOUzQmfFq4xiHEi/ACGopsSzcTUTaWRo6Jg1ryFTRygoUitbw608dbvNX1QUHVnhE/p7039IH9o0B06Evk9y9fM= a comment";
const P384: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEdrJdYSS4oVjSXRw78RmmjbPrUxerOgNA
ydp1h3VRYMhcDoe/G52H5HqTUBJR28udw1YOvg5zfeqFaTJQu0xJTuquTL1JvXSw
tHY+8LGB5DZulZ0oSHcQPnmyZ6znzxuU
-----END PUBLIC KEY-----";
const P384_OPEN_SSH: &str = "\
ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBHayXWEkuKFY0l0cO/EZpo2z61MXqzoDQMnadYd1UWDIXA6Hvxudh+R6k1ASUdvLncNWDr4Oc33qhWkyULtMSU7qrky9Sb10sLR2PvCxgeQ2bpWdKEh3ED55smes588blA== a comment";
const RSA: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAldiLY8h9Ya/+zIknlQ9H
I3DKMuk/xM+Tu1Z8DgVhjLKqR7AEm+fG++t9OTHL6b1FQIgC+7nh+tBEuuEPMDw5
E+f18WH62dCj2JboU6j0+axgWBxzLD5Mw7S1WxWCu2khXqe7/yzA9QGvZTOx7h/r
VD+7BKw2GZox7pBHvOhGJY5YRTAV1tfFXQ+A6omO3rjYOqHX9N9gPuFKk80ZGnwI
8qrYyP1K8hW/Of7Ok3nWdgBldBSO7Z+w7q0wwWiEU9x/NVBXb7bPnbJ+M0SKG7Co
NI0zGRACZ2GTna9Dy/PMoAhp9Nlsj9rRwrElSUfXSsPBxQLJFhoJaymqnt/ODnPz
eQIDAQAB
-----END PUBLIC KEY-----";
const RSA_PKCS1: &str = "\
-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAldiLY8h9Ya/+zIknlQ9HI3DKMuk/xM+Tu1Z8DgVhjLKqR7AEm+fG
++t9OTHL6b1FQIgC+7nh+tBEuuEPMDw5E+f18WH62dCj2JboU6j0+axgWBxzLD5M
w7S1WxWCu2khXqe7/yzA9QGvZTOx7h/rVD+7BKw2GZox7pBHvOhGJY5YRTAV1tfF
XQ+A6omO3rjYOqHX9N9gPuFKk80ZGnwI8qrYyP1K8hW/Of7Ok3nWdgBldBSO7Z+w
7q0wwWiEU9x/NVBXb7bPnbJ+M0SKG7CoNI0zGRACZ2GTna9Dy/PMoAhp9Nlsj9rR
wrElSUfXSsPBxQLJFhoJaymqnt/ODnPzeQIDAQAB
-----END RSA PUBLIC KEY-----";
const RSA_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIC+zCCAeOgAwIBAgIUN66J7t7bHcCSk12GjR3sUJWr2hswDQYJKoZIhvcNAQEL
BQAwDDEKMAgGA1UEAwwBeDAgFw0yNjExMjkwMjQxNTBaGA8yMTI2MTEwNTAyNDE1
MFowDDEKMAgGA1UEAwwBeDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEB
AJXYi2PIfWGv/syJJ5UPRyNwyjLpP8TPk7tWfA4FYYyyqkewBJvnxvvrfTkxy+m9
RUCIAvu54frQRLrhDzA8ORPn9fFh+tnQo9iW6FOo9PmsYFgccyw+TMO0tVsVgrtp
IV6nu/8swPUBr2Uzse4f61Q/uwSsNhmaMe6QR7zoRiWOWEUwFdbXxV0PgOqJjt64
2Dqh1/TfYD7hSpPNGRp8CPKq2Mj9SvIVvzn+zpN51nYAZXQUju2fsO6tMMFohFPc
fzVQV2+2z52yfjNEihuwqDSNMxkQAmdhk52vQ8vzzKAIafTZbI/a0cKxJUlH10rD
wcUCyRYaCWspqp7fzg5z83kCAwEAAaNTMFEwHQYDVR0OBBYEFHBpdvoM6UIYndMZ
l6E+2QhBhWL5MB8GA1UdIwQYMBaAFHBpdvoM6UIYndMZl6E+2QhBhWL5MA8GA1Ud
EwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBABPrIlWRTice3yRQv30C1lJk
vORyzQGhaZE2nKvxivIWHH7w40f+9cdNzjVLWWXqIYQnaUsfdQWeMAfXoHMGk/l3
aUlsXKCrhzYRgGDzFQ7x6elzNFq1ZUogjEGdQ3dUmgt2gA8TaQdXatORuXJzc2mH
GlDQ4poXNm7zZTNd0baM8ryFlCRE5fRqpX3b0Yha32F1tUzC27H1LJwiWyJKtXZc
CXYBBfTSjwdOMiD0TnCaSTHy7jEx6dNxbFW4ccHp108Bd+9GX8I/EP5xUI7ZwyfO
p0+tRg2HayMgsuZc357stg4Kd4unOyG3hNlF8wShkNuA1YT6spwIZ105dqebYwk=
-----END CERTIFICATE-----";
const RSA_OPEN_SSH: &str = "\
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCV2ItjyH1hr/7MiSeVD0cjcMoy6T/Ez5O7VnwOBWGMsqpHsASb58b76305McvpvUVAiAL7ueH60ES64Q8wPDkT5/XxYfrZ0KPYluhTqPT5rGBYHHMsPkzDtLVbFYK7aSFep7v/LMD1Aa9lM7HuH+tUP7sErDYZmjHukEe86EYljlhFMBXW18VdD4DqiY7euNg6odf032A+4UqTzRkafAjyqtjI/UryFb85/s6TedZ2AGV0FI7tn7DurTDBaIRT3H81UFdvts+dsn4zRIobsKg0jTMZEAJnYZOdr0PL88ygCGn02WyP2tHCsSVJR9dKw8HFAskWGglrKaqe384Oc/N5 a comment";
const ED25519: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAwgxTR0OOp8GSkyB/LrVBiH7qOlKVdt1tmtRqGvi+1XY=
-----END PUBLIC KEY-----";
const ED25519_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBLjCB4aADAgECAhQoiAF4jbj0hVsxQ59YLx1ipHj1yjAFBgMrZXAwDDEKMAgG
A1UEAwwBeDAgFw0yNjExMjkwMjQxNTFaGA8yMTI2MTEwNTAyNDE1MVowDDEKMAgG
A1UEAwwBeDAqMAUGAytlcAMhAMIMU0dDjqfBkpMgfy61QYh+6jpSlXbdbZrUahr4
vtV2o1MwUTAdBgNVHQ4EFgQUIG3lBMozfm0FHm1b0vt000ajilwwHwYDVR0jBBgw
FoAUIG3lBMozfm0FHm1b0vt000ajilwwDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXAD
QQASvHX0qWmaFOsz7x4tAmcmtvA6R3tAFI82vONcQCGpCVDn+60o/WWy67kgunMC
d7SWGT98hphDTKXmee7t+lwB
-----END CERTIFICATE-----";

fn same(texts: &[&str], keytype: &str, scheme: &str) {
    let keys: Vec<PublicKey> = texts.iter().map(|text| PublicKey::from_text(text).unwrap()).collect();
    assert!(keys.iter().all(|key| *key == keys[0] && (key.keytype(), key.scheme()) == (keytype, scheme)), "{keys:?}");
}

#[test]
fn a_public_key_is_read_in_every_usual_format() {
    same(&[P256, P256_CERTIFICATE, P256_OPEN_SSH], "ecdsa", "ecdsa-sha2-nistp256");
    same(&[P384, P384_OPEN_SSH], "ecdsa", "ecdsa-sha2-nistp384");
    same(&[RSA, RSA_PKCS1, RSA_CERTIFICATE, RSA_OPEN_SSH], "rsa", "rsassa-pss-sha256");
    same(&[ED25519, ED25519_CERTIFICATE], "ed25519", "ed25519");
    let read = PublicKey::from_text(P256).unwrap();
    assert_eq!(read, PublicKey::from_tuf("ecdsa", "ecdsa-sha2-nistp256", P256).unwrap());
    // The key of a test vector in RFC 8032, 7.1.
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
    let hex = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let expected = PublicKey::from_tuf("ed25519", "ed25519", hex).unwrap();
    assert_eq!(PublicKey::from_text(ssh).unwrap(), expected);
    assert_eq!(PublicKey::from_text(&format!("{ssh} me@here\n")).unwrap(), expected);
}

#[test]
fn a_broken_or_foreign_text_is_refused_with_a_reason() {
    let refused = |text: &str| PublicKey::from_text(text).unwrap_err().to_string();
    for (text, reason) in [
        ("", "neither a public key"),
        ("hello world", "neither a public key"),
        ("ssh-ed25519 AAAA", "the OpenSSH key is invalid"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1EaAAAA", "is invalid"),
        ("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea", "is invalid"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "this is a private key"),
        ("-----BEGIN X\u{1b}-----\nAAAA\n-----END X\u{1b}-----", "X\\u{1b}"),
        ("-----BEGIN CERTIFICATE-----\nMAIwAA==\n-----END CERTIFICATE-----", "the certificate is invalid"),
        ("-----BEGIN RSA PUBLIC KEY-----\nMAA=\n-----END RSA PUBLIC KEY-----", "the rsa key is invalid"),
        (&[P256, P384].join("\n"), "more than one PEM block"),
        (&[P256_OPEN_SSH, P384_OPEN_SSH].join("\n"), "more than one OpenSSH key"),
    ] {
        assert!(refused(text).contains(reason), "{text}: {}", refused(text));
    }
    // Every truncated certificate is refused without a panic.
    let lines: Vec<&str> = P256_CERTIFICATE.lines().collect();
    for length in 1..lines.len() - 1 {
        let cut = [&lines[..length], &[lines[lines.len() - 1]]].concat().join("\n");
        assert!(PublicKey::from_text(&cut).is_err());
    }
    let security_key = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t";
    assert!(matches!(PublicKey::from_text(security_key), Err(KeyError::Unsupported { .. })));
}
