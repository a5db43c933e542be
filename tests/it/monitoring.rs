//! Tests of `lastmile-repo status` for monitoring. Servers, caches and mirrors on loopback serve a repository that
//! `lastmile-repo` made, and the programs for which the reports are meant read the reports.

mod notify;
mod outputs;
mod served;
mod site;
