//! The whole binary against a real, private containerd: one module per promise, one test per behaviour.

mod bad_input;
mod cli;
mod exec;
mod harness;
mod kill_loop;
mod living;
mod outliving;
mod running;
mod seeing;
mod support;
