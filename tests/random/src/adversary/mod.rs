//! A random adversary. This module generates random histories, in which a client, an honest repository and an attacker
//! act. It checks that the client always does the same as a model of the client.
//!
//! In a history, keys of any role are stolen, files are withheld, replayed and mixed, keys are rotated and revoked,
//! clocks are wrong, and the client crashes.
//!
//! Targets roles contain policies, which say what evidence a package needs. The attacker removes or replaces policies.
//! The attacker also withholds evidence, takes it from another package, or signs it with stolen keys. The client and
//! the model must agree on whether each package may be installed. In addition:
//!
//! * every trusted root must be signed with enough of its own keys and of the keys of the previous root;
//! * the other trusted top-level roles must be signed with enough of the keys that the newest trusted root lists;
//! * no trusted top-level role may have expired;
//! * no trusted version may decrease, unless the timestamp or snapshot keys were replaced (TUF specification 5.3.11);
//! * after a crash, the file of each top-level role in the client's store must have its old or its new content, unless
//!   a key rotation removes the file;
//! * once the network is honest, the stolen keys are replaced and the clock is right, one run must bring the client up
//!   to date, unless the client trusts a root from the attacker.

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
