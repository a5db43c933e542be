//! Attacks on the delegation graph: cycles, roles with several delegators, and bins.

use lastmile_testkit::{Delegation, METADATA, NetworkFault, TestKey};
use serde_json::{Value, json};

use crate::forgery::{before, newer, republish, signed_so, with_signatures};
use crate::{Case, EVIL, GOOD, Scenario, release};

/// A function that changes the `delegations` object of a role.
type Edit = fn(&mut Value);

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "GHSA-77hh-43cm-v8j6",
        &["GHSA-77hh-43cm-v8j6"],
        "a role that is not one of the bins lists a package, and is signed with the key of the bins",
        "GHSA-77hh-43cm-v8j6",
        role_beside_the_bins,
    ),
    Scenario::new(
        "2.1-diamond",
        &["2.1-diamond", "2.2-diamond"],
        "two roles list different keys for the same delegated role, but only one of these keys has signed it",
        "bugs in two other implementations",
        diamond,
    ),
    Scenario::new(
        "2.2-bit-length",
        &["2.2-bit-length"],
        "a succinct delegation has a bit length of 0, -1, 33, 64 or 2^31",
        "a bug in another implementation",
        bit_lengths,
    ),
    Scenario::new(
        "GHSA-j8x2-777p-23fc",
        &["GHSA-j8x2-777p-23fc", "4.6-cycles"],
        "a role delegates to itself, two roles delegate to each other, or the number of delegation paths doubles at each of 30 levels",
        "GHSA-j8x2-777p-23fc",
        cycles,
    ),
    Scenario::new(
        "S-2.3-6",
        &["S-2.3-6"],
        "harmless: two roles delegate to the same role, and only the second delegation covers the package",
        "review of the source code of other implementations",
        second_parent,
    ),
    Scenario::new(
        "4.6-many-roles",
        &["4.6-many-roles"],
        "there is a chain of 100 delegations, or one role has 1,000 delegations",
        "specification 5.6.7.1",
        many_roles,
    ),
    Scenario::new(
        "4.6-duplicate-roles",
        &["4.6-duplicate-roles", "4.6-terminating", "4.6-succinct-and-list"],
        "two delegations name the same role, a role has bins and other delegations, or `terminating` is not a boolean",
        "bad input: delegations",
        bad_delegations,
    ),
    Scenario::new(
        "4.6-missing-role",
        &["4.6-missing-role", "4.6-invalid-role"],
        "a delegated role is missing or unsigned, and a role with lower priority lists the requested package",
        "specification 5.6.7",
        first_role_fails,
    ),
    Scenario::new(
        "4.6-every-edge",
        &["4.6-every-edge"],
        "two delegations lead to the role that lists a package, and only the second delegation covers the package",
        "specification 5.6.7",
        every_edge,
    ),
    Scenario::new(
        "4.6-same-keyid",
        &["4.6-same-keyid"],
        "a role lists an attacker's key under the ID of its own key, and the attacker's key signs the next file of the role",
        "bad input: delegations",
        same_keyid,
    ),
    Scenario::new(
        "4.6-top-level-first",
        &["4.6-top-level-first"],
        "harmless: the top-level targets and a delegated role list the same package; the top-level entry wins",
        "specification 5.6.7",
        top_level_first,
    ),
    Scenario::new(
        "4.6-bins",
        &["4.6-bins"],
        "harmless: a succinct delegation has a bit length of 1, 4, 5 or 9",
        "TAP 15",
        bins,
    ),
];

fn role_beside_the_bins() -> Vec<Case> {
    let mut honest = release(1);
    let bins = honest.delegate_to_bins("targets", 1, "bins");
    // Delegations must not have both `succinct_roles` and `roles`.
    honest.signed("targets")["delegations"].as_object_mut().unwrap().remove("roles");
    let bin = lastmile_testkit::bin_of("bins", 1, "team/package");
    honest.add_target(&bin, "team/package", GOOD);
    let roles: Vec<&str> = bins.iter().map(String::as_str).chain(["targets"]).collect();
    honest.publish(&roles);
    let case = Case::against(&honest).honest_may_be_refused();
    ["other-0", "bins-2", "bins-00", "bins"]
        .map(|name| {
            let mut attacker = honest.fork();
            attacker.delegate("targets", &Delegation::paths(name, &["*"]).keys(&[TestKey::new("bins")], 1));
            attacker.signed("targets")["delegations"].as_object_mut().unwrap().remove("roles");
            attacker.add_target(name, "team/other", EVIL);
            attacker.publish(&[name]);
            case.clone()
                .attacker(attacker.network())
                .honest(newer(&attacker).network())
                .sample(name)
                .get("team/other")
                .refused("team/other", "NoSuchTarget")
                .advances(&["snapshot", "timestamp"])
        })
        .into()
}

fn diamond() -> Vec<Case> {
    let mut honest = release(1);
    for side in ["left", "right"] {
        honest.delegate("targets", &Delegation::paths(side, &[&format!("{side}/*")]));
        let key = TestKey::new(&format!("shared by {side}"));
        honest.delegate(side, &Delegation::paths("shared", &[&format!("{side}/*")]).keys(&[key], 1));
    }
    let both = ["left", "right"].map(|side| TestKey::new(&format!("shared by {side}")));
    honest.set_signers("shared", &both);
    honest.add_target("shared", "left/package", GOOD);
    honest.add_target("shared", "right/package", GOOD);
    honest.publish(&["left", "right", "shared", "targets"]);
    let mut attacker = honest.fork();
    attacker.set_signers("shared", &both[..1]);
    attacker.add_target("shared", "right/other", EVIL);
    attacker.publish(&["shared"]);
    let mut restored = attacker.fork();
    restored.set_signers("shared", &both);
    restored.publish(&["shared"]);
    let case = Case::against(&honest).packages(&["left/package", "package"]).get("right/other");
    vec![
        case.clone()
            .attacker(attacker.network())
            .honest(restored.network())
            .sample("not stored before")
            .refused("shared", "ThresholdNotMet")
            .advances(&["right", "snapshot", "timestamp"]),
        // The client has already stored `shared`, because the file is valid for the delegation by `left`. The client
        // must verify the file again for the delegation by `right`.
        case.followed(attacker.network())
            .attacker(attacker.network())
            .honest(restored.network())
            .sample("stored before")
            .refused("shared", "ThresholdNotMet")
            .advances(&["right"]),
    ]
}

fn bit_lengths() -> Vec<Case> {
    let honest = release(3);
    let cases = ["0", "-1", "33", "64", "2147483648"].map(|bits| {
        let mut attacker = honest.fork();
        attacker.signed("targets")["delegations"] = json!({"keys": {}});
        attacker.delegate_to_bins("targets", 1, "bin");
        attacker.signed("targets")["delegations"]["succinct_roles"]["bit_length"] = json!("here");
        attacker.publish(&["targets"]);
        let bytes = signed_so(&attacker, "targets", "\"here\"", bits);
        republish(&mut attacker, "targets", bytes);
        let case = Case::against(&honest).attacker(attacker.network()).get("team/package").sample(bits);
        case.refused("targets", "Malformed").advances(before("targets"))
    });
    cases.into()
}

fn cycles() -> Vec<Case> {
    let mut selfish = release(1);
    selfish.delegate("targets", &Delegation::paths("a", &["*"]));
    selfish.delegate("a", &Delegation::paths("a", &["*"]));
    selfish.publish(&["a", "targets"]);
    let mut circle = release(1);
    circle.delegate("targets", &Delegation::paths("a", &["*"]));
    circle.delegate("a", &Delegation::paths("b", &["*"]));
    circle.delegate("b", &Delegation::paths("a", &["*"]));
    circle.publish(&["a", "b", "targets"]);
    let mut wide = release(1);
    let mut above = vec!["targets".to_owned()];
    let mut roles = Vec::new();
    for level in 0..30 {
        let here = ["left", "right"].map(|side| format!("{side}-{level:02}"));
        for delegator in &above {
            for role in &here {
                wide.delegate(delegator, &Delegation::paths(role, &["*"]));
            }
        }
        roles.extend(here.clone());
        above = here.into();
    }
    let roles: Vec<&str> = roles.iter().map(String::as_str).chain(["targets"]).collect();
    wide.publish(&roles);
    let nothing = |honest, sample, advances: &[&str]| {
        Case::against(honest).get("x").sample(sample).refused("x", "NoSuchTarget").advances(advances)
    };
    // The search visits at most `Limits::roles_visited` roles, and the client keeps the files of the visited roles.
    let read: Vec<String> =
        (0..30).map(|level| format!("left-{level:02}")).chain(["right-28".into(), "right-29".into()]).collect();
    let read: Vec<&str> = read.iter().map(String::as_str).collect();
    vec![
        nothing(&selfish, "to itself", &["a"]),
        nothing(&circle, "two in a cycle", &["a", "b"]),
        Case::against(&wide)
            .get("x")
            .sample("30 levels with two roles each")
            .refused("right-27", "LimitReached")
            .advances(&read),
    ]
}

fn second_parent() -> Vec<Case> {
    let mut honest = release(1);
    for side in ["left", "right"] {
        honest.delegate("targets", &Delegation::paths(side, &[&format!("{side}/*")]));
        honest.delegate(side, &Delegation::paths("shared", &[&format!("{side}/*")]));
        honest.add_target("shared", &format!("{side}/package"), GOOD);
    }
    honest.publish(&["left", "right", "shared", "targets"]);
    let asked = |packages: &[&str]| Case::against(&honest).packages(packages).get("right/package");
    vec![
        asked(&["package"]).sample("only the package of the second delegation"),
        asked(&["left/package", "package"]).sample("the package of the second delegation, after that of the first"),
    ]
}

fn many_roles() -> Vec<Case> {
    let mut chain = release(1);
    let names: Vec<String> = (0..100).map(|number| format!("link-{number:03}")).collect();
    let above = ["targets".to_owned()].into_iter().chain(names.clone());
    for (delegator, role) in above.zip(&names) {
        chain.delegate(&delegator, &Delegation::paths(role, &["claimed"]));
    }
    chain.add_target("link-099", "claimed", EVIL);
    let mut wide = release(1);
    for number in 0..1_000 {
        wide.delegate(
            "targets",
            &Delegation::paths(&format!("link-{number:03}"), &["claimed"]).keys(&[TestKey::new("one")], 1),
        );
    }
    wide.add_target("link-099", "claimed", EVIL);
    let roles: Vec<&str> = names.iter().map(String::as_str).chain(["targets"]).collect();
    chain.publish(&roles);
    wide.publish(&roles);
    // The search visits at most `Limits::roles_visited` roles, and the client keeps the files of the visited roles.
    let visited: Vec<&str> = names.iter().map(String::as_str).take(32).collect();
    let case = |honest, sample| Case::against(honest).get("claimed").sample(sample).advances(&visited);
    vec![
        case(&chain, "a chain of 100").refused("link-032", "LimitReached").in_process_only(),
        case(&wide, "1,000 delegations").refused("link-032", "LimitReached").in_process_only(),
    ]
}

fn bad_delegations() -> Vec<Case> {
    let honest = release(2);
    let samples: [(&str, Edit); 3] = [
        ("a role twice", |delegations| {
            let first = delegations["roles"][0].clone();
            delegations["roles"].as_array_mut().unwrap().push(first);
        }),
        ("`terminating` is a string", |delegations| delegations["roles"][0]["terminating"] = json!("false")),
        ("bins in addition to a list of roles", |delegations| {
            delegations["succinct_roles"] =
                json!({"keyids": [], "threshold": 1, "bit_length": 4, "name_prefix": "bin"});
        }),
    ];
    let cases = samples.map(|(sample, edit)| {
        let mut attacker = honest.fork();
        edit(&mut attacker.signed("targets")["delegations"]);
        attacker.publish(&["targets"]);
        let case = Case::against(&honest).attacker(attacker.network()).get("team/package").sample(sample);
        case.form_only().refused("targets", "Malformed").advances(before("targets"))
    });
    cases.into()
}

fn first_role_fails() -> Vec<Case> {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("first", &["claimed"]));
    honest.delegate("targets", &Delegation::paths("second", &["claimed"]));
    honest.add_target("second", "claimed", EVIL);
    honest.publish(&["first", "second", "targets"]);
    let gone = honest.network().fork();
    gone.remove(&format!("{METADATA}1.first.json"));
    let down = honest.network().fork();
    down.fault(&format!("{METADATA}1.first.json"), NetworkFault::Status(500));
    let mut unsigned = honest.fork();
    let bytes = with_signatures(&unsigned.written("first"), Vec::clear);
    republish(&mut unsigned, "first", bytes);
    let case = |network, sample| Case::against(&honest).attacker(network).get("claimed").sample(sample);
    vec![
        case(&gone, "404").refused("1.first.json", "NotFound"),
        case(&down, "500").refused("1.first.json", "Status"),
        Case::against(&unsigned).get("claimed").sample("unsigned").refused("first", "ThresholdNotMet"),
    ]
}

fn every_edge() -> Vec<Case> {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("outer", &["outer/*"]));
    honest.delegate("outer", &Delegation::paths("inner", &["*", "*/*"]));
    honest.add_target("inner", "elsewhere/x", EVIL);
    honest.publish(&["inner", "outer", "targets"]);
    vec![Case::against(&honest).get("elsewhere/x").refused("elsewhere/x", "NoSuchTarget")]
}

fn same_keyid() -> Vec<Case> {
    let honest = release(2);
    let mut attacker = honest.fork();
    // `team` delegates to another role. The attacker's key is listed for that role, under the key ID of `team`'s own
    // key.
    let own = TestKey::new("team").keyid().to_owned();
    let stranger = TestKey::new("a stranger").with_keyid(&own);
    attacker.delegate("team", &Delegation::paths("below", &["team/*"]).keys(std::slice::from_ref(&stranger), 1));
    attacker.publish(&["below", "team"]);
    let mut forged = attacker.fork();
    forged.set_signers("team", &[stranger]);
    forged.publish(&["team"]);
    let case = Case::against(&attacker).attacker(forged.network()).get("team/package");
    vec![case.refused("team", "ThresholdNotMet").advances(before("team"))]
}

fn top_level_first() -> Vec<Case> {
    let mut honest = release(1);
    honest.delegate("targets", &Delegation::paths("role", &["claimed"]));
    honest.add_target("role", "claimed", EVIL);
    honest.add_target("targets", "claimed", GOOD);
    honest.publish(&["role", "targets"]);
    vec![Case::against(&honest).packages(&["package"]).get("claimed")]
}

fn bins() -> Vec<Case> {
    let cases = [1, 4, 5, 9].map(|bits| {
        let mut honest = release(1);
        honest.signed("targets")["delegations"] = json!({"keys": {}});
        let bins = honest.delegate_to_bins("targets", bits, "bin");
        let bin = lastmile_testkit::bin_of("bin", bits, "binned");
        honest.add_target(&bin, "binned", GOOD);
        let roles: Vec<&str> = bins.iter().map(String::as_str).chain(["targets"]).collect();
        honest.publish(&roles);
        Case::against(&honest)
            .packages(&["package"])
            .get("binned")
            .sample(format!("{bits} bits"))
            .honest_may_be_refused()
    });
    cases.into()
}
