//! Tests of canonical JSON (TUF specification 4.1).

use lastmile_metadata::{ErrorKind, Json, TargetPath, Targets, Threshold};
use lastmile_testkit::{Repository, TestClient, TestKey, canonical, sign};
use lastmile_tests::{judge, judge_bytes, judge_targets, malformed, parse, verdict};
use serde_json::{Value, json};

fn canonical_form(text: &str) -> String {
    Json::parse(text).unwrap().canonical().to_owned()
}

fn unsigned() -> ErrorKind {
    ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::new(1).unwrap() }
}

#[test]
fn f_cj_1_members_are_sorted_and_spaces_are_removed() {
    assert_eq!(canonical_form(" { \"b\" : [ 1 , true ] ,\n\"a\":\t{} } "), r#"{"a":{},"b":[1,true]}"#);
}

#[test]
fn f_cj_1_members_are_sorted_by_code_point_and_not_by_utf_16_unit() {
    let text = "{\"\u{10000}\":1,\"\u{e000}\":2,\"z\":3,\"A\":4,\"\":5}";
    assert_eq!(canonical_form(text), "{\"\":5,\"A\":4,\"z\":3,\"\u{e000}\":2,\"\u{10000}\":1}");
}

#[test]
fn f_cj_1_a_member_name_sorts_before_its_own_continuation() {
    assert_eq!(canonical_form(r#"{"ab":1,"a\"":2,"a":3}"#), r#"{"a":3,"a\"":2,"ab":1}"#);
}

#[test]
fn f_cj_2_only_quote_and_backslash_are_escaped() {
    assert_eq!(
        canonical_form(r#""\" \\ \/ \n \u0001 \u007f \u00e9 \u2028""#),
        "\"\\\" \\\\ / \n \u{1} \u{7f} é \u{2028}\""
    );
}

#[test]
fn f_cj_2_a_document_with_line_feeds_keeps_its_signature() {
    let found = judge_targets(|repository| repository.signed("targets")["x-note"] = json!("line\nline\r\n\t\"\\\u{1}"));
    assert_eq!(found.unwrap().version.get(), 1);
}

#[test]
fn f_cj_3_numbers_that_are_not_plain_integers_are_refused() {
    for number in [
        "1.0",
        "1e0",
        "1E400",
        "-0",
        "-0.0",
        "0.1",
        "01",
        "+1",
        ".5",
        "1.",
        "NaN",
        "Infinity",
        "-Infinity",
        "0x1",
        "18446744073709551616",
        "-9223372036854775809",
    ] {
        assert!(matches!(Json::parse(number), Err(ErrorKind::Malformed { .. })), "{number}");
        let text = String::from_utf8(Repository::new().written("targets")).unwrap();
        let bent = text.replacen("\"version\"", &format!("\"x-number\": {number}, \"version\""), 1);
        malformed(parse::<Targets>(bent.into_bytes()));
    }
}

#[test]
fn f_cj_3_integers_keep_their_exact_value() {
    for number in ["0", "-1", "9007199254740993", "9223372036854775807", "-9223372036854775808", "18446744073709551615"]
    {
        assert_eq!(canonical_form(number), number);
    }
}

#[test]
fn f_cj_4_strings_are_not_normalised() {
    assert_eq!(canonical_form("\"e\\u0301\""), "\"e\u{301}\"");
    let targets = judge_targets(|repository| repository.add_target("targets", "cafe\u{301}", b"x")).unwrap();
    let listed = |path: &str| targets.target(&TargetPath::new(path).unwrap()).is_some();
    assert_eq!((listed("cafe\u{301}"), listed("caf\u{e9}")), (true, false));
}

#[test]
fn f_cj_4_another_normal_form_breaks_the_signature() {
    let mut repository = Repository::new();
    repository.add_target("targets", "cafe\u{301}", b"x");
    let signed = repository.signed("targets").clone();
    let bytes = String::from_utf8(sign(&signed, &repository.signers("targets"))).unwrap();
    let swapped = bytes.replace("cafe\u{301}", "caf\u{e9}");
    assert_ne!(swapped, bytes);
    let found = judge_bytes::<Targets>(&repository, "targets", swapped.into_bytes());
    assert_eq!(found.unwrap_err(), verdict("targets", unsigned()));
}

#[test]
fn f_cj_4_text_that_is_not_utf_8_is_refused() {
    let bytes = Repository::new().written("targets");
    let bend = |bad: &[u8]| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let (head, tail) = text.split_once("\"version\"").unwrap();
        let name = [b"\"x-".as_slice(), bad, b"\": 1, "].concat();
        [head.as_bytes(), &name, b"\"version\"", tail.as_bytes()].concat()
    };
    assert!(parse::<Targets>(bend(b"ok")).is_ok());
    for bad in [
        b"\xff".as_slice(),
        b"\xc0\xaf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xc3",
        b"\\ud800",
        b"\\udc00\\ud800",
        b"\x00",
        b"\n",
    ] {
        malformed(parse::<Targets>(bend(bad)));
    }
}

#[test]
fn f_cj_5_a_file_with_a_duplicate_member_at_any_depth_is_refused() {
    let mut repository = Repository::new();
    repository.add_target("targets", "a", b"x");
    repository.signed("targets")["targets"]["a"]["custom"] = json!({"deep": [{"er": 1}]});
    let signed = repository.signed("targets").clone();
    let text = String::from_utf8(sign(&signed, &repository.signers("targets"))).unwrap();
    for member in ["signed", "signatures", "keyid", "sig", "_type", "expires", "targets", "a", "hashes", "sha256", "er"]
    {
        let name = format!("\"{member}\":");
        let twice = text.replacen(&name, &format!("{name} null, {name}"), 1);
        assert_ne!(twice, text, "{member} occurs");
        malformed(parse::<Targets>(twice.into_bytes()));
    }
}

#[test]
fn f_cj_5_a_file_with_a_member_in_two_spellings_is_refused() {
    assert!(matches!(Json::parse(r#"{"a":1,"\u0061":1}"#), Err(ErrorKind::Malformed { .. })));
}

#[test]
fn f_cj_6_the_signature_covers_every_member() {
    let repository = Repository::new();
    let text = String::from_utf8(repository.written("targets")).unwrap();
    let added = text.replacen("\"version\"", "\"x-new\": {}, \"version\"", 1);
    let found = judge_bytes::<Targets>(&repository, "targets", added.into_bytes());
    assert_eq!(found.unwrap_err(), verdict("targets", unsigned()));
}

#[test]
fn f_cj_6_spelling_and_order_of_what_was_received_do_not_matter() {
    let mut repository = Repository::new();
    repository.add_target("targets", "naïve", b"x");
    let signed = repository.signed("targets").clone();
    let text = String::from_utf8(sign(&signed, &repository.signers("targets"))).unwrap();
    let compact: String = text.replace("naïve", "na\\u00efve").lines().map(str::trim).collect();
    let targets = judge_bytes::<Targets>(&repository, "targets", compact.into_bytes()).unwrap();
    assert!(targets.target(&TargetPath::new("naïve").unwrap()).is_some());
}

#[test]
fn f_cj_7_files_are_stored_and_hashed_as_received() {
    let mut repository = Repository::new();
    repository.publish(&["targets"]);
    let client = TestClient::new(&repository);
    client.refresh().unwrap();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        assert_eq!(client.stored(role).unwrap(), repository.written(role), "{role}");
        let value: Value = serde_json::from_slice(&repository.written(role)).unwrap();
        assert_ne!(canonical::write(&value), repository.written(role), "the published {role} is not in canonical form");
    }
}

#[test]
fn f_4_1_2_the_signature_covers_canonical_json() {
    let repository = Repository::new();
    let key = TestKey::new("targets");
    let mut signed: Value = serde_json::from_slice::<Value>(&repository.written("targets")).unwrap()["signed"].take();
    signed["x-note"] = json!("naïve\n");
    let over = |message: &[u8]| {
        let signature = json!({"keyid": key.keyid(), "sig": hex::encode(key.sign(message))});
        let bytes = serde_json::to_vec(&json!({"signed": signed, "signatures": [signature]})).unwrap();
        judge_bytes::<Targets>(&repository, "targets", bytes).map(drop)
    };
    assert_eq!(over(&canonical::write(&signed)), Ok(()));
    // serde_json escapes the line feed, but canonical JSON does not, so a signature over the output of serde_json is
    // not a signature over the canonical form.
    assert_eq!(over(&serde_json::to_vec(&signed).unwrap()), Err(verdict("targets", unsigned())));
}

#[test]
fn f_4_1_2_a_document_is_exactly_one_json_object() {
    let text = String::from_utf8(Repository::new().written("targets")).unwrap();
    assert!(parse::<Targets>(format!(" {text}\n\n").into_bytes()).is_ok());
    for bent in [
        String::new(),
        " ".into(),
        "null".into(),
        "[]".into(),
        "\"\"".into(),
        "1".into(),
        "{}".into(),
        format!("{text}x"),
        format!("{text}\0"),
        format!("{text}{text}"),
        format!("\u{feff}{text}"),
        format!("// c\n{text}"),
        text.replacen('}', ",}", 1),
        text[..text.len() - 1].into(),
    ] {
        malformed(parse::<Targets>(bent.into_bytes()));
    }
}

#[test]
fn f_4_1_2_deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [100, 10_000, 1_000_000] {
            let unclosed = open.repeat(depth);
            assert!(Json::parse(&unclosed).is_err());
            assert!(matches!(
                Json::parse(&format!("{unclosed}1{}", close.repeat(depth))),
                Err(ErrorKind::Malformed { .. })
            ));
        }
    }
}

#[test]
fn f_4_1_unknown_members_are_kept_and_signed() {
    let mut repository = Repository::new();
    repository.add_target("targets", "a", b"x");
    let signed = repository.signed("targets");
    signed["x-signed"] = json!({"any": [1, null, "thing"]});
    signed["targets"]["a"]["x-target"] = json!(true);
    let signed = signed.clone();
    let targets = judge::<Targets>(&repository, "targets", &signed).unwrap();
    assert_eq!(lastmile_metadata::Role::write(&*targets).into_bytes(), canonical::write(&signed));
}
