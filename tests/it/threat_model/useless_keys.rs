//! Tests of keys that are useless to an attacker who has no other keys. Files that are signed with these keys must also
//! match the hashes that the snapshot or the timestamp lists.

use lastmile_attacks::GOOD;
use lastmile_testkit::METADATA;
use serde_json::{Value, json};

use crate::made::{Attacker, Made, in_days, refusal};

const NEWER: &[u8] = b"newer package";

/// An attack with only the keys `stolen`, which sign for `role`.
pub(super) struct Attempt<'a> {
    pub(super) stolen: &'a [&'a str],
    pub(super) role: &'a str,
    /// A package that is in `role`, or in a role to which `role` delegates. `lastmile-repo add` adds the package with
    /// `options`.
    pub(super) package: &'a str,
    pub(super) options: &'a [&'a str],
    /// The expected errors of clients: the first for a replaced file of the published version, the second for a forged
    /// release. `ROLE` stands for the name of the role.
    pub(super) refusals: [&'a str; 2],
}

impl Attempt<'_> {
    /// Runs three attacks with files that `forge` has changed, and checks that all of them fail: the attacker replaces
    /// the file of the published version, publishes a forged release, and replaces the file of the next honest release.
    pub(super) fn fails(&self, made: &Made, forge: impl Fn(&Attacker, &mut Value)) {
        let [in_place, own_release] = self.refusals.map(|why| why.replace("ROLE", self.role));
        let seen = made.client(&[self.package]);
        let replace = |attacker: &Attacker| attacker.replace(self.role, |signed| forge(attacker, signed));

        let attacker = made.attacker(self.stolen);
        replace(&attacker);
        let new = made.new_client();
        new.use_network(&attacker.network);
        assert_eq!(refusal(&new.get(self.package)), in_place, "{:?}", self.stolen);
        assert_eq!(new.output(), [""; 0]);
        // A returning client already has the file and does not request it.
        let stored = seen.files();
        seen.use_network(&attacker.network);
        assert_eq!(seen.get(self.package).unwrap(), GOOD);
        assert_eq!(seen.files(), stored);

        let attacker = made.attacker(self.stolen);
        attacker.release(self.role, |signed| forge(&attacker, signed));
        for client in [made.new_client(), seen.copy()] {
            client.use_network(&attacker.network);
            assert_eq!(refusal(&client.get(self.package)), own_release, "{:?}", self.stolen);
            assert_ne!(client.output().first().map(|name| client.read_output(name)), Some(NEWER.to_vec()));
        }

        made.add(self.package, NEWER, self.options);
        let attacker = made.attacker(self.stolen);
        replace(&attacker);
        for client in [new, seen, made.new_client()] {
            let before: Vec<Vec<u8>> = client.output().iter().map(|name| client.read_output(name)).collect();
            client.use_network(&attacker.network);
            assert_eq!(refusal(&client.get(self.package)), in_place, "{:?}", self.stolen);
            let after: Vec<Vec<u8>> = client.output().iter().map(|name| client.read_output(name)).collect();
            assert_eq!(before, after);
            client.use_network(&made.served());
            assert_eq!(client.get(self.package).unwrap(), NEWER);
        }
    }

    /// Runs the attacks of [`Attempt::fails`]. The role lists the package itself, and the attacker replaces this entry
    /// with malicious content.
    pub(super) fn never_installs(&self, made: &Made) {
        self.fails(made, |attacker, signed| attacker.list_malicious(signed, self.package));
    }
}

/// The expected errors if the attacker has no online key: the replaced file does not match the hash in the snapshot,
/// and the forged timestamp has no valid signature.
const ALONE: [&str; 2] = ["ROLE: HashMismatch", "timestamp: ThresholdNotMet"];

#[test]
fn k2_the_snapshot_key_gives_an_attacker_nothing_and_is_revoked() {
    let made = Made::new();
    let attempt =
        Attempt { stolen: &["snapshot-1"], role: "snapshot", package: "package", options: &[], refusals: ALONE };
    attempt.fails(&made, |_, snapshot| snapshot["expires"] = in_days(99));
    let seen = made.client(&["package"]);
    made.revoke_online("snapshot-1");
    // The revoked snapshot key is useless even to an attacker with the current timestamp key.
    let attacker = made.attacker(&["snapshot-1", "timestamp-2"]);
    attacker.release("snapshot", |_| {});
    seen.use_network(&attacker.network);
    assert_eq!(refusal(&seen.get("package")), "snapshot: ThresholdNotMet");
}

#[test]
fn k4_the_key_of_a_delegated_role_gives_an_attacker_nothing_and_is_revoked_without_a_new_root() {
    let made = Made::with_team();
    let attempt = Attempt {
        stolen: &["team-1"],
        role: "team",
        package: "team/package",
        options: &["--role", "team"],
        refusals: ALONE,
    };
    attempt.never_installs(&made);
    let seen = made.client(&["team/package"]);
    made.revoke("team", "team-1", "team-2");
    assert!(made.served().file(&format!("{METADATA}2.root.json")).is_none());
    let attacker = made.attacker(&["team-1", "timestamp-1", "snapshot-1"]);
    attacker.release("team", |team| attacker.list_malicious(team, "team/package"));
    seen.use_network(&attacker.network);
    assert_eq!(refusal(&seen.get("team/package")), "team: ThresholdNotMet");
}

#[test]
fn k10_the_targets_key_gives_an_attacker_nothing_without_both_online_keys_and_is_revoked() {
    let with_timestamp = ["ROLE: HashMismatch", "snapshot: ThresholdNotMet"];
    let samples: [(&[&str], [&str; 2]); 3] = [
        (&["targets-1"], ALONE),
        (&["targets-1", "snapshot-1"], ALONE),
        (&["targets-1", "timestamp-1"], with_timestamp),
    ];
    for (stolen, refusals) in samples {
        let made = Made::new();
        Attempt { stolen, role: "targets", package: "package", options: &[], refusals }.never_installs(&made);
    }
    let made = Made::new();
    let seen = made.client(&["package"]);
    made.revoke("targets", "targets-1", "targets-2");
    let attacker = made.attacker(&["targets-1", "timestamp-1", "snapshot-1"]);
    attacker.release("targets", |targets| attacker.list_malicious(targets, "package"));
    seen.use_network(&attacker.network);
    assert_eq!(refusal(&seen.get("package")), "targets: ThresholdNotMet");
}

#[test]
fn k12_fewer_root_keys_than_the_threshold_give_an_attacker_nothing_and_are_rotated_out() {
    let made = Made::new();
    let name_own_keys = |attacker: &mut Attacker| {
        let (keyid, key) = attacker.own_key();
        attacker.release("root", |root| {
            root["keys"][&keyid] = key;
            for role in ["root", "timestamp", "snapshot", "targets"] {
                root["roles"][role] = json!({"keyids": [keyid], "threshold": 1});
            }
        });
        attacker.release("targets", |targets| attacker.list_malicious(targets, "package"));
    };
    let mut attacker = made.attacker(&["root-1"]);
    name_own_keys(&mut attacker);
    let seen = made.client(&["package"]);
    for client in [&made.new_client(), &seen] {
        client.use_network(&attacker.network);
        assert_eq!(refusal(&client.get("package")), "root: ThresholdNotMet");
    }
    // A root with the version of the current root is not valid as the next root.
    let attacker = made.attacker(&["root-1"]);
    let mut signed = attacker.newest("root");
    signed["expires"] = in_days(3_650);
    attacker.network.put(&format!("{METADATA}2.root.json"), attacker.sign("root", &signed));
    seen.use_network(&attacker.network);
    assert!(refusal(&seen.get("package")).starts_with("root: "));

    made.new_key("root-4");
    made.run(&["rotate", "root", "--add", "root-4", "--remove", "root-1"]);
    seen.use_network(&made.served());
    assert_eq!(seen.get("package").unwrap(), GOOD);
    let mut attacker = made.attacker(&["root-1", "root-2"]);
    name_own_keys(&mut attacker);
    seen.use_network(&attacker.network);
    assert_eq!(refusal(&seen.get("package")), "root: ThresholdNotMet");
}
