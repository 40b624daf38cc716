//! Floor 3: one pod's life and its containers' content, decided from facts; nothing here does anything.

pub mod action;
pub mod adopt;
pub mod apparmor;
pub mod capabilities;
pub mod cdi;
pub mod command;
pub mod confinement;
pub mod containers;
pub mod disk_limits;
pub mod dns;
pub mod downward;
mod effect;
pub mod environment;
pub mod fault;
mod health;
pub mod holder;
pub mod image;
pub mod init;
mod input;
pub mod machine;
pub mod mounts;
pub mod oci;
pub mod payload;
pub mod probes;
mod pulling;
pub mod qos;
pub mod record;
pub mod references;
pub mod resize;
pub mod resources;
pub mod restart;
pub mod sandbox;
pub mod seccomp;
pub mod security;
pub mod status;
pub mod stopping;
pub mod sub_paths;
pub mod termination;
pub mod user;
pub mod values;

#[cfg(test)]
mod tests;
