//! Tests of the hashes that metadata lists, and of the verifier that reads a file in parts.

use super::*;

fn listed(digest: &str) -> Result<Hashes, ErrorKind> {
    Hashes::read(&mut Reader::new(&alloc::format!("{{\"sha256\":\"{digest}\"}}")))
}

fn refused(digest: &str) -> bool {
    let check = |text: String| Hashes::check(&mut Reader::new(&text));
    listed(digest).is_err() && check(alloc::format!("{{\"sha256\":\"{digest}\"}}")).is_err()
}

#[test]
fn f_4_4_a_digest_is_hexadecimal_and_has_the_length_of_its_algorithm() {
    assert!(listed(&"aF".repeat(32)).is_ok_and(|hashes| hashes.is_usable()));
    for (from, to) in [("0", "x"), ("00", "xx"), ("000", "0x0"), ("0", ""), ("0", "00")] {
        assert!(refused(&"0".repeat(64).replacen(from, to, 1)), "{from} {to}");
    }
    assert!(refused(&"x".repeat(64)) && refused(""));
}

#[test]
fn f_4_4_the_error_for_a_wrong_digest_states_the_expected_length() {
    for (algorithm, digits) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
        let read = |digits: usize| {
            let text = alloc::format!("{{\"{algorithm}\":\"{}\"}}", "0".repeat(digits));
            Hashes::read(&mut Reader::new(&text))
        };
        assert!(read(digits).is_ok());
        let error = read(digits + 2).unwrap_err().to_string();
        assert!(error.contains(&alloc::format!("expected {digits} hexadecimal digits")), "{error}");
    }
}

#[test]
fn f_4_4_hashes_of_unknown_algorithms_are_listed_with_their_names() {
    let hashes = Hashes::read(&mut Reader::new(r#"{"blake3":"00","md5":[1]}"#)).unwrap();
    let unknown = hashes.unknown().map(|(name, value)| (name, value.to_text()));
    assert_eq!(unknown.collect::<Vec<_>>(), [("blake3", "\"00\"".into()), ("md5", "[1]".into())]);
    assert!(!hashes.is_usable());
}

#[test]
fn w_5_7_3_a_file_that_is_too_long_is_refused_at_once() {
    let hashes = Hashes::of(b"abc", &[Algorithm::Sha256]).unwrap();
    let mut verifier = hashes.verifier(Some(3));
    assert_eq!(verifier.update(b"ab"), Ok(()));
    assert_eq!(verifier.received(), 2);
    let whole = verifier.clone();
    assert_eq!(verifier.update(b"cd"), Err(FileError::Length { expected: 3, found: 4 }));
    let finish = |mut verifier: HashingVerifier, rest| verifier.update(rest).and_then(|()| verifier.finish());
    assert_eq!(finish(whole.clone(), b"c"), Ok(()));
    assert_eq!(finish(whole.clone(), b""), Err(FileError::Length { expected: 3, found: 2 }));
    assert!(matches!(finish(whole, b"d"), Err(FileError::Hash { .. })));
}
