//! Spec 4.2.3: date-times in documents.

use lastmile_metadata::{format_time, parse_time};
use lastmile_tests::{judge_targets, malformed};
use serde_json::json;

#[test]
fn f_4_2_3_1_the_specified_form_is_read() {
    let found = judge_targets(|repository| repository.signed("targets")["expires"] = json!("2030-02-28T23:59:59Z"));
    assert_eq!(format_time(&found.unwrap().expires), "2030-02-28T23:59:59Z");
}

#[test]
fn f_4_2_3_1_what_is_no_date_time_refuses_the_document() {
    for bad in [
        json!("2030-02-28T23:59:59"),
        json!("2030-02-30T00:00:00Z"),
        json!("2030-01-01T24:00:00Z"),
        json!("2030-01-01T00:00:60Z"),
        json!("0000-01-01T00:00:00Z"),
        json!("10000-01-01T00:00:00Z"),
        json!("2030-01-01t00:00:00z"),
        json!("2030-01-01 00:00:00Z"),
        json!("2030-1-1T00:00:00Z"),
        json!(""),
        json!(" 2030-01-01T00:00:00Z"),
        json!(1_893_456_000),
        json!(null),
        json!(["2030-01-01T00:00:00Z"]),
        json!("2029-02-29T00:00:00Z"),
        json!("2030-01-01T00:00:00+0000"),
        json!("30-01-01T00:00:00Z"),
    ] {
        malformed(judge_targets(|repository| repository.signed("targets")["expires"] = bad));
    }
}

#[test]
fn d7_fractions_and_numeric_offsets_are_read_as_the_moment_they_name() {
    for (written, moment) in [
        ("2021-12-18T13:28:12.99008-06:00", "2021-12-18T19:28:12Z"),
        ("2030-01-01T02:00:00+02:00", "2030-01-01T00:00:00Z"),
        ("2030-01-01T00:00:00.999999999Z", "2030-01-01T00:00:00Z"),
    ] {
        let found = judge_targets(|repository| repository.signed("targets")["expires"] = json!(written)).unwrap();
        assert_eq!(format_time(&found.expires), moment);
    }
}

#[test]
fn d7_what_we_write_has_neither_fraction_nor_offset() {
    assert_eq!(format_time(&parse_time("2030-01-01T02:00:00.5+02:00").unwrap()), "2030-01-01T00:00:00Z");
}
