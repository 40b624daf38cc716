//! Who may pull what: docker's configuration files, and which of their entries fits an image.

use std::fmt;

/// What is shown to a registry. Its `Debug` hides it: secrets reach no log.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token with which the registry's token server is asked (docker's `identitytoken`).
    Identity(String),
    /// A token that is shown to the registry as it is (docker's `registrytoken`).
    Registry(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(hidden)",
            Self::Identity(_) => "Identity(hidden)",
            Self::Registry(_) => "Registry(hidden)",
        })
    }
}
