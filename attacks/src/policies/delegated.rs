//! Attacks on policies along a delegation chain. A delegated role tries to weaken the policies of the roles above it,
//! or the server withholds policies or evidence, or replaces them with older or changed files.

use lastmile_testkit::sigstore;
use lastmile_testkit::{Delegation, Repository, bin_of};
use serde_json::{Value, json};

use super::keys::{builder, honest, policy};
use super::{SIGN, add, envelope, instance, refused, signature, signed_by_workflow, workflow};
use crate::{Case, EVIL, GOOD, Scenario, release, stranger};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "7-own-policy",
        &["7-own-policy"],
        "the policy of a delegated role redefines or weakens the rule of the role above, or makes exceptions to it",
        "a weakness that the policy format prevents",
        own_policy,
    ),
    Scenario::new(
        "7-policy-of-a-bin",
        &["7-policy-of-a-bin"],
        "a bin signs a policy of its own",
        "a weakness that the policy format prevents",
        policy_of_a_bin,
    ),
    Scenario::new(
        "7-second-chain",
        &["7-second-chain"],
        "a role lists a package without the signature that the policy of another role requires",
        "specification 5.6.7.1, terminating delegations",
        second_chain,
    ),
    Scenario::new(
        "7-newer-policy",
        &["7-newer-policy"],
        "a policy has a rule or a version that the client does not know",
        "a weakness that the policy format prevents",
        newer_policy,
    ),
    Scenario::new(
        "7-older-policy",
        &["7-older-policy"],
        "the server sends an older release, from before a policy was added to the targets file",
        "specification 5.5.5, rollback",
        older_policy,
    ),
    Scenario::new(
        "7-withheld",
        &["7-withheld"],
        "the server withholds or changes the evidence, or the trusted root that the policy names",
        "CVE-2025-25204",
        withheld,
    ),
];

fn own_policy() -> Vec<Case> {
    let honest = honest();
    let case = |sample: &str, policy: Value| {
        refused(&honest, sample, "the rule `signed` of role `targets`", |attacker| {
            add(attacker, "team/other", EVIL, &[&envelope(&stranger(), &signature(EVIL))]);
            attacker.signed("team")["x-lastmile-policy"] = policy;
        })
    };
    let own = || policy(&stranger());
    let mut excepted = own();
    excepted["require"][0]["except"] = json!(["team/*"]);
    let mut elsewhere = own();
    elsewhere["require"][0]["paths"] = json!(["other/*"]);
    let mut upgrade = own();
    upgrade["upgrade"] = json!(["team/*"]);
    vec![
        case("the same names", own()),
        case("an exception", excepted),
        case("other paths", elsewhere),
        case("an upgrade", upgrade),
    ]
}

fn policy_of_a_bin() -> Vec<Case> {
    let bin = bin_of("bin", 1, "team/other");
    let mut honest = honest();
    let bins = honest.delegate_to_bins("team", 1, "bin");
    let roles: Vec<&str> = bins.iter().map(String::as_str).chain(["team"]).collect();
    // The evidence satisfies the rule of `team`, so only the policy of the bin can be the reason for the refusal.
    let evidence = envelope(&builder(), &signature(GOOD));
    honest.add_target("team", "team/other.intoto.jsonl", evidence.as_bytes());
    honest.publish(&roles);
    let mut attacker = honest.fork();
    attacker.add_target(&bin, "team/other", GOOD);
    attacker.signed(&bin)["targets"]["team/other"]["custom"] =
        json!({"lastmile": {"evidence": ["team/other.intoto.jsonl"]}});
    attacker.signed(&bin)["x-lastmile-policy"] = policy(&stranger());
    attacker.publish(&[&bin]);
    vec![
        Case::against(&honest)
            .sample("a signer of its own")
            .attacker(attacker.network())
            .get("team/other")
            .refused("team/other", "Policy")
            .because("found a policy in a bin")
            .advances(&[&bin, "snapshot", "timestamp"])
            .honest(republished(&honest, &[&bin]).network()),
    ]
}

/// Returns a copy of `honest` in which new versions of `roles` have been published three times.
fn republished(honest: &Repository, roles: &[&str]) -> Repository {
    let mut after = honest.fork();
    for _ in 0..3 {
        after.publish(roles);
    }
    after
}

/// Returns a repository that delegates `team/*` first to `team`, whose policy requires a signature, and then to `lax`,
/// which has no policy.
fn two_chains(change: impl FnOnce(&mut Repository)) -> Repository {
    let mut repository = release(2);
    change(&mut repository);
    repository.signed("team")["x-lastmile-policy"] = policy(&builder());
    repository.delegate("targets", &Delegation::paths("lax", &["team/*"]));
    add(&mut repository, "team/package", GOOD, &[&envelope(&builder(), &signature(GOOD))]);
    repository.publish(&["lax", "team", "targets"]);
    repository
}

fn second_chain() -> Vec<Case> {
    let terminating = two_chains(|repository| {
        repository.signed("targets")["delegations"]["roles"][0]["terminating"] = json!(true);
    });
    let mut attacker = terminating.fork();
    attacker.add_target("lax", "team/other", EVIL);
    attacker.publish(&["lax"]);
    let after_the_end = Case::against(&terminating)
        .sample("after a terminating delegation")
        .attacker(attacker.network())
        .get("team/other")
        .refused("team/other", "NoSuchTarget")
        .because("no trusted role lists")
        .advances(&["snapshot", "timestamp"])
        .honest(republished(&terminating, &["lax"]).network());
    // The policy of the top-level targets role covers both delegation chains.
    let covered = two_chains(|repository| repository.signed("targets")["x-lastmile-policy"] = policy(&builder()));
    let mut attacker = covered.fork();
    attacker.add_target("lax", "team/other", EVIL);
    attacker.signed("lax")["x-lastmile-policy"] = policy(&stranger());
    attacker.publish(&["lax"]);
    let below_the_policy = Case::against(&covered)
        .sample("below the policy of targets")
        .attacker(attacker.network())
        .get("team/other")
        .refused("team/other", "Policy")
        .because("the rule `signed` of role `targets`")
        .advances(&["lax", "snapshot", "timestamp"])
        .honest(republished(&covered, &["lax"]).network());
    vec![after_the_end, below_the_policy]
}

fn newer_policy() -> Vec<Case> {
    let honest = honest();
    let case = |sample: &str, because: &'static str, policy: Value| {
        refused(&honest, sample, because, |attacker| {
            add(attacker, "team/other", GOOD, &[&envelope(&builder(), &signature(GOOD))]);
            attacker.signed("team")["x-lastmile-policy"] = policy;
        })
    };
    let rule = json!({"version": 1, "require": [{"name": "new", "kind": "new-kind", "paths": ["team/*"]}]});
    let mut member = policy(&builder());
    member["require"][0]["unless"] = json!(["x"]);
    let because = "needs a newer lastmile";
    vec![
        case("an unknown kind of rule", because, rule),
        case("an unknown member of a rule", because, member),
        case("an unknown version", because, json!({"version": 2})),
    ]
}

fn older_policy() -> Vec<Case> {
    let mut before = release(2);
    add(&mut before, "team/package", GOOD, &[&envelope(&builder(), &signature(GOOD))]);
    before.publish(&["team", "targets"]);
    let mut honest = before.fork();
    honest.signed("targets")["x-lastmile-policy"] = policy(&builder());
    honest.publish(&["targets"]);
    // The attacker has the keys of team, snapshot and timestamp, and inflates the versions of snapshot and timestamp.
    let mut attacker = before.fork();
    attacker.add_target("team", "team/other", EVIL);
    for _ in 0..2 {
        attacker.publish(&["team"]);
    }
    vec![
        Case::against(&honest)
            .sample("before the policy")
            .attacker(attacker.network())
            .get("team/other")
            .refused("snapshot", "ListedRollback")
            .because("rollback")
            .advances(&["timestamp"]),
    ]
}

fn withheld() -> Vec<Case> {
    let honest = signed_by_workflow();
    // The client has already stored the evidence for the honest package, and would not request the same evidence again.
    // The new package therefore has different evidence.
    let statement = sigstore::statement(SIGN, &json!({"release": 2}), GOOD);
    let evidence = instance().attest(&workflow(), &statement).to_string();
    let mut root = instance().trusted_root();
    root["tlogs"][0]["publicKey"]["validFor"]["start"] = "2021-01-01T00:00:00Z".into();
    let mut next = honest.fork();
    add(&mut next, "team/other", GOOD, &[&evidence]);
    next.add_target("targets", "trust/root.json", root.to_string().as_bytes());
    next.publish(&["team", "targets"]);
    let case = |sample: &str, path: &str, file: &str, content: Option<String>| {
        let attacker = next.fork();
        let location = attacker.target_location(path, file.as_bytes());
        match content {
            Some(content) => attacker.network().put(&location, content.into_bytes()),
            None => attacker.network().remove(&location),
        }
        Case::against(&honest).sample(sample).attacker(attacker.network()).get("team/other").advances(&[
            "snapshot",
            "targets",
            "team",
            "timestamp",
        ])
    };
    let file = "team/other.intoto.jsonl";
    let changed = |text: &str| Some(text.replace("rawBytes", "rawbytes"));
    let root = root.to_string();
    vec![
        case("the evidence", file, &evidence, None)
            .refused("the target `team/other.intoto.jsonl", "NotFound")
            .because("not found"),
        case("changed evidence", file, &evidence, changed(&evidence)).refused(file, "Hash").because("sha256"),
        case("the root", "trust/root.json", &root, None)
            .refused("the target `trust/root.json", "NotFound")
            .because("not found"),
        case("a changed root", "trust/root.json", &root, changed(&root))
            .refused("trust/root.json", "Hash")
            .because("sha256"),
    ]
}
