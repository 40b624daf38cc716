//! Names of things as types, so that a pod's uid never lands where a container's id belongs.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Declares a name type over `String`.
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a text that its source has checked already.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id_type! {
    /// The name of this host among its peers.
    NodeName
}
id_type! {
    /// The identity of one pod for as long as it lives.
    PodUid
}
id_type! {
    /// The identity of a pod template: equal templates have equal hashes.
    TemplateHash
}
id_type! {
    /// containerd's id of one run of one container; also its snapshot's key.
    ContainerId
}

id_type! {
    /// containerd's id of one command in a container, beside the container's own process.
    ExecId
}

impl ContainerId {
    /// The id of one attempt at a container: the same inputs give the same id, so that a start that
    /// was interrupted is found again. Log shippers expect 64 hexadecimal digits.
    pub fn of(pod: &PodUid, container: &str, attempt: u32) -> Self {
        Self(hex(&Sha256::digest(format!("{pod}/{container}/{attempt}"))))
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A set: one DaemonSet, by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetKey {
    /// The namespace; `default` when the document names none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl SetKey {
    /// A key from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for SetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_id_is_what_log_shippers_expect() {
        let id = ContainerId::of(&PodUid::new("0b6e"), "main", 0);
        assert_eq!(id.as_str().len(), 64);
        assert!(id.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn each_attempt_has_an_id_of_its_own_and_keeps_it() {
        let pod = PodUid::new("0b6e");
        assert_eq!(ContainerId::of(&pod, "main", 1), ContainerId::of(&pod, "main", 1));
        assert_ne!(ContainerId::of(&pod, "main", 1), ContainerId::of(&pod, "main", 2));
    }
}
