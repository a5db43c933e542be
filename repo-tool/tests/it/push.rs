//! Tests of `push` and `pull` with a folder as the destination.

mod directory;
mod interrupted;
mod killed;
mod machine;
mod merge;
mod pull;
mod replayed;
