//! Floor 8: images out of registries into containerd.

mod error;
mod hosts_dir;
mod puller;
mod registry;
mod registry_host;
mod registry_token;

pub use error::PullError;
pub use puller::{Pulled, Puller, Request, Settings};
