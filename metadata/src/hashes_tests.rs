//! Tests of listed hashes and of the streaming verifier.

use super::*;

fn listed(digest: &str) -> Result<Hashes, ErrorKind> {
    Hashes::read(&mut Reader::new(&alloc::format!("{{\"sha256\":\"{digest}\"}}")))
}

fn refused(digest: &str) -> bool {
    let check = |text: String| Hashes::check(&mut Reader::new(&text));
    listed(digest).is_err() && check(alloc::format!("{{\"sha256\":\"{digest}\"}}")).is_err()
}

#[test]
fn f_4_4_a_digest_is_hexadecimal_and_as_long_as_its_algorithm_says() {
    assert!(listed(&"aF".repeat(32)).is_ok_and(|hashes| hashes.is_usable()));
    for (from, to) in [("0", "x"), ("00", "xx"), ("000", "0x0"), ("0", ""), ("0", "00")] {
        assert!(refused(&"0".repeat(64).replacen(from, to, 1)), "{from} {to}");
    }
    assert!(refused(&"x".repeat(64)) && refused(""));
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
