//! Reads date-times (TUF specification 4.2.3). This crate writes only whole seconds in UTC, but also reads the
//! fractions and offsets of RFC 3339.

use chrono::{DateTime, Utc};

use crate::ErrorKind;

/// Parses a date-time of the form `YYYY-MM-DDTHH:MM:SS`, followed by an optional fraction, and by `Z` or a numeric
/// offset.
///
/// The TUF specification allows only whole seconds and `Z`, but early Sigstore roots have fractions and offsets.
///
/// # Errors
/// [`ErrorKind::Malformed`] if the text has a different form, or if the second is 60 or the year is 0.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, ErrorKind> {
    let refused = || ErrorKind::expected("a date-time such as 2030-01-31T00:00:00Z").but_found_text(text);
    // Spec 4.2.3, POUF D7: accept the specified form, and also fractions and numeric offsets.
    if !has_the_shape(text.as_bytes()) || text.starts_with("0000") || text.get(17..19) == Some("60") {
        return Err(refused());
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| refused())?;
    Ok(time.with_timezone(&Utc))
}

/// Returns whether the text has the form of a date-time. This check is stricter than chrono, which also accepts
/// lower-case letters, and a space in place of `T`.
fn has_the_shape(text: &[u8]) -> bool {
    let matches = |text: &[u8], shape: &[u8]| {
        text.len() == shape.len()
            && text.iter().zip(shape).all(|(byte, expected)| match expected {
                b'0' => byte.is_ascii_digit(),
                _ => byte == expected,
            })
    };
    let Some((date_time, rest)) = text.split_at_checked(19) else { return false };
    let zone = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
    };
    matches(date_time, b"0000-00-00T00:00:00") && (zone == b"Z" || matches(zone, b"+00:00") || matches(zone, b"-00:00"))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::format_time;

    #[test]
    fn f_4_2_3_1_times_are_written_as_exact_utc() {
        let time = parse_time("2030-01-31T12:30:59Z").unwrap();
        assert_eq!(format_time(&time), "2030-01-31T12:30:59Z");
    }

    #[test]
    fn d7_fractions_and_offsets_are_read() {
        for (text, same) in [
            ("2021-12-18T13:28:12.99008-06:00", "2021-12-18T19:28:12Z"),
            ("2022-05-11T19:09:02.663975009Z", "2022-05-11T19:09:02Z"),
            ("2022-05-11T21:09:02+02:00", "2022-05-11T19:09:02Z"),
        ] {
            assert_eq!(format_time(&parse_time(text).unwrap()), same);
        }
    }

    #[test]
    fn f_4_2_3_1_other_forms_of_times_are_refused() {
        for text in [
            "",
            "2030-01-31T12:30:59",
            "2030-01-31t12:30:59Z",
            "2030-01-31T12:30:59z",
            "2030-01-31 12:30:59Z",
            "2030-02-30T00:00:00Z",
            "2030-01-31T24:00:00Z",
            "2030-01-31T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "-001-01-01T00:00:00Z",
            "2030-1-31T00:00:00Z",
            "2030-01-31T12:30:59.Z",
            " 2030-01-31T12:30:59Z",
            "2030-01-31T12:30:59Z ",
            "2030-01-31T12:30:59+0000",
            "2030-01-31T12:30Z",
            "2029-02-29T00:00:00Z",
            "2030-01-31T12:30:59+99:99",
        ] {
            assert!(parse_time(text).is_err(), "{}", text.to_string());
        }
    }
}
