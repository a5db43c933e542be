//! Attacks on target files, on their hashes and lengths, and on the hashes in file names.

use lastmile_testkit::{Delegation, Repository, TARGETS, hash};
use serde_json::{Value, json};

use crate::forgery::before;
use crate::{Case, EVIL, GOOD, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "2.1-hash-prefix",
        &["2.1-hash-prefix"],
        "harmless: the hash in the path of a target file precedes the last segment of the path, not the first",
        "a bug in another implementation; specification 6.2",
        hash_prefix,
    ),
    Scenario::new(
        "2.2-empty-hashes",
        &["2.2-empty-hashes", "4.9-unknown-hashes", "4.9-hash-of-wrong-length"],
        "a package has no hashes, only hashes of unknown algorithms, or an empty or invalid hash",
        "a bug in another implementation, 2026",
        hashes_of_nothing,
    ),
    Scenario::new(
        "S-2.2-1",
        &["S-2.2-1", "4.9-empty-file"],
        "the server sends ten bytes instead of an empty package; a delegation by hash prefixes of three digits is legal",
        "review of the source code of other implementations",
        prefixes_and_empty_files,
    ),
    Scenario::new(
        "4.9-hashes",
        &["4.9-hashes"],
        "one of the two hashes of a package is wrong",
        "bad input: target files",
        one_hash_of_two,
    ),
    Scenario::new(
        "4.9-sha512",
        &["4.9-sha512"],
        "harmless: a package has only a SHA-512 hash, or a SHA-256 hash and hashes of unknown algorithms",
        "bad input: target files",
        other_hashes,
    ),
];

fn hash_prefix() -> Vec<Case> {
    let mut honest = release(1);
    honest.add_target("targets", "a/b/package", GOOD);
    honest.publish(&["targets"]);
    assert!(honest.network().file(&format!("targets/a/b/{}.package", hash(GOOD))).is_some());
    // Before and after the attack, the client requests only `package`, whose path has no folder. Otherwise, a client
    // that handles folders incorrectly would already fail before the attack.
    vec![Case::against(&honest).packages(&["package"]).get("a/b/package")]
}

fn hashes_of_nothing() -> Vec<Case> {
    let honest = release(3);
    let samples: [(&str, Value, &'static str); 5] = [
        ("none", json!({}), "Malformed"),
        ("only hashes of unknown algorithms", json!({"md5": "00", "blake2b-256": hash(EVIL)}), "NoSupportedHash"),
        ("empty", json!({"sha256": ""}), "Malformed"),
        ("too short", json!({"sha256": "ab"}), "Malformed"),
        ("not hexadecimal", json!({"sha256": "z".repeat(64)}), "Malformed"),
    ];
    let cases = samples.map(|(sample, hashes, why)| {
        let mut attacker = honest.fork();
        attacker.signed("targets")["targets"]["package"] = json!({"length": EVIL.len(), "hashes": hashes});
        attacker.publish(&["targets"]);
        attacker.put_target("package", EVIL);
        let case = Case::against(&honest).attacker(attacker.network()).get("package").sample(sample);
        // A targets file is valid even if a package in it has only hashes of unknown algorithms. The client therefore
        // trusts the file, but cannot verify the package.
        let kept: &[&str] = if why == "Malformed" { &[] } else { &["targets"] };
        case.form_only().refused("targets", why).advances(&[before("targets"), kept].concat())
    });
    cases.into()
}

fn prefixes_and_empty_files() -> Vec<Case> {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::hash_prefixes("hashed", &[&hash(b"claimed")[..3]]));
    honest.add_target("hashed", "claimed", GOOD);
    honest.add_target("targets", "empty", b"");
    honest.publish(&["hashed", "targets"]);
    let longer: Repository = honest.fork();
    longer.network().put(&format!("targets/{}.empty", hash(b"")), b"ten bytes.".to_vec());
    vec![
        Case::against(&honest).get("claimed").sample("a path hash prefix of three digits"),
        Case::against(&honest).attacker(longer.network()).get("empty").sample("ten bytes").refused("empty", "Length"),
    ]
}

fn one_hash_of_two() -> Vec<Case> {
    let cases = ["sha256", "sha512"].map(|wrong| {
        let mut honest = release(1);
        honest.add_target("targets", "claimed", EVIL);
        let hashes = &mut honest.signed("targets")["targets"]["claimed"]["hashes"];
        hashes["sha512"] = json!(sha512(EVIL));
        let other = if wrong == "sha256" { hash(GOOD) } else { sha512(GOOD) };
        hashes[wrong] = json!(other);
        honest.publish(&["targets"]);
        for name in [hash(EVIL), hash(GOOD), sha512(EVIL), sha512(GOOD)] {
            honest.network().put(&format!("{TARGETS}{name}.claimed"), EVIL.to_vec());
        }
        Case::against(&honest).get("claimed").sample(format!("{wrong} is wrong")).refused("claimed", "Hash")
    });
    cases.into()
}

fn other_hashes() -> Vec<Case> {
    let samples = [
        ("sha512 alone", json!({"sha512": sha512(GOOD)})),
        (
            "an additional hash of an unknown algorithm",
            json!({"sha256": hash(GOOD), "sha3-256": "00", "blake2b-256": ""}),
        ),
    ];
    let cases = samples.map(|(sample, hashes)| {
        let mut honest = release(1);
        honest.add_target("targets", "claimed", GOOD);
        honest.signed("targets")["targets"]["claimed"]["hashes"] = hashes;
        honest.publish(&["targets"]);
        for name in [hash(GOOD), sha512(GOOD)] {
            honest.network().put(&format!("{TARGETS}{name}.claimed"), GOOD.to_vec());
        }
        Case::against(&honest).packages(&["package"]).get("claimed").sample(sample).in_process_only()
    });
    cases.into()
}

fn sha512(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha512};
    hex::encode(Sha512::digest(bytes))
}
