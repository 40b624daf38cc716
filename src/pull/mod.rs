//! Floor 8: images out of registries into containerd.

mod error;
mod fetch;
mod hosts_dir;
mod logins;
mod programs;
mod puller;
mod registry;
mod registry_host;
mod registry_token;
mod resolve;
mod transfer;
mod verify;

pub use error::PullError;
pub use logins::LoginSettings;
pub use puller::{Pulled, Puller, Request, Settings};
#[cfg(feature = "testing")]
pub use transfer::{Wanted, transfer};
pub use verify::{SIGNED, mark};
