//! Code that the project's commands and the benches in `tests/bench` share: setup, starting programs, and printing.

pub mod command;
mod debian;
pub mod say;
pub mod setup;
