//! A random adversary: client, honest repository and thief go through long histories, beside a reference that says what
//! may be trusted.
//!
//! Whatever happens — keys of each role stolen below and at their threshold, files withheld, replayed and mixed, keys
//! rotated and revoked, clocks moved, crashes — the real client does exactly what the reference says, and besides:
//!
//! * a threshold of the right keys vouched for everything that is trusted, and it has not expired;
//! * no trusted version ever sinks, unless timestamp or snapshot were given new keys (spec 5.3.11);
//! * what is kept is never worse after an error or a crash;
//! * when the network is honest and what was stolen is replaced, one run brings the client up to date.

mod attacks;
mod fixture;
mod history;
mod honest;
mod model;
mod paper;
mod play;
mod stage;

pub use fixture::{published, resigned};
pub use history::{Chance, History};
pub use paper::day;
