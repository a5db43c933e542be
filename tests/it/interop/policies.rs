//! Tests that a repository with policies works with clients of other projects, which do not support policies. These
//! clients install a package that lastmile refuses because the package has no evidence.

use lastmile_testkit::{Server, TestClient};

use super::programs::{Answer, Client};
use crate::policies::{CONTENT, PACKAGE, refusal, signature_by, with_rules};

#[test]
fn a_policy_does_not_disturb_clients_that_do_not_know_policies() {
    let repository = with_rules(&[signature_by("a")], &[]);
    refusal(&TestClient::new(&repository), &repository);
    let server = Server::start(repository.network());
    let root = repository.first_root();
    for client in [Client::python_tuf(&root), Client::tuf_js(&root)] {
        let answer = client.fetch(&server.url(), &[PACKAGE]);
        assert_eq!(answer, Answer::Fetched([1, 2, 2, 2], vec![Some(CONTENT.to_vec())]));
    }
}
