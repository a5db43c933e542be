//! Tests of `lastmile-repo status` for monitoring. Servers, caches and mirrors on loopback serve a repository that
//! `lastmile-repo` made. The tests read each report with the program that is meant to read the report.

mod listen;
mod notify;
mod outputs;
mod served;
mod site;
