//! Tests of `lastmile-repo status` for monitoring. Servers, caches and mirrors on loopback serve a repository that
//! `lastmile-repo` made. The tests read each report with the program for which it is meant.

mod listen;
mod notify;
mod outputs;
mod served;
mod site;
