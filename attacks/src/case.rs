//! A case: honest repositories, an attacker, an action of the client, and the expected result.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_client::{HttpSettings, ProxyChoice, RetryPolicy};
use lastmile_metadata::Limits;
use lastmile_testkit::{Delegation, FakeNetwork, METADATA, Repository, Responder, TestKey, file_name, time};

/// The content of packages in honest repositories.
pub const GOOD: &[u8] = b"good package";
/// The content that an attacker tries to install.
pub const EVIL: &[u8] = b"evil package";

/// The number of releases that the honest repository publishes during an attack. It is greater than that of any attacker with
/// stolen keys, whose versions count too.
const RELEASES_MEANWHILE: u32 = 5;

/// Returns a repository after this many releases of `package` (in the top-level targets) and of `team/package` (in the delegated
/// role `team`), both with the content [`GOOD`].
#[must_use]
pub fn release(releases: u32) -> Repository {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("team", &["team/*"]));
    repository.add_target("team", "team/package", GOOD);
    repository.add_target("targets", "package", GOOD);
    for _ in 0..releases {
        repository.publish(&["team", "targets"]);
    }
    repository
}

/// Returns a key that no role lists.
#[must_use]
pub fn stranger() -> TestKey {
    TestKey::new("a stranger")
}

/// What the client does during the attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Updates its trusted metadata.
    Refresh,
    /// Updates, and downloads this target.
    Get(String),
}

/// The expected result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// An error about this role, target or file, of this kind: the name of a variant of `ErrorKind`, `FileError`,
    /// `FetchError`, `Refusal` or `Error`.
    Refused(String, &'static str),
    /// Success: the input is unusual but legal. The requested target has the content [`GOOD`].
    Accepted,
}

/// Changes files in the client's metadata folder.
type Tamper = Arc<dyn Fn(&Path) + Send + Sync>;

/// An attack with one sample, or unusual but legal input that a client must accept.
#[derive(Clone)]
pub struct Case {
    /// What distinguishes the case from the others of its scenario.
    pub sample: String,
    pub(super) shipped: Vec<u8>,
    /// The honest repositories that the client follows before the attack, in this order.
    pub(super) before: Vec<FakeNetwork>,
    /// The targets that it downloads from honest repositories.
    pub(super) packages: Vec<String>,
    pub(super) tamper: Option<Tamper>,
    pub(super) attacker: FakeNetwork,
    pub(super) responder: Option<Arc<Responder>>,
    pub(super) action: Action,
    pub(super) expect: Expect,
    pub(super) advances: BTreeSet<String>,
    pub(super) changes_nothing: bool,
    pub(super) is_form_only: bool,
    pub(super) honest_may_be_refused: bool,
    /// Honest repositories whose files a client may trust after the attack.
    pub(super) may_trust: Vec<FakeNetwork>,
    pub(super) honest: FakeNetwork,
    pub(super) clock: [DateTime<Utc>; 3],
    pub(super) limits: Limits,
    pub(super) http: HttpSettings,
    pub(super) retry_policy: RetryPolicy,
    pub(super) max_bytes: u64,
    pub(super) external: bool,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("sample", &self.sample).field("expect", &self.expect).finish_non_exhaustive()
    }
}

impl Case {
    /// Creates a case for a client that has followed `honest` as it is now.
    ///
    /// By default the attacker serves `honest`, the client refreshes and must succeed, and several honest releases follow.
    #[must_use]
    pub fn against(honest: &Repository) -> Case {
        let network = honest.network();
        let first = format!("{METADATA}{}", file_name("root", Some(1)));
        let mut after = honest.fork();
        let roles = after.delegated_roles();
        let roles: Vec<&str> = roles.iter().map(String::as_str).filter(|role| *role == "team").collect();
        for _ in 0..RELEASES_MEANWHILE {
            after.publish(&[roles.as_slice(), &["targets"]].concat());
        }
        let http = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
        Case {
            sample: String::new(),
            shipped: network.file(&first).expect("version 1 of the root"),
            before: vec![network.fork()],
            packages: vec!["package".into(), "team/package".into()],
            tamper: None,
            attacker: network.fork(),
            responder: None,
            action: Action::Refresh,
            expect: Expect::Accepted,
            advances: BTreeSet::new(),
            changes_nothing: false,
            is_form_only: false,
            honest_may_be_refused: false,
            may_trust: vec![network.fork()],
            honest: after.network().fork(),
            clock: [time("2030-01-01T00:00:00Z"); 3],
            limits: Limits::default(),
            http,
            retry_policy: RetryPolicy { retries: 0, ..RetryPolicy::default() },
            max_bytes: 2_000_000,
            external: true,
        }
    }

    /// Like [`Case::against`], for a client that knows only the root with which it was shipped.
    #[must_use]
    pub fn new_client(honest: &Repository) -> Case {
        Case { before: Vec::new(), ..Case::against(honest) }
    }

    /// Sets the name of the sample.
    #[must_use]
    pub fn sample(self, sample: impl Into<String>) -> Case {
        Case { sample: sample.into(), ..self }
    }

    /// Sets the root with which the client is shipped. By default it is version 1.
    #[must_use]
    pub fn shipped_root(self, root: Vec<u8>) -> Case {
        Case { shipped: root, ..self }
    }

    /// Lets the client follow this repository too before the attack, after the others. It may be an attacker's.
    #[must_use]
    pub fn followed(mut self, network: &FakeNetwork) -> Case {
        self.before.push(network.fork());
        self
    }

    /// Sets the targets that are downloaded from honest repositories, instead of `package` and `team/package`.
    #[must_use]
    pub fn packages(self, packages: &[&str]) -> Case {
        Case { packages: packages.iter().map(|path| (*path).to_owned()).collect(), ..self }
    }

    /// Changes files in the client's metadata folder before the attack.
    #[must_use]
    pub fn tamper(self, change: impl Fn(&Path) + Send + Sync + 'static) -> Case {
        Case { tamper: Some(Arc::new(change)), ..self }
    }

    /// Serves `network`, as it is now, during the attack.
    #[must_use]
    pub fn attacker(self, network: &FakeNetwork) -> Case {
        Case { attacker: network.fork(), ..self }
    }

    /// Answers the requests during the attack with `responder`.
    #[must_use]
    pub fn responder(self, responder: Arc<Responder>) -> Case {
        Case { responder: Some(responder), ..self }
    }

    /// Downloads `path` during the attack.
    #[must_use]
    pub fn get(self, path: impl Into<String>) -> Case {
        Case { action: Action::Get(path.into()), ..self }
    }

    /// Expects a refusal because of `who`, which is a role, a target or a file, for the reason `why`: see [`Expect::Refused`].
    #[must_use]
    pub fn refused(self, who: impl Into<String>, why: &'static str) -> Case {
        Case { expect: Expect::Refused(who.into(), why), ..self }
    }

    /// Sets the roles whose new files pass all checks before the attack is noticed. The client keeps these files.
    #[must_use]
    pub fn advances(self, roles: &[&str]) -> Case {
        Case { advances: roles.iter().map(|role| (*role).to_owned()).collect(), ..self }
    }

    /// Expects success without a change of the trusted files.
    #[must_use]
    pub fn changes_nothing(self) -> Case {
        Case { changes_nothing: true, ..self }
    }

    /// Marks a case in which only the form is invalid: the keys that may sign have signed what the attacker serves. A client that
    /// accepts it and has the right packages at the right versions was not harmed.
    #[must_use]
    pub fn form_only(self) -> Case {
        Case { is_form_only: true, ..self }
    }

    /// Marks a case in which the honest repository is unusual or uses what not every client supports. A client that refuses it,
    /// before or after the attack, was not harmed.
    #[must_use]
    pub fn honest_may_be_refused(self) -> Case {
        Case { honest_may_be_refused: true, ..self }
    }

    /// Adds an honest repository whose files a client may trust after the attack.
    #[must_use]
    pub fn may_trust(mut self, network: &FakeNetwork) -> Case {
        self.may_trust.push(network.fork());
        self
    }

    /// Sets the honest repository that the client follows after the attack.
    #[must_use]
    pub fn honest(self, network: &FakeNetwork) -> Case {
        Case { honest: network.fork(), ..self }
    }

    /// Sets the time before, during and after the attack. Runs in process only.
    #[must_use]
    pub fn clock(self, times: [&str; 3]) -> Case {
        Case { clock: times.map(time), external: false, ..self }
    }

    /// Sets the client's limits. Runs in process only.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Case {
        Case { limits, external: false, ..self }
    }

    /// Sets the client's HTTP settings and the number of retries. Runs in process only.
    #[must_use]
    pub fn http(self, http: HttpSettings, retries: u32) -> Case {
        let retry_policy = RetryPolicy { retries, ..self.retry_policy };
        Case { http: HttpSettings { proxy: ProxyChoice::Direct, ..http }, retry_policy, external: false, ..self }
    }

    /// Sets the client's retries and timeouts. Runs in process only.
    #[must_use]
    pub fn retry_policy(self, retry_policy: RetryPolicy) -> Case {
        Case { retry_policy, external: false, ..self }
    }

    /// Sets the maximum number of bytes that the server may send in one run.
    #[must_use]
    pub fn max_bytes(self, max_bytes: u64) -> Case {
        Case { max_bytes, ..self }
    }

    /// Runs in process only, because another client may correctly behave differently.
    #[must_use]
    pub fn in_process_only(self) -> Case {
        Case { external: false, ..self }
    }

    /// Whether the case can run against other clients.
    #[must_use]
    pub fn runs_externally(&self) -> bool {
        self.external
    }

    /// Whether a refusal is expected.
    #[must_use]
    pub fn is_attack(&self) -> bool {
        matches!(self.expect, Expect::Refused(..))
    }
}
