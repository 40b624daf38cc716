//! The integration tests: one binary, one module per subject.

mod containerd;
mod daemon;
mod images;
mod logger;
