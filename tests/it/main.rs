//! The whole binary against a real, private containerd: one module per promise, one test per behaviour.

mod bad_input;
mod cli;
mod content;
mod exec;
mod fields;
mod harness;
mod kill_loop;
mod lifecycle;
mod living;
mod manifests;
mod objects;
mod outliving;
mod peers;
mod probes;
mod process;
mod running;
mod seeing;
mod support;
mod vendors;
mod volumes;
mod whole;
