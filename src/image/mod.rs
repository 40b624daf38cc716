//! Floor 4: images as values: references, documents, registries' hosts, credentials, policy, progress, what to collect.

pub mod challenge;
pub mod collect;
pub mod cosign;
pub mod credentials;
pub mod documents;
pub mod hosts;
pub mod pattern;
pub mod policy;
pub mod progress;
pub mod providers;
pub mod reference;
