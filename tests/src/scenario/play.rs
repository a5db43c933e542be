//! What is played: an honest history, an attacker, a request, and what must come of it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lastmile_client::{HttpSettings, ProxyChoice, RetryPolicy};
use lastmile_metadata::Limits;

use crate::delegations::Delegation;
use crate::device::time;
use crate::key::TestKey;
use crate::repository::{METADATA, Repository, file_name};
use crate::road::Road;
use crate::server::Responder;

/// What the honest packages hold.
pub const GOOD: &[u8] = b"good package";
/// What an attacker would like to install.
pub const EVIL: &[u8] = b"evil package";

/// How many releases the honest repository makes during an attack: more than any attacker, whose versions count where they
/// are signed by stolen keys.
const RELEASES_MEANWHILE: u32 = 5;

/// A repository after so many releases of `package` (top level) and `team/package` (delegated to the role `team`).
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

/// A key that nobody trusts.
#[must_use]
pub fn stranger() -> TestKey {
    TestKey::new("a stranger")
}

/// What the client is asked to do while the attacker stands on the road.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// To update its trusted metadata.
    Refresh,
    /// To update, and to download this target.
    Get(String),
}

/// What must come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// An error about this role, target or file, of this kind: the name of a variant of `ErrorKind`, `FileError`,
    /// `FetchError`, `Refusal` or `Error`.
    Refused(String, &'static str),
    /// Success: what looks odd is legal. The target that was asked for holds [`GOOD`].
    Accepted,
}

/// Changes files in the client's metadata folder.
type Tamper = Arc<dyn Fn(&Path) + Send + Sync>;

/// One attack with one sample.
#[derive(Clone)]
pub struct Play {
    /// What tells it from the others of its scenario.
    pub sample: String,
    pub(super) shipped: Vec<u8>,
    /// The honest states that the client has followed one after the other.
    pub(super) before: Vec<Road>,
    /// What it downloads from honest repositories.
    pub(super) packages: Vec<String>,
    pub(super) tamper: Option<Tamper>,
    pub(super) attacker: Road,
    pub(super) responder: Option<Arc<Responder>>,
    pub(super) action: Action,
    pub(super) expect: Expect,
    pub(super) advances: BTreeSet<String>,
    pub(super) keeps_all: bool,
    pub(super) is_odd: bool,
    pub(super) honest_is_odd: bool,
    /// Honest states that a client may have come to when it did not refuse.
    pub(super) may_have: Vec<Road>,
    pub(super) honest: Road,
    pub(super) clock: [DateTime<Utc>; 3],
    pub(super) limits: Limits,
    pub(super) http: HttpSettings,
    pub(super) patience: RetryPolicy,
    pub(super) most_bytes: u64,
    pub(super) outside: bool,
}

impl fmt::Debug for Play {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Play").field("sample", &self.sample).field("expect", &self.expect).finish_non_exhaustive()
    }
}

impl Play {
    /// A client that has followed `honest` as it is now. Unless another attacker is named, `honest` as it is now is
    /// what is on the road; afterwards the client finds some honest releases more.
    #[must_use]
    pub fn against(honest: &Repository) -> Play {
        let road = honest.road();
        let first = format!("{METADATA}{}", file_name("root", Some(1)));
        let mut after = honest.fork();
        let roles = after.delegated_roles();
        let roles: Vec<&str> = roles.iter().map(String::as_str).filter(|role| *role == "team").collect();
        for _ in 0..RELEASES_MEANWHILE {
            after.publish(&[roles.as_slice(), &["targets"]].concat());
        }
        let http = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
        Play {
            sample: String::new(),
            shipped: road.file(&first).expect("version 1 of the root"),
            before: vec![road.fork()],
            packages: vec!["package".into(), "team/package".into()],
            tamper: None,
            attacker: road.fork(),
            responder: None,
            action: Action::Refresh,
            expect: Expect::Accepted,
            advances: BTreeSet::new(),
            keeps_all: false,
            is_odd: false,
            honest_is_odd: false,
            may_have: vec![road.fork()],
            honest: after.road().fork(),
            clock: [time("2030-01-01T00:00:00Z"); 3],
            limits: Limits::default(),
            http,
            patience: RetryPolicy { retries: 0, ..RetryPolicy::default() },
            most_bytes: 2_000_000,
            outside: true,
        }
    }

    /// The same, for a client that has seen nothing but the root that it was shipped with.
    #[must_use]
    pub fn at_first(honest: &Repository) -> Play {
        Play { before: Vec::new(), ..Play::against(honest) }
    }

    /// Names the sample.
    #[must_use]
    pub fn sample(self, sample: impl Into<String>) -> Play {
        Play { sample: sample.into(), ..self }
    }

    /// Ships this root with the client.
    #[must_use]
    pub fn shipping(self, root: Vec<u8>) -> Play {
        Play { shipped: root, ..self }
    }

    /// The client has followed this state as well, after the others.
    #[must_use]
    pub fn then(mut self, road: &Road) -> Play {
        self.before.push(road.fork());
        self
    }

    /// What honest repositories are asked for, instead of `package` and `team/package`.
    #[must_use]
    pub fn packages(self, packages: &[&str]) -> Play {
        Play { packages: packages.iter().map(|path| (*path).to_owned()).collect(), ..self }
    }

    /// Changes files in the client's metadata folder before the attack.
    #[must_use]
    pub fn tamper(self, change: impl Fn(&Path) + Send + Sync + 'static) -> Play {
        Play { tamper: Some(Arc::new(change)), ..self }
    }

    /// Serves `road`, as it is now, instead of the honest repository.
    #[must_use]
    pub fn attacker(self, road: &Road) -> Play {
        Play { attacker: road.fork(), ..self }
    }

    /// Answers every request of the attack on the wire.
    #[must_use]
    pub fn responder(self, responder: Arc<Responder>) -> Play {
        Play { responder: Some(responder), ..self }
    }

    /// Downloads `path` while the attacker is there.
    #[must_use]
    pub fn get(self, path: impl Into<String>) -> Play {
        Play { action: Action::Get(path.into()), ..self }
    }

    /// Must be refused for the fault `why` of `who`: a role, or else the target or file.
    #[must_use]
    pub fn refused(self, who: impl Into<String>, why: &'static str) -> Play {
        Play { expect: Expect::Refused(who.into(), why), ..self }
    }

    /// The roles whose new files pass all checks before the attack is noticed, and are kept.
    #[must_use]
    pub fn advances(self, roles: &[&str]) -> Play {
        Play { advances: roles.iter().map(|role| (*role).to_owned()).collect(), ..self }
    }

    /// Must be accepted without any change of the files that the client trusts.
    #[must_use]
    pub fn keeps_all(self) -> Play {
        Play { keeps_all: true, ..self }
    }

    /// What the attacker serves is odd in its form alone: whoever may sign it has signed it. A client that accepts it and still
    /// has the right packages at the right versions was not attacked.
    #[must_use]
    pub fn odd(self) -> Play {
        Play { is_odd: true, ..self }
    }

    /// What is honest here is odd itself, or needs what not every client supports: a client that does not follow it, before the
    /// attack or after it, was not attacked.
    #[must_use]
    pub fn honest_is_odd(self) -> Play {
        Play { honest_is_odd: true, ..self }
    }

    /// A client that does not refuse may have come to this honest state.
    #[must_use]
    pub fn may_have(mut self, road: &Road) -> Play {
        self.may_have.push(road.fork());
        self
    }

    /// What is on the road at last.
    #[must_use]
    pub fn honest(self, road: &Road) -> Play {
        Play { honest: road.fork(), ..self }
    }

    /// What the clock shows before, during and after the attack.
    #[must_use]
    pub fn clock(self, times: [&str; 3]) -> Play {
        Play { clock: times.map(time), outside: false, ..self }
    }

    /// The limits of the client in process.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Play {
        Play { limits, outside: false, ..self }
    }

    /// The network settings of the client in process, and how often it repeats what failed.
    #[must_use]
    pub fn http(self, http: HttpSettings, retries: u32) -> Play {
        let patience = RetryPolicy { retries, ..self.patience };
        Play { http: HttpSettings { proxy: ProxyChoice::Direct, ..http }, patience, outside: false, ..self }
    }

    /// How long and how often the client in process tries.
    #[must_use]
    pub fn patience(self, patience: RetryPolicy) -> Play {
        Play { patience, outside: false, ..self }
    }

    /// The most bytes that may be sent in one run.
    #[must_use]
    pub fn most_bytes(self, most_bytes: u64) -> Play {
        Play { most_bytes, ..self }
    }

    /// Is not run against other clients, for they may rightly behave in another way.
    #[must_use]
    pub fn ours_alone(self) -> Play {
        Play { outside: false, ..self }
    }

    /// Whether it can be told from outside.
    #[must_use]
    pub fn is_for_others(&self) -> bool {
        self.outside
    }

    /// Whether an attack is to be refused, rather than something odd to be accepted.
    #[must_use]
    pub fn is_attack(&self) -> bool {
        matches!(self.expect, Expect::Refused(..))
    }
}
