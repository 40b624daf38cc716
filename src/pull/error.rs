//! Why an image could not be pulled: each error names the host, what was asked, and what would mend it.

use std::path::PathBuf;

use crate::image::reference::ReferenceError;
use crate::net;
use crate::runtime::containerd;

/// Why an image could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// A text that names no image.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// What the operator allows does not allow this image.
    #[error("image {image} is not allowed here: {why}")]
    Refused {
        /// The image.
        image: String,
        /// By what, and the remedy.
        why: String,
    },
    /// The image bears no signature that the operator asks for.
    #[error("image {image}: signature validation failed: {why}")]
    Signature {
        /// The image.
        image: String,
        /// Which keys, which digest, and what was found.
        why: String,
    },
    /// A file of the operator's that cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// The registry wants credentials, or other ones.
    #[error("{host}: {what}: {status}; give credentials by imagePullSecrets or images.authFile")]
    Unauthorized {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// The answer, and whether credentials were shown.
        status: String,
    },
    /// The registry has no such thing.
    #[error("{host}: {what}: not found")]
    Missing {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// The registry answered with something else than what was asked for.
    #[error("{host}: {what}: {problem}")]
    Answer {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// The answer.
        problem: String,
    },
    /// The registry could not be asked.
    #[error("{host}: {what}")]
    Network {
        /// The host.
        host: String,
        /// What was asked for.
        what: String,
        /// Why not.
        #[source]
        source: net::Error,
    },
    /// Bytes that are not what their digest says.
    #[error("{host}: {what}: its bytes are not what the digest says: {problem}")]
    Digest {
        /// The host.
        host: String,
        /// Which blob or manifest.
        what: String,
        /// The digests.
        problem: String,
    },
    /// The image is not one that this host can run.
    #[error("image {image}: {problem}")]
    Broken {
        /// The image.
        image: String,
        /// What is wrong.
        problem: String,
    },
    /// No host served it; the last error of each.
    #[error("no host of {registry} serves it: {errors}")]
    Hosts {
        /// The registry.
        registry: String,
        /// Each host's error.
        errors: String,
    },
    /// containerd would not take it.
    #[error(transparent)]
    Containerd(#[from] containerd::Error),
}

impl PullError {
    /// Kubernetes' reason for it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Reference(_) => "InvalidImageName",
            Self::Signature { .. } => "SignatureValidationFailed",
            _ => "ErrImagePull",
        }
    }

    /// Whether the disk was full.
    pub fn disk_full(&self) -> bool {
        matches!(self, Self::Containerd(error) if error.disk_full())
    }
}
