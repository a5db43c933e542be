//! Fuzz targets for metadata files, canonical JSON and keys.

use lastmile_client::metadata::{Envelope, Json, KeyId, Role, RoleName, Root, Signature, Snapshot, Targets, Timestamp};
use lastmile_keys::{PrivateKey, PublicKey, Scheme, SignatureChecks, Signer};
use lastmile_random::adversary::published;
use serde_json::Value;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        [0, 7, 0x0fff_ffff].into_iter().flat_map(|kind| published(kind).1.into_values()).map(Into::into).collect();
    let more = [
        r#"{"signatures":[{"keyid":"k","sig":"00"},{"keyid":"l","sig":"zz","x":null}],"signed":{"_type":"targets","delegations":{"keys":{},"succinct_roles":{"bit_length":4,"keyids":[],"name_prefix":"bin","threshold":1}},"expires":"2030-01-01T00:00:00.5+01:00","spec_version":"1.0.34","targets":{"a/b c":{"custom":{"x":[1,{"é":"\\\""}]},"hashes":{"sha512":"00","md5":"x"},"length":9}},"version":7,"x-extra":[[[]]]},"z":true}"#,
        "{\n \"signed\": {\"version\": 1, \"_type\": \"snapshot\", \"spec_version\": \"1.0\", \"expires\": \"2030-01-01T00:00:00Z\", \"meta\": {\"targets.json\": {\"version\": 1, \"length\": 5, \"hashes\": {\"sha256\": \"\\u0030\"}}}}, \"signatures\": []}",
    ];
    seeds.extend(more.map(|seed| seed.as_bytes().to_vec()));
    seeds
}

pub(crate) fn root(input: &[u8]) {
    document::<Root>(&RoleName::ROOT, input);
    // A shipped root must verify if and only if it has enough valid signatures by its own keys.
    if let Ok(envelope) = Envelope::<Root>::parse(&RoleName::ROOT, input.to_vec()) {
        let Ok(root) = envelope.unverified(&RoleName::ROOT) else { return };
        let rings = RoleName::TOP_LEVEL.map(|role| root.key_ring(&role));
        if let [Ok(own), ..] = &rings {
            let valid = own.signers(envelope.signed().as_bytes(), envelope.signatures()).len();
            let is_enough = valid >= own.threshold().get() as usize;
            assert_eq!(envelope.verify(&RoleName::ROOT, own).is_ok(), is_enough);
        }
    }
}

pub(crate) fn timestamp(input: &[u8]) {
    document::<Timestamp>(&RoleName::TIMESTAMP, input);
}

pub(crate) fn snapshot(input: &[u8]) {
    document::<Snapshot>(&RoleName::SNAPSHOT, input);
}

pub(crate) fn targets(input: &[u8]) {
    document::<Targets>(&RoleName::TARGETS, input);
    let Ok(envelope) = Envelope::<Targets>::parse(&RoleName::TARGETS, input.to_vec()) else { return };
    let Ok(targets) = envelope.unverified(&RoleName::TARGETS) else { return };
    assert_eq!(targets.paths().count(), targets.len());
    for target in targets.targets() {
        assert_eq!(targets.target(&target.path).as_ref(), Some(&target), "a listed target must be found");
    }
}

/// Adds a signature to an accepted document and parses the result. The signed part, the version and the expiry must
/// stay the same.
fn document<R: Role>(role: &RoleName, input: &[u8]) {
    let Ok(envelope) = Envelope::<R>::parse(role, input.to_vec()) else { return };
    let signed = envelope.signed();
    if is_json(signed) {
        assert_eq!(Json::parse(signed).expect("the signed part must be JSON").canonical(), signed);
    }
    let Ok(content) = envelope.unverified(role) else { return };
    let again = envelope.with_signature(Signature::new(KeyId::new("one more"), vec![1]));
    let again = Envelope::<R>::parse(role, again).expect("the file must parse with one more signature");
    assert_eq!(again.signed(), envelope.signed());
    let content_again = again.unverified(role).expect("the signed part must parse a second time");
    assert_eq!((content_again.version, content_again.expires), (content.version, content.expires));
    assert!(again.signatures().len() <= envelope.signatures().len() + 1);
}

/// Canonical text with control characters is not valid JSON, because canonical JSON does not escape them.
fn is_json(canonical: &str) -> bool {
    !canonical.bytes().any(|byte| byte < 0x20)
}

/// Compares the canonical JSON that lastmile writes with the output of an independent implementation.
pub(crate) fn canonical(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let value: Result<Value, _> = serde_json::from_str(text);
    if let Ok(ours) = Json::parse(text) {
        let canonical = ours.canonical();
        let other = value.as_ref().expect("accepted input must be JSON");
        // `serde_json` reads integers that do not fit into 64 bits as floats. If the input has such an integer,
        // `written` returns `None`, and nothing is compared.
        if let Some(other) = written(other) {
            assert_eq!(canonical, other, "both canonical forms must be equal");
        }
        if is_json(canonical) {
            assert_eq!(Json::parse(canonical).expect("canonical JSON must parse").canonical(), canonical);
        }
    } else if let Some(canonical) = value.ok().as_ref().and_then(written)
        && is_json(&canonical)
        && depth(&canonical) < 32
    {
        // The input may have been refused because of a duplicate member. `canonical` has no duplicate members, so it
        // must be accepted.
        assert_eq!(
            Json::parse(&canonical).expect("canonical JSON without duplicates must parse").canonical(),
            canonical
        );
    }
}

fn written(value: &Value) -> Option<String> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    Some(match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) if number.is_f64() => return None,
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Option<Vec<_>>>()?.join(",")),
        Value::Object(members) => {
            let mut names: Vec<_> = members.keys().collect();
            names.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
            let member = |name: &&String| Some(format!("{}:{}", quoted(name), written(&members[name.as_str()])?));
            format!("{{{}}}", names.iter().map(member).collect::<Option<Vec<_>>>()?.join(","))
        }
    })
}

fn depth(text: &str) -> usize {
    text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count()
}

pub(crate) fn key_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, scheme) in [Scheme::Ed25519, Scheme::EcdsaP256, Scheme::EcdsaP384].into_iter().enumerate() {
        let key = PrivateKey::from_seed(scheme, &[7; 32]).unwrap();
        let signature = key.sign(b"message").unwrap();
        let length = u8::try_from(signature.len()).unwrap();
        let number = u8::try_from(number).unwrap();
        seeds.push([&[number, length][..], &signature, key.public_key().public().as_bytes()].concat());
        seeds.push([&[3 + number, length][..], &signature, key.public_key().public().as_bytes()].concat());
    }
    seeds
}

/// Checks that a parsed key stays the same when it is written and parsed again. Also checks that verifying a message in
/// parts gives the same results as verifying the whole message in one call. Each input is a key type, the length of a
/// signature, the signature, and the text of a public key.
pub(crate) fn keys(input: &[u8]) {
    const KINDS: [(&str, &str); 8] = [
        ("ed25519", "ed25519"),
        ("ecdsa", "ecdsa-sha2-nistp256"),
        ("ecdsa", "ecdsa-sha2-nistp384"),
        ("rsa", "rsassa-pss-sha256"),
        ("rsa", "rsa-pkcs1v15-sha256"),
        ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
        ("rsa", "rsassa-pss-sha512"),
        ("unknown", "unknown"),
    ];
    let [kind, length, rest @ ..] = input else { return };
    let (signature, public) = rest.split_at(usize::from(*length).min(rest.len()));
    let Ok(public) = std::str::from_utf8(public) else { return };
    let (keytype, scheme) = KINDS[usize::from(*kind) % KINDS.len()];
    let Ok(key) = PublicKey::from_tuf(keytype, scheme, public) else { return };
    let again = PublicKey::from_tuf(key.keytype(), key.scheme(), &key.public()).expect("a written key must parse");
    assert_eq!(again, key);
    assert_eq!(again.material(), key.material());
    let mut checks = SignatureChecks::default();
    checks.add(&key, signature);
    checks.add(&key, b"another");
    checks.update(b"mess");
    checks.update(b"age");
    let expected = [signature, b"another"].map(|signature| key.verify(b"message", signature));
    assert_eq!(checks.finish(), expected, "incremental verification must give the same result");
    assert!(
        !key.verify(b"another message", signature) || !key.verify(b"message", signature),
        "a signature must not be valid for two messages"
    );
}
