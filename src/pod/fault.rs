//! Why a container could not be started, in the words that Kubernetes shows.

/// Kubernetes' reason for a container whose configuration cannot be made into a process.
pub const CONFIG_ERROR: &str = "CreateContainerConfigError";

/// Kubernetes' reason for a container that the runtime could not be asked to create.
pub const CREATE_ERROR: &str = "CreateContainerError";

/// Kubernetes' reason for an image that could not be pulled just now.
pub const PULL_ERROR: &str = "ErrImagePull";

/// Kubernetes' reason for an image that waits to be pulled again.
pub const PULL_BACK_OFF: &str = "ImagePullBackOff";

/// Our own reason for an image that was there and is gone; it is pulled again at once, so that nobody gets to see it.
pub const IMAGE_GONE: &str = "ImageGone";

/// A container that cannot start, with the reason that its `waiting` state shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StartFault {
    /// The waiting state's reason, such as `CreateContainerConfigError`.
    pub reason: &'static str,
    /// What is wrong and what would mend it.
    pub message: String,
}

impl StartFault {
    /// A fault of what the operator configured.
    pub fn config(message: impl Into<String>) -> Self {
        Self { reason: CONFIG_ERROR, message: message.into() }
    }

    /// A fault that shows when the container is put together.
    pub fn create(message: impl Into<String>) -> Self {
        Self { reason: CREATE_ERROR, message: message.into() }
    }
}
