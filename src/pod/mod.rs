//! Floor 3: what one pod's containers are made of, as values: user, environment, command, mounts, limits, OCI spec.

pub mod capabilities;
pub mod command;
pub mod dns;
pub mod environment;
pub mod fault;
pub mod image;
pub mod mounts;
pub mod oci;
pub mod qos;
pub mod resources;
pub mod sandbox;
pub mod security;
pub mod user;
