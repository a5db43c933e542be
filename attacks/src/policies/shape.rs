//! Attacks with evidence that has too many parts, and with malformed bundles.

use lastmile_testkit::Repository;
use serde_json::{Value, json};

use super::keys::{builder, honest};
use super::{add, envelope, instance, refused, refused_evidence, signature, signed_by_workflow, workflow};
use crate::{Case, EVIL, Scenario};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "7-many-parts",
        &["7-many-parts"],
        "the evidence has thousands of lines, signatures, log entries or files, or is very long",
        "CVE-2024-45395, CVE-2023-46737, CVE-2023-33957",
        many_parts,
    ),
    Scenario::new(
        "7-malformed-bundle",
        &["7-malformed-bundle"],
        "a bundle has two contents, two signers, unknown members, an unknown type, or an entry whose kind differs from its body",
        "rekor-tiles CLIENTS.md",
        malformed_bundle,
    ),
];

fn many_parts() -> Vec<Case> {
    let honest = honest();
    let line = envelope(&builder(), &signature(EVIL));
    let lines = |number: usize| line.as_str().repeat(number).replace("}{", "}\n{");
    let mut signatures: Value = serde_json::from_str(&line).expect("an envelope");
    let one = signatures["signatures"][0].clone();
    signatures["signatures"] = vec![one; 1_000].into();
    let mut entries = bundle();
    let entry = entries["verificationMaterial"]["tlogEntries"][0].clone();
    entries["verificationMaterial"]["tlogEntries"] = vec![entry; 200].into();
    let with_files = |attacker: &mut Repository| {
        add(attacker, "team/other", EVIL, &[&line]);
        let files: Vec<String> = (0..1_000).map(|number| format!("team/{number}.intoto.jsonl")).collect();
        attacker.signed("team")["targets"]["team/other"]["custom"] = json!({"lastmile": {"evidence": files}});
    };
    let files = refused(&honest, "1,000 files", "at most 16", with_files);
    vec![
        refused_evidence(&honest, "65 lines", "more than 64 pieces of evidence", &[&lines(65)]),
        refused_evidence(&honest, "2,000 lines", "more than 256 items", &[&lines(2_000)]),
        refused_evidence(&honest, "5 MiB", "at most 4194304", &[&" ".repeat(5 << 20)]),
        refused_evidence(
            &honest,
            "1,000 signatures",
            "`envelope.signatures` has 1000 elements",
            &[&signatures.to_string()],
        ),
        refused_evidence(
            &signed_by_workflow(),
            "200 log entries",
            "`verificationMaterial.tlogEntries` has 200 elements",
            &[&entries.to_string()],
        ),
        files,
    ]
}

fn bundle() -> Value {
    instance().attest(&workflow(), &signature(EVIL))
}

fn malformed_bundle() -> Vec<Case> {
    let honest = signed_by_workflow();
    let case = |sample: &str, because: &'static str, change: &dyn Fn(&mut Value)| {
        let mut bundle = bundle();
        change(&mut bundle);
        refused_evidence(&honest, sample, because, &[&bundle.to_string()])
    };
    let entry = "/verificationMaterial/tlogEntries/0";
    let at = |pointer: &str, value: Value| {
        let pointer = format!("{entry}{pointer}");
        move |bundle: &mut Value| *bundle.pointer_mut(&pointer).expect("a member") = value.clone()
    };
    vec![
        case("two contents", "`messageSignature` or `dsseEnvelope`, but not both", &|bundle| {
            bundle["messageSignature"] = json!({"signature": "AAAA"});
        }),
        case("two signers", "`certificate` or `publicKey`, but not both", &|bundle| {
            bundle["verificationMaterial"]["publicKey"] = json!({"hint": "x"});
        }),
        case("an unknown member", "unknown member \"extra\"", &|bundle| bundle["extra"] = json!({})),
        case("an unknown member of an entry", "unknown member \"extra\"", &|bundle| {
            bundle.pointer_mut(entry).expect("an entry")["extra"] = json!({});
        }),
        case("an unknown type", "are not supported", &|bundle| {
            bundle["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.4+json".into();
        }),
        case("another kind", "differs from the kind", &at("/kindVersion/kind", json!("hashedrekord"))),
        case("dsse 0.0.2", "are not supported", &at("/kindVersion/version", json!("0.0.2"))),
        case("a tree of size 0", "but the tree has 0 entries", &at("/inclusionProof/treeSize", json!("0"))),
        case("a negative size", "an integer from 0", &at("/inclusionProof/treeSize", json!("-1"))),
        case("no checkpoint", "has no `checkpoint`", &|bundle| {
            let proof = bundle.pointer_mut(&format!("{entry}/inclusionProof")).expect("a proof");
            proof.as_object_mut().expect("an object").remove("checkpoint");
        }),
        case("base64 with a line break", "is not base64", &|bundle| {
            bundle["dsseEnvelope"]["signatures"][0]["sig"] = "AAAB\n".into();
        }),
    ]
}
