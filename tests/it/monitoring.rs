//! Tests of `lastmile-repo status` for monitoring. Servers, caches and mirrors on loopback serve a repository that
//! `lastmile-repo` made. Each report is read by the program for which it is made, or by a parser of that program.

mod listen;
mod notify;
mod outputs;
mod served;
mod site;
