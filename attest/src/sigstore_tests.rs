use super::*;
use crate::trust::TrustDemands;

#[test]
fn a_time_outside_the_validity_of_the_certificate_is_refused() {
    // Test the check directly, because the library already refuses every bundle with such a time.
    let root = br#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
    let root = TrustRoot::parse(root).unwrap();
    let trust = Trust { root: &root, demands: TrustDemands { log: LogDemand::None, ..TrustDemands::default() } };
    let at = |seconds| utc(seconds, 0).unwrap();
    let validity = Window { start: Some(at(10)), end: Some(at(20)) };
    for (seconds, is_accepted) in [(9, false), (10, true), (20, true), (21, false)] {
        let evidence = Evidence { logs: Vec::new(), times: vec![(at(seconds), Source::Log(Vec::new()))] };
        assert_eq!(evidence.check(&trust, at(30), Some(validity)).is_ok(), is_accepted, "{seconds}");
    }
}
