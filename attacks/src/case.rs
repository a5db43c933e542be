//! The cases of a scenario. A case consists of honest repositories, an attacker, the client's action, and the expected
//! result.

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

/// The number of releases that the honest repository publishes while the client is under attack.
///
/// An attacker with stolen keys publishes fewer releases than this. The newest honest release therefore has higher
/// versions than the attacker's files, so the client does not refuse the honest release as a rollback.
const RELEASES_MEANWHILE: u32 = 5;

/// Creates a repository and publishes `releases` releases in it, in addition to its empty first version. The repository
/// has two targets with the content [`GOOD`]: the top-level targets role lists `package`, and the delegated role `team`
/// lists `team/package`.
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

/// The client's action during the attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Update the trusted metadata.
    Refresh,
    /// Update the trusted metadata and download the target with this path.
    Get(String),
}

/// The expected result of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The client must return an error. The first field is the role, target or file that the error names. The second
    /// field is the name of a variant of `ErrorKind`, `FileError`, `FetchError`, `Refusal` or `Error`.
    Refused(String, &'static str),
    /// The client must succeed, because the input is unusual but legal. A target that the client downloads must have
    /// the content [`GOOD`].
    Accepted,
}

/// A function that changes files in the client's metadata folder.
type Tamper = Arc<dyn Fn(&Path) + Send + Sync>;

/// A variant of an attack, or an unusual but legal input that a client must accept.
#[derive(Clone)]
pub struct Case {
    /// A short name that distinguishes this case from the other cases of its scenario.
    pub sample: String,
    pub(super) shipped: Vec<u8>,
    /// The repositories from which the client updates before the attack, in this order.
    pub(super) before: Vec<FakeNetwork>,
    /// The repositories from which the client tries to update after it has updated from those in `before`. These
    /// updates must fail.
    pub(super) failed: Vec<FakeNetwork>,
    /// The targets that the client downloads from each honest repository.
    pub(super) packages: Vec<String>,
    pub(super) tamper: Option<Tamper>,
    pub(super) attacker: FakeNetwork,
    pub(super) responder: Option<Arc<Responder>>,
    pub(super) action: Action,
    pub(super) expect: Expect,
    /// The error must contain this text. The text shows that the client refused the attack for the expected reason.
    pub(super) because: Option<&'static str>,
    pub(super) advances: BTreeSet<String>,
    pub(super) changes_nothing: bool,
    pub(super) is_form_only: bool,
    pub(super) honest_may_be_refused: bool,
    /// Repositories whose files a client may trust after the attack, in addition to the repositories in `before`.
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
    /// Creates a case for a client that has already updated from the current state of `honest`.
    ///
    /// By default, the attacker serves the same files as `honest`, the client refreshes, and the refresh must succeed.
    /// After the attack, the client updates to a later state of `honest`, in which several more releases have been
    /// published.
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
            failed: Vec::new(),
            packages: vec!["package".into(), "team/package".into()],
            tamper: None,
            attacker: network.fork(),
            responder: None,
            action: Action::Refresh,
            expect: Expect::Accepted,
            because: None,
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

    /// Like [`Case::against`], but for a new client, which has only its shipped root.
    #[must_use]
    pub fn new_client(honest: &Repository) -> Case {
        Case { before: Vec::new(), ..Case::against(honest) }
    }

    /// Sets the short name that distinguishes this case from the other cases of its scenario.
    #[must_use]
    pub fn sample(self, sample: impl Into<String>) -> Case {
        Case { sample: sample.into(), ..self }
    }

    /// Sets the root that is shipped with the client. The default is version 1.
    #[must_use]
    pub fn shipped_root(self, root: Vec<u8>) -> Case {
        Case { shipped: root, ..self }
    }

    /// Adds a repository from which the client updates before the attack. If there are several, the client updates from
    /// them in the order in which they were added. The repository may be under the attacker's control.
    #[must_use]
    pub fn followed(mut self, network: &FakeNetwork) -> Case {
        self.before.push(network.fork());
        self
    }

    /// Adds a repository from which the client tries to update before the attack. The client must accept the timestamp
    /// of `network`, and then fail to complete the update. The client tries this update after all updates
    /// that must succeed.
    #[must_use]
    pub fn failed_update(mut self, network: &FakeNetwork) -> Case {
        self.failed.push(network.fork());
        self
    }

    /// Sets the targets that the client downloads from honest repositories. The default is `package` and
    /// `team/package`.
    #[must_use]
    pub fn packages(self, packages: &[&str]) -> Case {
        Case { packages: packages.iter().map(|path| (*path).to_owned()).collect(), ..self }
    }

    /// Sets a function that changes files in the client's metadata folder before the attack.
    #[must_use]
    pub fn tamper(self, change: impl Fn(&Path) + Send + Sync + 'static) -> Case {
        Case { tamper: Some(Arc::new(change)), ..self }
    }

    /// Makes the server offer the current files of `network` during the attack.
    #[must_use]
    pub fn attacker(self, network: &FakeNetwork) -> Case {
        Case { attacker: network.fork(), ..self }
    }

    /// Sets the function that answers the client's requests during the attack.
    #[must_use]
    pub fn responder(self, responder: Arc<Responder>) -> Case {
        Case { responder: Some(responder), ..self }
    }

    /// Makes the client download the target `path` during the attack.
    #[must_use]
    pub fn get(self, path: impl Into<String>) -> Case {
        Case { action: Action::Get(path.into()), ..self }
    }

    /// Expects that the client refuses the role, target or file `who` for the reason `why`. See [`Expect::Refused`].
    #[must_use]
    pub fn refused(self, who: impl Into<String>, why: &'static str) -> Case {
        Case { expect: Expect::Refused(who.into(), why), ..self }
    }

    /// Expects that the error contains `text`, and that the client refuses the attack a second time with the same
    /// error. Makes the case run only with [`in_process::run`](crate::in_process::run).
    #[must_use]
    pub fn because(self, text: &'static str) -> Case {
        Case { because: Some(text), external: false, ..self }
    }

    /// Sets the roles whose new files pass all checks before the client notices the attack. The client keeps these
    /// files.
    #[must_use]
    pub fn advances(self, roles: &[&str]) -> Case {
        Case { advances: roles.iter().map(|role| (*role).to_owned()).collect(), ..self }
    }

    /// Expects that the update succeeds and changes no trusted file.
    #[must_use]
    pub fn changes_nothing(self) -> Case {
        Case { changes_nothing: true, ..self }
    }

    /// Marks a case in which the metadata is malformed but validly signed. A client that accepts the metadata does not
    /// count as harmed if it still has the right packages at the right versions.
    #[must_use]
    pub fn form_only(self) -> Case {
        Case { is_form_only: true, ..self }
    }

    /// Marks a case in which the honest repository is unusual or uses a feature that not every client supports. If
    /// another client refuses this repository before or after the attack, [`external::run`](crate::external::run)
    /// reports that the client is too strict, not that the attack succeeded.
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

    /// Sets the honest repository from which the client updates after the attack.
    #[must_use]
    pub fn honest(self, network: &FakeNetwork) -> Case {
        Case { honest: network.fork(), ..self }
    }

    /// Sets the client's clock before, during and after the attack. Makes the case run only with
    /// [`in_process::run`](crate::in_process::run).
    #[must_use]
    pub fn clock(self, times: [&str; 3]) -> Case {
        Case { clock: times.map(time), external: false, ..self }
    }

    /// Sets the client's limits. Makes the case run only with [`in_process::run`](crate::in_process::run).
    #[must_use]
    pub fn limits(self, limits: Limits) -> Case {
        Case { limits, external: false, ..self }
    }

    /// Sets the client's HTTP settings and number of retries. Makes the case run only with
    /// [`in_process::run`](crate::in_process::run).
    #[must_use]
    pub fn http(self, http: HttpSettings, retries: u32) -> Case {
        let retry_policy = RetryPolicy { retries, ..self.retry_policy };
        Case { http: HttpSettings { proxy: ProxyChoice::Direct, ..http }, retry_policy, external: false, ..self }
    }

    /// Sets the client's retries and timeouts. Makes the case run only with
    /// [`in_process::run`](crate::in_process::run).
    #[must_use]
    pub fn retry_policy(self, retry_policy: RetryPolicy) -> Case {
        Case { retry_policy, external: false, ..self }
    }

    /// Sets the maximum number of bytes that the server may send to the client in one run.
    #[must_use]
    pub fn max_bytes(self, max_bytes: u64) -> Case {
        Case { max_bytes, ..self }
    }

    /// Makes the case run only with [`in_process::run`](crate::in_process::run), because other clients may behave
    /// differently and still be correct.
    #[must_use]
    pub fn in_process_only(self) -> Case {
        Case { external: false, ..self }
    }

    /// Returns `true` if the case can also be run against clients other than `lastmile-client`.
    #[must_use]
    pub fn runs_externally(&self) -> bool {
        self.external
    }

    /// Returns `true` if the client must refuse the input, and `false` if the input is legal.
    #[must_use]
    pub fn is_attack(&self) -> bool {
        matches!(self.expect, Expect::Refused(..))
    }
}
