//! Floor 3: one pod's life and its containers' content, decided from facts; nothing here does anything.

pub mod action;
pub mod adopt;
pub mod capabilities;
pub mod command;
pub mod containers;
pub mod dns;
pub mod downward;
pub mod environment;
pub mod fault;
pub mod image;
pub mod machine;
pub mod mounts;
pub mod oci;
pub mod payload;
pub mod qos;
pub mod record;
pub mod resources;
pub mod sandbox;
pub mod security;
pub mod status;
pub mod stopping;
pub mod user;
pub mod values;

#[cfg(test)]
mod tests;
