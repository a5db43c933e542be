//! Tests of canonical JSON.

use super::*;

fn canonical(text: &str) -> Option<String> {
    canonicalize(text).ok()
}

#[test]
fn f_cj_1_canonical_text_has_no_whitespace_and_sorted_members() {
    assert_eq!(
        canonical(" {\"b\" : [ 1 , {} ] ,\n\"a\":{\"z\":null,\"B\":true} , \"\u{10000}\":1,\"\u{e000}\":2 }").unwrap(),
        "{\"a\":{\"B\":true,\"z\":null},\"b\":[1,{}],\"\u{e000}\":2,\"\u{10000}\":1}"
    );
}

#[test]
fn f_cj_2_only_quote_and_backslash_are_escaped() {
    assert_eq!(
        canonical(r#""\u0041\n\t\u0000\/\"\\\u00e9\u001f\ud83d\ude00""#).unwrap(),
        "\"A\n\t\0/\\\"\\\\é\u{1f}\u{1f600}\""
    );
}

#[test]
fn f_cj_3_only_integers_are_accepted() {
    for text in [
        "1.0",
        "1e0",
        "-0",
        "0.1",
        "01",
        "+1",
        ".5",
        "1.",
        "1E400",
        "NaN",
        "Infinity",
        "-Infinity",
        "18446744073709551616",
        "-9223372036854775809",
    ] {
        assert_eq!(canonical(text), None, "{text}");
    }
    for text in ["0", "-1", "18446744073709551615", "-9223372036854775808"] {
        assert_eq!(canonical(text).as_deref(), Some(text));
    }
    let digits = "9".repeat(500_000);
    assert_eq!(canonical(&digits), None);
}

#[test]
fn f_cj_4_text_is_not_normalised() {
    assert_eq!(canonical("\"e\u{301}\"").unwrap(), "\"e\u{301}\"");
    assert_ne!(canonical("\"e\u{301}\""), canonical("\"\u{e9}\""));
}

#[test]
fn f_cj_5_duplicate_members_are_refused() {
    for text in [
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"b":1,"a":2,"b":3}"#,
        r#"[{"x":{"a":1,"b":1,"a":1}}]"#,
        r#"{"\"":1,"a":1,"\u0022":1}"#,
    ] {
        assert_eq!(canonical(text), None, "{text}");
    }
}

#[test]
fn escaped_names_sort_by_their_unescaped_text() {
    // `"` (0x22) sorts first, and `\` (0x5c) sorts between `A` and `a`. The backslashes that escape them do not affect
    // the order.
    assert_eq!(canonical(r#"{"a":1,"\\":2,"A":3,"\"":4}"#).unwrap(), r#"{"\"":4,"A":3,"\\":2,"a":1}"#);
}

#[test]
fn member_names_sort_without_their_quotes() {
    // `!` (0x21) sorts before the closing quote (0x22). The quote is not part of the name, so `a` sorts before `a!`. A
    // name may be empty.
    assert_eq!(canonical(r#"{"a!":1,"a":2}"#).unwrap(), r#"{"a":2,"a!":1}"#);
    assert_eq!(canonical(r#"{"":1,"a":2}"#).unwrap(), r#"{"":1,"a":2}"#);
}

#[test]
fn deep_nesting_is_refused_without_overflow() {
    for open in ["[", "{\"a\":"] {
        assert_eq!(canonical(&open.repeat(1_000_000)), None);
    }
    assert!(canonical(&(String::from("[").repeat(64) + &String::from("]").repeat(64))).is_some());
    assert!(canonical(&(String::from("[").repeat(66) + &String::from("]").repeat(66))).is_none());
}

#[test]
fn text_that_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{} {}",
        "{}\0",
        "{} x",
        "{},",
        "[1,]",
        "{\"a\":1,}",
        "\u{feff}{}",
        "// x\n{}",
        "\"\u{1}\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "tru",
    ] {
        assert_eq!(canonical(text), None, "{text:?}");
    }
}

#[test]
fn an_error_says_where_the_text_is_wrong_and_what_was_expected() {
    let cases = [
        ("", "line 1 column 1: expected more text"),
        ("{\"a\":1", "line 1 column 6: expected more text"),
        ("<html>\n</html>", "line 1 column 1: expected a JSON value, found `<html>`"),
        ("{\n\"a\": x1, \"b\": 2}", "line 2 column 6: expected a JSON value, found `x1`"),
        ("[1,\n\n,2]", "line 3 column 1: expected a JSON value, found `,`"),
        ("{} x", "line 1 column 4: expected the end of the text"),
        ("{\"a\":1,\"a\":2}", "line 1 column 10: expected no duplicate members"),
        ("{\"b\":1,\"a\":1,\"b\":2}", "line 1 column 19: expected no duplicate members"),
        ("[1,]", "line 1 column 4: expected another member or element after the comma"),
        ("{1:2}", "line 1 column 2: expected a member name in quotes"),
        ("{\"a\" 1}", "line 1 column 6: expected a colon"),
        ("[1 2]", "line 1 column 4: expected a comma or the closing bracket"),
        ("{\"a\":1 2}", "line 1 column 8: expected a comma or the closing bracket"),
        ("1.5", "line 1 column 3: expected an integer of at most 64 bits"),
        ("1E400", "line 1 column 5: expected an integer of at most 64 bits"),
        ("-", "line 1 column 1: expected more text"),
        ("-x", "line 1 column 2: expected an integer of at most 64 bits"),
        ("\"\u{1}\"", "line 1 column 2: expected an escape instead of a control character"),
        ("\"\\x\"", "line 1 column 3: expected a valid escape"),
        ("\"\\udc00\"", "line 1 column 7: expected a valid escape"),
        ("\"\\ud800\\u0041\"", "line 1 column 13: expected a valid escape"),
        ("tru", "line 1 column 3: expected more text"),
    ];
    let found = cases.map(|(text, _)| (text, canonicalize(text).unwrap_err().to_string()));
    assert_eq!(found, cases.map(|(text, expected)| (text, format!("malformed: {expected}"))));
    let deep = canonicalize(&"[".repeat(100)).unwrap_err().to_string();
    assert_eq!(deep, "malformed: line 1 column 65: expected at most 64 levels of nesting");
}

#[test]
fn canonical_text_is_unchanged_and_prints_as_json() {
    let text = canonical(r#"{"pem":"a\nb","x":[1,"é"]}"#).unwrap();
    let json = printable(&text);
    assert_eq!(json, r#"{"pem":"a\u000ab","x":[1,"é"]}"#);
    assert_eq!(canonical(&json).unwrap(), text);
}
