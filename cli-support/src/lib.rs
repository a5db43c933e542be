#![doc = include_str!("../README.md")]

#[cfg(feature = "program")]
mod descriptors;
#[cfg(feature = "program")]
mod exit_status;
#[cfg(feature = "program")]
mod failure;
#[cfg(feature = "program")]
mod output;
#[cfg(feature = "program")]
mod progress;
#[cfg(feature = "program")]
pub mod scope;
pub mod text;
#[cfg(feature = "program")]
mod usage;
#[cfg(feature = "program")]
mod world;

#[cfg(feature = "program")]
pub use descriptors::spare_descriptors;
#[cfg(feature = "program")]
pub use exit_status::{ExitStatus, MonitorState};
#[cfg(feature = "program")]
pub use failure::Failure;
#[cfg(feature = "program")]
pub use output::{Output, OutputOptions, StdoutError};
#[cfg(feature = "program")]
pub use usage::usage;
#[cfg(feature = "program")]
pub use world::{AskSecret, Captured, Environment, Wait, World};
