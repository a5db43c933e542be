//! A random adversary: long histories of a client, an honest repository and an attacker, compared with a model of the client.
//!
//! In a history, keys of each role are stolen (a threshold or fewer), files are withheld, replayed and mixed, keys are rotated and
//! revoked, clocks are wrong, and the client crashes. The client must do exactly what the model does. Also:
//!
//! * everything that the client trusts is signed by a threshold of the right keys and has not expired;
//! * no trusted version decreases, unless timestamp or snapshot got new keys (spec 5.3.11);
//! * an error or a crash never makes the client's state worse;
//! * once the network is honest and the stolen keys are replaced, one run brings the client up to date.

mod attacks;
mod fixture;
mod history;
mod honest;
mod ledger;
mod model;
mod simulation;
mod stage;

pub use fixture::{published, resigned};
pub use history::{Chance, History};
pub use ledger::day;
