//! Attacks with malformed JSON, numbers, text encodings and dates, and with wrong clocks.

use lastmile_testkit::{Repository, canonical};
use serde_json::{Value, json};

use crate::forgery::{before, republish, respelled, signed_so};
use crate::{Case, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "2.1-duplicate-members",
        &["2.1-duplicate-members"],
        "a member occurs twice: the signature covers one value, but a client may read the other",
        "a bug in another implementation",
        duplicate_members,
    ),
    Scenario::new(
        "2.1-long-integer",
        &["2.1-long-integer"],
        "a version has 15,000 digits",
        "CVE-2020-10735; audit finding TUF-CR-22-03",
        long_integer,
    ),
    Scenario::new(
        "CVE-2026-23991",
        &["CVE-2026-23991"],
        "in place of each role's file, the server sends valid JSON that is not metadata",
        "CVE-2026-23991, GHSA-846p-jg2w-w324",
        json_that_is_no_metadata,
    ),
    Scenario::new(
        "CVE-2026-23991-stored",
        &["CVE-2026-23991"],
        "harmless: one of the client's stored files contains valid JSON that is not metadata",
        "CVE-2026-23991, GHSA-846p-jg2w-w324",
        stored_json_that_is_no_metadata,
    ),
    Scenario::new(
        "4.1-nesting",
        &["4.1-nesting"],
        "an unknown member contains arrays or objects that are nested 100 to 100,000 levels deep",
        "bad input: JSON",
        deep_nesting,
    ),
    Scenario::new(
        "4.1-numbers",
        &["4.1-numbers", "4.1-negative", "4.1-floats", "4.1-nan", "4.1-wrong-types"],
        "a version is negative, zero, too large, a fraction, in exponent form, a string, true or null",
        "bad input: JSON",
        odd_numbers,
    ),
    Scenario::new(
        "4.1-unread-numbers",
        &["4.1-unread-numbers"],
        "an unknown member contains a fraction, an exponent or NaN",
        "bad input: JSON",
        unread_numbers,
    ),
    Scenario::new(
        "4.1-duplicates",
        &["4.1-duplicates"],
        "a member occurs twice in the envelope, a role, a target or its hashes; in one case, one of the names is escaped",
        "bad input: JSON",
        duplicates,
    ),
    Scenario::new(
        "4.1-trailing",
        &["4.1-trailing", "4.1-empty", "4.2-byte-order-mark"],
        "the metadata is followed by other data or preceded by a byte order mark, or the file is empty",
        "bad input: JSON",
        trailing_data,
    ),
    Scenario::new(
        "4.1-missing",
        &["4.1-missing", "4.1-null", "4.1-lone-types"],
        "a member of a timestamp or a snapshot is missing, null or a list",
        "bad input: JSON",
        missing_members,
    ),
    Scenario::new(
        "4.1-type",
        &["4.1-type", "4.1-spec-version"],
        "a timestamp has the wrong `_type`, or a `spec_version` with another major version",
        "specification 4.3",
        types_and_versions,
    ),
    Scenario::new(
        "4.1-unknown-members",
        &["4.1-unknown-members"],
        "harmless: files have unknown members and a `spec_version` with a later minor version",
        "specification 4.1",
        unknown_members,
    ),
    Scenario::new(
        "4.2-text",
        &["4.2-text"],
        "a file is not valid UTF-8, is in UTF-16, or contains half a surrogate pair or a raw control character",
        "bad input: text",
        bad_text,
    ),
    Scenario::new(
        "4.5-dates",
        &["4.5-dates"],
        "an expiry date has no time zone, has an invalid day, hour or second, or is a Unix timestamp",
        "specification 4.2.3",
        bad_dates,
    ),
    Scenario::new(
        "4.5-clocks",
        &["4.5-clocks"],
        "the client's clock is far in the future",
        "bad input: clocks",
        far_clocks,
    ),
    Scenario::new(
        "4.5-clock-steps-back",
        &["4.5-clock-steps-back"],
        "the client's clock has stepped back, and the server sends an older release",
        "bad input: clocks",
        clock_steps_back,
    ),
];

fn duplicate_members() -> Vec<Case> {
    let honest = release(3);
    let old = "\"version\": 4";
    let roles = ["timestamp", "snapshot", "targets"];
    let samples =
        [r#""version": 9, "version": 4"#, r#""version": 4, "version": 9"#, r#""version": 4, "v\u0065rsion": 9"#];
    let mut cases = Vec::new();
    for (role, sample) in roles.into_iter().zip(samples) {
        let mut attacker = honest.fork();
        attacker.publish(&["targets"]);
        let text = String::from_utf8(attacker.written(role)).unwrap();
        let current = format!("\"version\": {}", attacker.version(role));
        let at = text.rfind(&current).unwrap();
        let spelled = sample.replace(old, &current);
        let bytes = [&text[..at], &spelled, &text[at + current.len()..]].concat().into_bytes();
        republish(&mut attacker, role, bytes);
        cases.push(
            Case::against(&honest)
                .attacker(attacker.network())
                .sample(role)
                .form_only()
                .refused(role, "Malformed")
                .advances(before(role)),
        );
    }
    cases
}

fn long_integer() -> Vec<Case> {
    let honest = release(3);
    let mut attacker = honest.fork();
    attacker.publish(&["timestamp"]);
    let text = String::from_utf8(attacker.written("timestamp")).unwrap();
    let current = format!("\"version\": {}", attacker.version("timestamp"));
    let at = text.rfind(&current).unwrap();
    let long = format!("\"version\": 1{}", "0".repeat(15_000));
    attacker.put_metadata("timestamp", [&text[..at], &long, &text[at + current.len()..]].concat().into_bytes());
    vec![Case::against(&honest).attacker(attacker.network()).refused("timestamp", "Malformed")]
}

fn json_that_is_no_metadata() -> Vec<Case> {
    let samples = ["[]", "{}", "null", "5", r#"{"signed":1}"#, UNSIGNED];
    let mut cases = Vec::new();
    for role in ["root", "timestamp", "snapshot", "targets", "team"] {
        for sample in samples {
            let honest = release(3);
            let mut attacker = honest.fork();
            attacker.publish(&[role]);
            republish(&mut attacker, role, sample.into());
            let case = Case::against(&honest).attacker(attacker.network()).sample(format!("{role}: {sample}"));
            let case = if role == "team" { case.get("team/package") } else { case };
            let reason = if sample == UNSIGNED { "ThresholdNotMet" } else { "Malformed" };
            cases.push(case.refused(role, reason).advances(before(role)));
        }
        let honest = release(3);
        let mut attacker = honest.fork();
        attacker.publish(&[role]);
        let text = format!("\"_type\":\"{}\"", if role == "team" { "targets" } else { role });
        let bytes = signed_so(&attacker, role, &text, "\"_type\":5");
        republish(&mut attacker, role, bytes);
        let case =
            Case::against(&honest).attacker(attacker.network()).sample(format!("{role}: signed, but `_type` is 5"));
        let case = if role == "team" { case.get("team/package") } else { case };
        cases.push(case.refused(role, "Malformed").advances(before(role)));
    }
    cases
}

const UNSIGNED: &str = r#"{"signed":{"_type":5},"signatures":[]}"#;

fn stored_json_that_is_no_metadata() -> Vec<Case> {
    let honest = release(3);
    let cases = ["timestamp", "snapshot", "targets", "team"].into_iter().flat_map(|role| {
        ["{}", UNSIGNED].map(|sample| {
            let spoil = move |folder: &std::path::Path| {
                std::fs::write(folder.join(format!("{role}.json")), sample).unwrap();
            };
            Case::against(&honest).tamper(spoil).get("team/package").sample(format!("{role}: {sample}"))
        })
    });
    cases.collect()
}

/// Creates one case for each of the `samples`. `edit` applies a sample to a new timestamp, and returns the bytes of the
/// file.
fn timestamps(samples: &[&str], why: &'static str, edit: impl Fn(&mut Repository, &str) -> Vec<u8>) -> Vec<Case> {
    let honest = release(2);
    let case = |sample: &&str| {
        let mut attacker = honest.fork();
        attacker.publish(&["timestamp"]);
        let bytes = edit(&mut attacker, sample);
        attacker.put_metadata("timestamp", bytes);
        let sample: String = sample.chars().take(30).collect();
        Case::against(&honest).attacker(attacker.network()).sample(sample).refused("timestamp", why)
    };
    samples.iter().map(case).collect()
}

/// Returns a timestamp with `text` as the value of an unknown member.
fn with_unread(attacker: &mut Repository, text: &str) -> Vec<u8> {
    attacker.signed("timestamp")["x"] = json!("here");
    attacker.write("timestamp");
    respelled(attacker, "timestamp", "\"here\"", text)
}

fn deep_nesting() -> Vec<Case> {
    let honest = release(2);
    let nested = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let samples = [
        // `serde_json` accepts 100 levels of nesting, but lastmile does not.
        (100, nested("[", "]", 100)),
        (1_000, nested("[", "]", 1_000)),
        (1_500, nested("{\"a\":", "}", 1_500)),
        (100_000, nested("[", "]", 100_000)),
        (50_000, nested("{\"a\":[", "]}", 50_000)),
    ];
    let cases = samples.map(|(depth, text)| {
        let mut attacker = honest.fork();
        attacker.signed("targets")["x"] = json!("here");
        attacker.publish(&["targets"]);
        let bytes = respelled(&attacker, "targets", "\"here\"", &text);
        republish(&mut attacker, "targets", bytes);
        let case = Case::against(&honest).attacker(attacker.network()).sample(format!("{depth} levels"));
        case.refused("targets", "Malformed").advances(before("targets"))
    });
    cases.into()
}

fn odd_numbers() -> Vec<Case> {
    let million = "9".repeat(10_000);
    let samples = [
        "0",
        "-1",
        "-0",
        "9223372036854775808",
        "18446744073709551616",
        "1e3",
        "4.0",
        "1E400",
        "0.1",
        "01",
        "+4",
        ".5",
        "4.",
        "NaN",
        "Infinity",
        "-Infinity",
        "\"4\"",
        "true",
        "null",
        "[4]",
        &million,
    ];
    // Canonical JSON can express some of these values, so they can be signed. The client must refuse them even with a
    // valid signature.
    let has_canonical_form =
        |sample: &str| serde_json::from_str::<serde_json::Value>(sample).is_ok_and(|value| !value.is_f64());
    let cases = timestamps(&samples, "Malformed", |attacker, sample| {
        if has_canonical_form(sample) {
            let version = format!("\"version\":{}", attacker.version("timestamp"));
            return signed_so(attacker, "timestamp", &version, &format!("\"version\":{sample}"));
        }
        let version = format!("\"version\": {}", attacker.version("timestamp"));
        respelled(attacker, "timestamp", &version, &format!("\"version\": {sample}"))
    });
    // The signature covers version 4. A lenient parser reads these three samples as 4, so a client that accepts them
    // does not count as harmed.
    let is_signed = |case: &Case| ["4.0", "+4", "4."].contains(&case.sample.as_str());
    cases.into_iter().map(|case| if is_signed(&case) { case.form_only() } else { case }).collect()
}

fn unread_numbers() -> Vec<Case> {
    timestamps(&["1.0", "1e0", "1E400", "-0.5", "NaN", "01"], "Malformed", with_unread)
}

fn duplicates() -> Vec<Case> {
    let honest = release(2);
    let samples: [(&str, &str, &str, &str); 7] = [
        ("timestamp", "in the envelope", "\"signed\": {", "\"signed\": {}, \"signed\": {"),
        ("timestamp", "among the signatures", "\"signatures\": [", "\"signatures\": [], \"signatures\": ["),
        ("timestamp", "in the role", "\"version\":", "\"_type\": \"timestamp\", \"version\":"),
        ("timestamp", "escaped", "\"version\":", "\"\\u005ftype\": \"timestamp\", \"version\":"),
        (
            "targets",
            "among the targets",
            "\"package\": {",
            "\"package\": {\"length\": 1, \"hashes\": {}}, \"package\": {",
        ),
        ("targets", "among the hashes", "\"sha256\":", "\"sha256\": \"00\", \"sha256\":"),
        (
            "snapshot",
            "among the listed files",
            "\"targets.json\": {",
            "\"targets.json\": {\"version\": 1}, \"targets.json\": {",
        ),
    ];
    let cases = samples.map(|(role, sample, old, new)| {
        let mut attacker = honest.fork();
        attacker.publish(&["targets"]);
        let bytes = respelled(&attacker, role, old, new);
        republish(&mut attacker, role, bytes);
        let case = Case::against(&honest).attacker(attacker.network()).sample(sample);
        case.form_only().refused(role, "Malformed").advances(before(role))
    });
    cases.into()
}

fn trailing_data() -> Vec<Case> {
    let behind = ["{}", "\0", "x", "// comment", ",", "\u{feff}"];
    let mut cases = timestamps(&behind, "Malformed", |attacker, sample| {
        [attacker.written("timestamp"), sample.as_bytes().to_vec()].concat()
    });
    let not_metadata = |case: Case| case.refused("timestamp.json", "NotMetadata");
    let marked = timestamps(&["\u{feff}"], "Malformed", |attacker, sample| {
        [sample.as_bytes().to_vec(), attacker.written("timestamp")].concat()
    });
    cases.extend(marked.into_iter().map(not_metadata));
    cases = cases.into_iter().map(Case::form_only).collect();
    let empty = timestamps(&["", " ", "\n\n"], "Malformed", |_, sample| sample.as_bytes().to_vec());
    cases.extend(empty.into_iter().map(not_metadata));
    cases.extend(timestamps(&["\"\"", "1"], "Malformed", |_, sample| sample.as_bytes().to_vec()));
    cases
}

fn missing_members() -> Vec<Case> {
    let honest = release(2);
    let mut cases = Vec::new();
    for role in ["timestamp", "snapshot"] {
        for member in ["_type", "spec_version", "version", "expires", "meta"] {
            for (sample, value) in [("missing", None), ("null", Some(json!(null))), ("a list", Some(json!([])))] {
                let mut attacker = honest.fork();
                let whole = role == "timestamp" || sample == "missing";
                if !whole {
                    continue;
                }
                let version = attacker.version(role);
                attacker.publish(&[role]);
                match value {
                    None => drop(attacker.signed(role).as_object_mut().unwrap().remove(member)),
                    Some(value) => attacker.signed(role)[member] = value,
                }
                // Publish the file as the next version, even if the file itself contains no valid version.
                let signed = attacker.signed(role).clone();
                let bytes = lastmile_testkit::sign(&signed, &attacker.signers(role));
                attacker.signed(role)["version"] = json!(version + 1);
                republish(&mut attacker, role, bytes);
                let case =
                    Case::against(&honest).attacker(attacker.network()).sample(format!("{role}: {member} {sample}"));
                cases.push(case.form_only().refused(role, "Malformed").advances(before(role)));
            }
        }
    }
    cases
}

fn types_and_versions() -> Vec<Case> {
    let edit = |member: &'static str| {
        move |attacker: &mut Repository, sample: &str| {
            attacker.signed("timestamp")[member] = json!(sample);
            attacker.write("timestamp")
        }
    };
    let mut cases = timestamps(&["root", "Timestamp", "timestamp ", ""], "WrongType", edit("_type"));
    cases.extend(timestamps(&["2.0.0", "0.9"], "UnsupportedSpecVersion", edit("spec_version")));
    cases.into_iter().map(Case::form_only).collect()
}

fn unknown_members() -> Vec<Case> {
    let honest = release(2);
    let cases = ["1.0.34", "1.99.0", "1.0"].map(|version| {
        let mut next = honest.fork();
        for role in ["root", "timestamp", "snapshot", "targets", "team"] {
            next.signed(role)["spec_version"] = json!(version);
            next.signed(role)["x-unknown"] = json!({"deep": [1, {"er": null}], "\u{1f600}": "\u{0}"});
        }
        next.publish(&["root", "team", "targets"]);
        let mut after = next.fork();
        after.publish(&["team", "targets"]);
        Case::against(&honest)
            .attacker(next.network())
            .honest(after.network())
            .get("team/package")
            .sample(version)
            .honest_may_be_refused()
    });
    cases.into()
}

fn bad_text() -> Vec<Case> {
    let samples: [(&str, &[u8]); 7] = [
        ("an invalid byte", b"\xff"),
        ("an overlong form", b"\xc0\xaf"),
        ("an encoded surrogate", b"\xed\xa0\x80"),
        ("half a surrogate pair", b"\\ud800"),
        ("a reversed surrogate pair", b"\\udc00\\ud800"),
        ("a raw control character", b"\x01"),
        ("a raw line end", b"\n"),
    ];
    let honest = release(2);
    let bent = samples.map(|(sample, bytes)| {
        let mut attacker = honest.fork();
        attacker.signed("timestamp")["x"] = json!("here");
        attacker.publish(&["timestamp"]);
        let text = attacker.written("timestamp");
        let at = text.windows(4).position(|window| window == b"here").unwrap();
        let file = [&text[..at], bytes, &text[at + 4..]].concat();
        attacker.put_metadata("timestamp", file);
        Case::against(&honest).attacker(attacker.network()).sample(sample).refused("timestamp", "Malformed")
    });
    let mut cases: Vec<Case> = bent.into();
    // Canonical JSON does not escape control characters, so the signature is valid.
    let mut signed = timestamps(&["a signed control character"], "Malformed", |attacker, _| {
        attacker.signed("timestamp")["x"] = json!("\u{1}");
        let envelope: Value = serde_json::from_slice(&attacker.write("timestamp")).unwrap();
        canonical::write(&envelope)
    });
    signed.extend(timestamps(&["UTF-16"], "Malformed", |attacker, _| {
        let text = String::from_utf8(attacker.written("timestamp")).unwrap();
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }));
    cases.extend(signed.into_iter().map(Case::form_only));
    cases
}

fn bad_dates() -> Vec<Case> {
    let samples = [
        "2040-01-01T00:00:00",
        "2040-01-01",
        "2040-02-30T00:00:00Z",
        "2040-01-01T24:00:00Z",
        "2040-01-01T00:00:61Z",
        "2040-13-01T00:00:00Z",
        "0000-00-00T00:00:00Z",
        "-001-01-01T00:00:00Z",
        "2040-1-01T00:00:00Z",
        " 2040-01-01T00:00:00Z",
        "",
        "2208988800",
    ];
    let cases = timestamps(&samples, "Malformed", |attacker, sample| {
        attacker.signed("timestamp")["expires"] = json!(sample);
        attacker.write("timestamp")
    });
    cases.into_iter().map(Case::form_only).collect()
}

fn far_clocks() -> Vec<Case> {
    let honest = release(2);
    let start = "2030-01-01T00:00:00Z";
    let cases = ["2106-02-08T00:00:00Z", "9999-12-31T23:59:59Z"].map(|far| {
        Case::against(&honest).clock([start, far, start]).get("package").sample(far).refused("root", "Expired")
    });
    cases.into()
}

fn clock_steps_back() -> Vec<Case> {
    let old = release(2);
    let mut honest = old.fork();
    honest.publish(&["team", "targets"]);
    let cases = ["1970-01-01T00:00:00Z", "2029-12-31T23:59:59Z"].map(|back| {
        let case =
            Case::against(&honest).attacker(old.network()).clock(["2030-01-01T00:00:00Z", back, back]).sample(back);
        case.refused("timestamp", "Rollback")
    });
    cases.into()
}
