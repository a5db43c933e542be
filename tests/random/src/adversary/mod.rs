//! A random adversary. It generates random histories of a client, an honest repository and an attacker, and checks that
//! the client does exactly the same as a model.
//!
//! In a history, keys of any role are stolen, files are withheld, replayed and mixed, keys are rotated and revoked,
//! clocks are wrong, and the client crashes.
//!
//! Targets roles contain policies, which say what evidence a package needs. The attacker removes or replaces policies.
//! The attacker also withholds evidence, takes it from another package, or signs it with stolen keys. The client and
//! the model must agree on whether each package may be installed. In addition:
//!
//! * all trusted metadata must have enough signatures by the right keys and must not have expired;
//! * no trusted version may decrease, unless the timestamp or snapshot keys were replaced (TUF specification 5.3.11);
//! * after a crash, each file in the client's store must have its old or its new content, unless a key rotation removes
//!   the file;
//! * once the network is honest and the stolen keys are replaced, one run must bring the client up to date.

mod attacks;
mod fixture;
mod history;
mod honest;
mod ledger;
mod model;
mod policy;
mod simulation;
mod stage;

pub use fixture::{published, resigned};
pub use history::{Chance, History};
pub use ledger::day;
pub use simulation::Verdicts;
