//! Floor 7: what runs containers.

pub mod containerd;
