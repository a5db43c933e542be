//! A random adversary, which generates long histories of a client, an honest repository and an attacker, and compares
//! the client with a model.
//!
//! In a history, keys of any role are stolen, files are withheld, replayed and mixed, keys are rotated and revoked,
//! clocks are wrong, and the client crashes. The client must do exactly the same as the model.
//!
//! Roles sign policies, which the attacker removes or replaces, and packages have evidence, which the attacker withholds,
//! takes from another package, or signs with stolen keys. The client must also judge each package like the model. In addition:
//!
//! * all trusted metadata must have enough signatures by the right keys and must not have expired;
//! * no trusted version may decrease, unless the timestamp or snapshot keys were replaced (specification 5.3.11);
//! * an error or a crash must never make the client's state worse;
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
