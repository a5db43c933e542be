//! Tests of `lastmile-repo status` for monitoring: a repository that the tool made is served over HTTP on loopback, through
//! caches and mirrors, and the reports are read by the programs for which they are meant.

mod notify;
mod outputs;
mod served;
mod site;
