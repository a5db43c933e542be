//! Freeze attacks (TUF specification 1.5.2).

use lastmile_testkit::{FakeNetwork, METADATA, NetworkFault};
use serde_json::json;

use crate::forgery::newer;
use crate::{Case, Scenario, release};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "3.3-F1",
        &["3.3-F1", "3.3-F2", "S-2.3-3"],
        "the server keeps sending the same timestamp, before and after it expires",
        "specification 5.4.4, freeze",
        frozen,
    ),
    Scenario::new(
        "3.3-F5",
        &["3.3-F5"],
        "harmless: a root in the middle of the chain has expired",
        "specification 5.3.6",
        expired_in_between,
    ),
    Scenario::new(
        "3.3-F8",
        &["3.3-F8", "3.3-F3"],
        "the server withholds the timestamp, or resets the connection",
        "specification 5.4.1, freeze",
        no_timestamp,
    ),
    Scenario::new(
        "3.3-F9",
        &["3.3-F9"],
        "a timestamp expires in the year 10000; an expiry date in 9999 is legal",
        "specification 4.2.3",
        far_expiry,
    ),
];

fn frozen() -> Vec<Case> {
    let mut honest = release(3);
    honest.signed("timestamp")["expires"] = json!("2030-01-08T00:00:00Z");
    honest.publish(&["timestamp"]);
    let mut after = honest.fork();
    after.signed("timestamp")["expires"] = json!("2040-01-01T00:00:00Z");
    after.publish(&["targets"]);
    let start = "2030-01-01T00:00:00Z";
    let cases = [("2030-01-08T00:00:00Z", false), ("2030-01-07T23:59:59Z", true), ("2030-02-01T00:00:00Z", false)];
    let cases = cases.map(|(now, is_fine)| {
        let case = Case::against(&honest).honest(after.network()).clock([start, now, now]).sample(now);
        if is_fine { case } else { case.refused("timestamp", "Expired") }
    });
    cases.into()
}

fn expired_in_between() -> Vec<Case> {
    let honest = release(3);
    let mut next = honest.fork();
    next.signed("root")["expires"] = json!("2020-01-01T00:00:00Z");
    next.publish(&["root"]);
    next.signed("root")["expires"] = json!("2040-01-01T00:00:00Z");
    next.publish(&["root", "team", "targets"]);
    vec![Case::against(&honest).attacker(next.network()).honest(newer(&next).network()).get("package")]
}

fn no_timestamp() -> Vec<Case> {
    let honest = release(3);
    let path = format!("{METADATA}timestamp.json");
    let gone = honest.network().fork();
    gone.remove(&path);
    let reset = honest.network().fork();
    reset.fault(&path, NetworkFault::Reset);
    vec![
        Case::against(&honest).attacker(&gone).sample("404").refused("timestamp.json", "NotFound"),
        Case::against(&honest)
            .attacker(&FakeNetwork::new())
            .sample("404 for everything")
            .refused("timestamp.json", "NotFound"),
        Case::against(&honest).attacker(&reset).sample("reset").refused("timestamp.json", "Cut"),
    ]
}

fn far_expiry() -> Vec<Case> {
    let honest = release(3);
    let cases = [("9999-12-31T23:59:59Z", true), ("10000-01-01T00:00:00Z", false), ("+10000-01-01T00:00:00Z", false)];
    let cases = cases.map(|(expires, is_fine)| {
        let mut attacker = honest.fork();
        attacker.signed("timestamp")["expires"] = json!(expires);
        attacker.publish(&["timestamp"]);
        let case = Case::against(&honest).attacker(attacker.network()).sample(expires);
        if is_fine { case } else { case.form_only().refused("timestamp", "Malformed") }
    });
    cases.into()
}
