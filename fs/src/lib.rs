#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!("lastmile-fs needs a Unix system: it opens files without following links");

mod access;
pub mod disk;
#[cfg(feature = "faults")]
pub mod faults;
pub mod named;
mod place;
mod read;

pub use access::{Access, Exposure};
pub use place::{Place, Syscall};
pub use read::read_at_most;
