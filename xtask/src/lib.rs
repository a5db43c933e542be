//! Code that the project's commands share with the benches in `tests/bench`: setup, starting programs, and printing.

pub mod command;
mod debian;
pub mod say;
pub mod setup;
