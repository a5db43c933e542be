//! The small things that everything else consists of: canonical form, signatures, looking up.

#![expect(clippy::unwrap_used, reason = "a bench that cannot start stops")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::{Envelope, Json, PathPattern, RoleName, SuccinctRoles, TargetPath, Targets, Threshold};
use lastmile_tests::{Repository, ring};

const TARGETS: usize = 10_000;

fn large() -> Repository {
    let mut repository = Repository::new();
    for number in 0..TARGETS {
        repository.add_target("targets", &format!("folder/package-{number:05}.tar.gz"), b"content");
    }
    repository.publish(&["targets"]);
    repository
}

fn canonical_form(criterion: &mut Criterion) {
    let text = String::from_utf8(large().written("targets")).unwrap();
    let name = format!("canonical form of {} KiB", text.len() / 1024);
    criterion.bench_function(&name, |bencher| bencher.iter(|| Json::parse(black_box(&text))));
}

fn reading(criterion: &mut Criterion) {
    let repository = large();
    let (bytes, ring) = (repository.written("targets"), ring(&repository, "targets"));
    criterion.bench_function("read and verify a role of 10000 targets", |bencher| {
        bencher.iter_batched(
            || bytes.clone(),
            |bytes| Envelope::<Targets>::parse(&RoleName::TARGETS, bytes).unwrap().verify(&RoleName::TARGETS, &ring),
            BatchSize::LargeInput,
        );
    });
}

fn verify(criterion: &mut Criterion) {
    let message = vec![7; 1024];
    for scheme in [Scheme::Ed25519, Scheme::EcdsaP256, Scheme::EcdsaP384] {
        let key = PrivateKey::from_seed(scheme, &[7; 32]).unwrap();
        let signature = key.sign(&message).unwrap();
        criterion.bench_function(&format!("verify {scheme}"), |bencher| {
            bencher.iter(|| key.public_key().verify(black_box(&message), &signature));
        });
    }
}

fn lookup(criterion: &mut Criterion) {
    let envelope = Envelope::<Targets>::parse(&RoleName::TARGETS, large().written("targets")).unwrap();
    let path = TargetPath::new("folder/package-07777.tar.gz").unwrap();
    criterion.bench_function("look up one of 10000 targets", |bencher| {
        bencher.iter(|| envelope.unverified().target(black_box(&path)));
    });
    let bins = SuccinctRoles::new(Vec::new(), Threshold::ONE, 14, "bin").unwrap();
    criterion.bench_function("find one of 16384 bins", |bencher| bencher.iter(|| bins.role_for(black_box(&path))));
    let (pattern, worst) = (PathPattern::new("*a*a*a*a*b"), TargetPath::new("a".repeat(10_000)).unwrap());
    criterion.bench_function("match a hostile pattern with 10000 letters", |bencher| {
        bencher.iter(|| pattern.matches(black_box(&worst)));
    });
}

criterion_group!(benches, canonical_form, reading, verify, lookup);
criterion_main!(benches);
