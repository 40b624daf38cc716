//! The whole binary against a real, private containerd: one module per promise, one test per behaviour.

mod harness;
mod support;
