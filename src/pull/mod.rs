//! Floor 8: images out of registries into containerd.

mod error;
mod puller;
mod registry;
mod transfer;

pub use error::PullError;
pub use puller::{Pulled, Puller, Request, Settings};
