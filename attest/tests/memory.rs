//! Tests that the memory used to parse hostile evidence is less than 24 times the length of the evidence.

use std::sync::{Mutex, PoisonError};

use lastmile_attest::Evidence;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Prevents tests from running at the same time, because [`ALLOCATOR`] measures the memory of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// The maximum length of an evidence file.
const MAX_LENGTH: usize = 4 << 20;

/// Returns a JSON array that fills `length` bytes with copies of one element.
fn array_of(element: &str, length: usize) -> String {
    let count = length / (element.len() + 1);
    format!("[{}]", vec![element; count].join(","))
}

/// Returns a bundle with a log entry whose member `logIndex` has the value `entries`.
fn bundle(entries: &str) -> String {
    format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{{"signature":"AAAAAAAAAAAAAAAA"}},"verificationMaterial":{{"publicKey":{{"hint":"x"}},"tlogEntries":[{{"logIndex":{entries}}}]}}}}"#
    )
}

/// Returns a PyPI attestation object whose member `transparency_entries` has the value `entries`.
fn attestation(entries: &str) -> String {
    format!(
        r#"{{"version":1,"envelope":{{"statement":"AAAA","signature":"AAAA"}},"verification_material":{{"certificate":"AAAA","transparency_entries":{entries}}}}}"#
    )
}

#[test]
fn c_8_numbers_in_evidence_do_not_grow() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let members = (0..).map(|number| format!(r#""{number}":{{}}"#));
    let members: Vec<_> = members.take(MAX_LENGTH / 16).collect();
    let object = format!("{{{}}}", members.join(","));
    let arrays = ["1e-300", "1e15", "0.1", "1", "[]", "null", "\"\\u0000\""];
    let arrays = arrays.map(|element| array_of(element, MAX_LENGTH - 1024));
    for value in arrays.iter().chain([&object]) {
        for document in [bundle, attestation] {
            let evidence = document(value);
            ALLOCATOR.reset_peak_usage();
            let before = ALLOCATOR.current_usage();
            Evidence::parse(evidence.as_bytes()).unwrap_err();
            let used = ALLOCATOR.peak_usage() - before;
            let length = evidence.len();
            let start = value.get(..16).unwrap();
            println!("{start}: {length} bytes of evidence took {used} bytes of memory");
            assert!(used < 24 * length, "{start}: {length} bytes of evidence took {used} bytes of memory");
        }
    }
}
