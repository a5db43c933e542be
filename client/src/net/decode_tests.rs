//! Tests of compressed metadata over real sockets.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use lastmile_metadata::RoleName;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;
use crate::error::{Error, MirrorReason, NetworkError, Refusal};
use crate::net::fetch::{Fetch, Response};
use crate::net::http::{HttpFetch, HttpSettings};
use crate::net::proxy::ProxyChoice;
use crate::net::scheme::FetchByScheme;
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoredFile};
use crate::test_repository::{TestRepository, now, root};
use crate::test_server::{Server, ServerAction, reply, status};
use crate::updater::Updater;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// Returns text that compresses moderately well.
fn text(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(|number| format!("{} ", number.wrapping_mul(2_654_435_761)).into_bytes()).take(length).collect()
}

/// Returns pseudo-random bytes that cannot be compressed (Marsaglia's xorshift).
fn noise(length: usize) -> Vec<u8> {
    let next = |state: &u64| {
        let state = state ^ (state << 13);
        let state = state ^ (state >> 7);
        Some(state ^ (state << 17))
    };
    let states = std::iter::successors(Some(0x9e37_79b9_7f4a_7c15), next);
    states.map(|state| state.to_le_bytes()[3]).take(length).collect()
}

/// Returns a zstd frame with the content `blocks` and a window size of 2^(10 + `exponent`) bytes.
fn frame(exponent: u8, blocks: &[u8]) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, exponent << 3], blocks].concat()
}

/// Returns a zstd block that encodes 128 KiB of the same byte in four bytes.
fn repeated(is_last: bool) -> [u8; 4] {
    let header = (128 * 1024) << 3 | 1 << 1 | u32::from(is_last);
    let [first, second, third, _] = header.to_le_bytes();
    [first, second, third, b'x']
}

fn sent(encoding: &str, body: &[u8]) -> Vec<ServerAction> {
    vec![ServerAction::Send(reply("200 OK", &format!("Content-Encoding: {encoding}\r\n"), body))]
}

fn http() -> HttpFetch {
    HttpFetch::new(&HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() }).unwrap()
}

async fn read(acts: Vec<ServerAction>, max_length: u64) -> Result<Vec<u8>, FetchError> {
    let server = Server::start(move |_| acts.clone()).await;
    FetchByScheme::new(http()).fetch_metadata(&server.at("x"), max_length).await?.read_all(max_length).await
}

fn is_undecodable(answer: &Result<Vec<u8>, FetchError>) -> bool {
    matches!(answer, Err(FetchError::Undecodable { .. }))
}

#[tokio::test]
async fn metadata_can_be_plain_or_compressed_once() {
    for length in [0, 1, 1000, 400_000] {
        let text = text(length);
        let limit = 400_000;
        assert_eq!(read(sent("identity", &text), limit).await.as_ref(), Ok(&text));
        for (encoding, body) in [("gzip", gzip(&text)), ("X-GZIP", gzip(&text)), (" zstd ,", zstd(&text))] {
            assert_eq!(read(sent(encoding, &body), limit).await.as_ref(), Ok(&text), "{encoding} {length}");
        }
    }
    let stored = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x02, 0x11, 0x00, 0x00, b'h', b'i'];
    assert_eq!(read(sent("zstd", &stored), 11).await.unwrap(), b"hi");
}

#[tokio::test]
async fn only_metadata_is_requested_compressed_and_decoded() {
    let server = Server::start(|_| sent("gzip", &gzip(b"hello"))).await;
    assert_eq!(http().fetch_metadata(&server.at("x"), 99).await.unwrap().read_all(99).await.unwrap(), b"hello");
    assert_eq!(http().fetch(&server.at("x"), 0).await.unwrap().read_all(99).await.unwrap(), gzip(b"hello"));
    let accepted = |head: &String| {
        let head = head.to_ascii_lowercase();
        let values: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("accept-encoding: ")).collect();
        values.join(" and ")
    };
    assert_eq!(server.requests().iter().map(accepted).collect::<Vec<_>>(), ["zstd, gzip", "identity"]);
}

#[tokio::test]
async fn unknown_and_multiple_encodings_are_not_decoded() {
    let body = gzip(&gzip(b"x"));
    for encoding in ["br", "deflate", "gzip, gzip", "zstd, gzip", "aws-chunked", "utf-8", "gzip;q=1"] {
        assert_eq!(read(sent(encoding, &body), 999).await.unwrap(), body, "{encoding}");
    }
    let twice = reply("200 OK", "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", &body);
    assert_eq!(read(vec![ServerAction::Send(twice)], 999).await.unwrap(), body);
}

#[tokio::test]
async fn a_decompression_bomb_is_refused_at_the_limit() {
    let zeros = gzip(&vec![0; 64 * 1024 * 1024]);
    assert!(zeros.len() < 70_000);
    let too_long = FetchError::TooLong { max_length: 100_000 };
    assert_eq!(read(sent("gzip", &zeros), 100_000).await, Err(too_long.clone()));
    // A decompression bomb: about 100 kB that decode to 3 GB.
    let blocks = [repeated(false).repeat(24_000), repeated(true).to_vec()].concat();
    assert_eq!(read(sent("zstd", &frame(7, &blocks)), 100_000).await, Err(too_long));
    // A body of exactly the maximum length is accepted.
    assert_eq!(read(sent("gzip", &gzip(&[0; 1000])), 1000).await, Ok(vec![0; 1000]));
    assert!(read(sent("gzip", &gzip(&[0; 1001])), 1000).await.is_err());
}

#[tokio::test]
async fn the_compressed_body_is_limited_too() {
    let padded = {
        let mut encoder = flate2::GzBuilder::new().comment("x".repeat(2000)).write(Vec::new(), Compression::default());
        encoder.write_all(b"x").unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(read(sent("gzip", &padded), 3000).await.unwrap(), b"x");
    assert_eq!(read(sent("gzip", &padded), 1000).await, Err(FetchError::TooLong { max_length: 1000 }));
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n";
    let begun = [head.as_slice(), &padded[..100]].concat();
    let endless = vec![ServerAction::Send(begun), ServerAction::Endless(vec![b'x'; 4096])];
    assert_eq!(read(endless, 50_000).await, Err(FetchError::TooLong { max_length: 50_000 }));
    // An endless sequence of blocks that decode to nothing.
    let nothing = frame(7, &[0, 0, 0].repeat(20_000));
    assert_eq!(read(sent("zstd", &nothing), 50_000).await, Err(FetchError::TooLong { max_length: 50_000 }));
}

#[tokio::test]
async fn incompressible_metadata_may_be_longer_than_the_file() {
    for length in [1, 369, 100_000, 1_000_000] {
        let noise = noise(length);
        for (coding, encoded) in [("gzip", gzip(&noise)), ("zstd", zstd(&noise))] {
            assert!(encoded.len() > noise.len(), "{coding} must not shrink {length} random bytes");
            assert_eq!(read(sent(coding, &encoded), length as u64).await.as_ref(), Ok(&noise), "{coding}, {length}");
        }
    }
}

/// Decodes `raw` directly, without a server.
async fn decode_bytes(coding: Coding, raw: Vec<u8>) -> Result<Vec<u8>, FetchError> {
    let body = decoded(coding, stream::iter([Ok(Bytes::from(raw))]).boxed(), 9999);
    let read = Response { offset: 0, body }.read_all(9999);
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap()
}

#[tokio::test]
async fn truncated_streams_and_trailing_data_are_refused() {
    for (coding, whole) in [(Coding::Gzip, gzip(&text(300))), (Coding::Zstd, zstd(&text(300)))] {
        for length in 0..whole.len() {
            let answer = decode_bytes(coding, whole[..length].to_vec()).await;
            assert!(is_undecodable(&answer), "{coding:?} {length} {answer:?}");
        }
        for rest in [b"x".as_slice(), &[0; 8], &whole] {
            let answer = decode_bytes(coding, [&whole, rest].concat()).await;
            assert!(is_undecodable(&answer), "{coding:?} {rest:?} {answer:?}");
        }
        // A lost connection is reported as such, and not as a decoding error.
        let mut cut = reply("200 OK", &format!("Content-Encoding: {}\r\n", coding.name()), &whole);
        cut.truncate(cut.len() - 20);
        let answer = read(vec![ServerAction::Send(cut)], 999).await;
        assert!(matches!(answer, Err(FetchError::Cut(_))), "{coding:?} {answer:?}");
    }
}

#[tokio::test]
async fn a_window_that_is_too_large_is_refused_before_memory_is_allocated() {
    let block = repeated(true);
    assert_eq!(read(sent("zstd", &frame(13, &block)), 200_000).await.unwrap().len(), 128 * 1024);
    for exponent in [14, 17, 21, 31] {
        assert!(is_undecodable(&read(sent("zstd", &frame(exponent, &block)), 200_000).await), "{exponent}");
    }
}

#[tokio::test]
async fn damaged_streams_neither_panic_nor_hang() {
    for (coding, whole) in [(Coding::Gzip, gzip(&text(300))), (Coding::Zstd, zstd(&text(300)))] {
        for position in 0..whole.len() {
            for bits in [1, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[position] ^= bits;
                let answer = decode_bytes(coding, damaged).await;
                let ended_early = format!("{answer:?}").contains("ended early");
                assert!(!ended_early, "{coding:?} {position} {bits}");
            }
        }
    }
}

#[test]
fn a_body_that_is_dropped_leaves_no_thread_behind() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut hanging = sent("gzip", &gzip(b"x"));
        let Some(ServerAction::Send(bytes)) = hanging.first_mut() else { panic!() };
        bytes.truncate(bytes.len() - 1);
        hanging.push(ServerAction::Hang);
        let answer = tokio::time::timeout(Duration::from_millis(300), read(hanging, 999)).await;
        assert!(answer.is_err(), "{answer:?}");
    });
    let before = Instant::now();
    drop(runtime);
    assert!(before.elapsed() < Duration::from_secs(5));
}

/// Starts a server that compresses every file of the repository.
async fn encoding(repository: &TestRepository, encoding: &'static str, encode: fn(&[u8]) -> Vec<u8>) -> Server {
    let files = repository.files();
    Server::start(move |head| {
        let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        files.get(path).map_or_else(|| status("404 Not Found"), |body| sent(encoding, &encode(body)))
    })
    .await
}

fn updater(servers: &[&Server], store: &MemoryStore) -> Updater {
    let mut builder = Updater::builder(root(1, "root", "online")).fetch(http()).store(store.clone());
    for server in servers {
        builder = builder.mirror(&server.url, &server.url);
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn f_cj_7_the_decoded_bytes_are_stored() {
    let repository = TestRepository::new();
    repository.put("2.root.json", &root(2, "root", "online"));
    for (name, encode) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let server = encoding(&repository, name, encode).await;
        let store = MemoryStore::default();
        updater(&[&server], &store).refresh_at(now()).await.unwrap();
        for (role, received) in [
            (RoleName::ROOT, "2.root.json"),
            (RoleName::TIMESTAMP, "timestamp.json"),
            (RoleName::TARGETS, "1.targets.json"),
        ] {
            let role = StoredFile::Role(role);
            assert_eq!(store.read(&role, u64::MAX).unwrap().unwrap(), repository.file(received));
        }
    }
}

#[tokio::test]
async fn after_a_mirror_that_encodes_badly_the_next_one_is_tried() {
    let repository = TestRepository::new();
    let broken = encoding(&repository, "gzip", zstd).await;
    let whole = encoding(&repository, "gzip", gzip).await;
    updater(&[&broken, &whole], &MemoryStore::default()).refresh_at(now()).await.unwrap();
    let error = updater(&[&broken], &MemoryStore::default()).refresh_at(now()).await.err().unwrap();
    let Error::Network(NetworkError { cause, .. }) = &error else { panic!("{error:?}") };
    assert!(matches!(cause, FetchError::Undecodable { coding: "gzip", .. }), "{cause}");
    // The decoded file exceeds the limit for the role, although the compressed body is short.
    let bomb = encoding(&repository, "gzip", |_| gzip(&vec![b' '; 600_000])).await;
    let error = updater(&[&bomb], &MemoryStore::default()).refresh_at(now()).await.err().unwrap();
    let Error::Limit(error) = &error else { panic!("{error:?}") };
    assert!(matches!(error.mirrors[0].reason, MirrorReason::Refused(Refusal::TooLong { max_length: 16_384, .. })));
}
