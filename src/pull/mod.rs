//! Floor 8: images out of registries into containerd.

mod error;
mod hosts_dir;
mod logins;
mod programs;
mod puller;
mod registry;
mod registry_host;
mod registry_token;
mod transfer;
mod verify;

pub use error::PullError;
pub use logins::{Found, LoginSettings, Logins};
pub use puller::{Pulled, Puller, Request, Settings};
