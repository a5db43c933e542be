//! Tests of date-times in metadata (TUF specification 4.2.3), and of a wrong clock.

use std::io::Write;
use std::sync::Arc;

use lastmile_client::{Event, HttpSettings, ProxyChoice};
use lastmile_metadata::{ErrorKind, format_time, parse_time};
use lastmile_testkit::{Answer, Repository, Server, TestClient, refused, time};
use lastmile_tests::{judge_targets, malformed};
use serde_json::json;

#[test]
fn f_4_2_3_1_the_specified_form_is_read() {
    let found = judge_targets(|repository| repository.signed("targets")["expires"] = json!("2030-02-28T23:59:59Z"));
    assert_eq!(format_time(&found.unwrap().expires), "2030-02-28T23:59:59Z");
}

#[test]
fn f_4_2_3_1_an_invalid_date_time_makes_the_document_invalid() {
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
fn d7_fractions_and_numeric_offsets_are_read() {
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
fn d7_written_date_times_have_neither_fraction_nor_offset() {
    assert_eq!(format_time(&parse_time("2030-01-01T02:00:00.5+02:00").unwrap()), "2030-01-01T00:00:00Z");
}

/// Starts a server whose `Date` header is always 2 January 2030.
fn server_of_2030(repository: &Repository) -> Server {
    let network = repository.network().clone();
    Server::responding(Arc::new(move |request, wire| {
        let (status, body) = match network.answer(&request.path) {
            Answer::File(body) => ("200 OK", body),
            _ => ("404 Not Found", Vec::new()),
        };
        write!(wire, "HTTP/1.1 {status}\r\nDate: Wed, 02 Jan 2030 00:00:00 GMT\r\nContent-Length: {}\r\n", body.len())?;
        wire.write_all(b"Connection: close\r\n\r\n")?;
        wire.write_all(&body)?;
        Ok(None)
    }))
}

#[test]
fn the_error_for_a_fast_clock_contains_all_known_times() {
    let repository = Repository::new();
    let server = server_of_2030(&repository);
    let mut client = TestClient::new(&repository);
    let settings = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
    client.http = Some((server.url(), settings));
    client.refresh().unwrap();
    assert_eq!(client.events(), [], "a server clock that is one day ahead must not cause a warning");
    let good = client.now;
    let files = client.files();
    let ahead = time("2050-06-01T00:00:00Z");
    client.now = ahead;
    let verdict = refused(client.refresh());
    assert_eq!(verdict.to_string(), "root: expired at 2040-01-01T00:00:00Z; your clock says 2050-06-01T00:00:00Z");
    let event = Event::ClockInDoubt { now: ahead, server: Some(time("2030-01-02T00:00:00Z")), before: Some(good) };
    assert_eq!(client.events(), std::slice::from_ref(&event));
    assert!(
        event.to_string().starts_with(
            "this machine's clock reads 2050-06-01T00:00:00Z, the server's reads 2030-01-02T00:00:00Z; at the last refresh, \
             this machine's clock read 2030-01-01T00:00:00Z."
        ),
        "{event}"
    );
    // After the clock is corrected, the refresh must succeed.
    client.now = good;
    assert_eq!(client.refresh().unwrap(), [1, 1, 1, 1]);
    assert_eq!(client.events(), [Event::ClockSteppedBack { now: good, before: ahead }]);
    assert_eq!(client.files(), files);
}

#[test]
fn a_slow_clock_is_reported_even_if_all_metadata_looks_valid() {
    let repository = Repository::new();
    let server = server_of_2030(&repository);
    let mut client = TestClient::new(&repository);
    let settings = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
    client.http = Some((server.url(), settings));
    client.now = time("1970-01-01T00:00:00Z");
    client.refresh().unwrap();
    let event = Event::ClockInDoubt { now: client.now, server: Some(time("2030-01-02T00:00:00Z")), before: None };
    assert_eq!(client.events(), [event]);
}

#[test]
fn the_date_header_of_a_server_decides_nothing() {
    let mut repository = Repository::new();
    repository.signed("timestamp")["expires"] = json!("2029-01-01T00:00:00Z");
    repository.publish(&["timestamp"]);
    let server = server_of_2030(&repository);
    let mut client = TestClient::new(&repository);
    let settings = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
    client.http = Some((server.url(), settings));
    // According to the server's `Date` header, the timestamp has expired, but only the client's clock counts.
    client.now = time("2028-12-31T00:00:00Z");
    assert_eq!(client.refresh().unwrap(), [1, 2, 1, 1]);
    client.now = time("2029-01-01T00:00:00Z");
    assert!(matches!(refused(client.refresh()).kind, ErrorKind::Expired { .. }));
}

#[test]
fn offline_the_error_for_expired_metadata_contains_the_time_of_the_last_refresh() {
    let repository = Repository::new();
    let mut client = TestClient::new(&repository);
    client.refresh().unwrap();
    let before = Some(client.now);
    client.now = time("2050-06-01T00:00:00Z");
    assert!(matches!(refused(client.offline()).kind, ErrorKind::Expired { .. }));
    assert_eq!(client.events(), [Event::ClockInDoubt { now: client.now, server: None, before }]);
}
