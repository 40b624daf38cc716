//! What can go wrong with containerd, and the class by which callers decide what to do.

use std::{error::Error as StdError, fmt, path::PathBuf, time::Duration};

use tonic::{Code, Status};

use crate::base::errors::Errors;
use crate::image::reference::ReferenceError;

/// What a failure means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The thing is not there.
    Missing,
    /// The thing is there already.
    Exists,
    /// The daemon is away or does not answer: wait, then try again.
    Unavailable,
    /// The request itself is wrong; trying again changes nothing.
    Invalid,
    /// Anything else.
    Other,
}

/// A failed operation on containerd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call was answered by an error, or not at all.
    #[error("containerd: {operation} {subject}")]
    Call {
        /// What was tried.
        operation: &'static str,
        /// On what.
        subject: String,
        /// The answer.
        #[source]
        source: Refusal,
    },
    /// A call got no answer in time.
    #[error("containerd: {operation} {subject}: no answer within {}s", within.as_secs())]
    Silent {
        /// What was tried.
        operation: &'static str,
        /// On what.
        subject: String,
        /// How long the answer was waited for.
        within: Duration,
    },
    /// A setting that cannot be used.
    #[error("containerd.{field} {value:?}: {problem}")]
    Setting {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A daemon that cannot pull by itself as the operator wants it.
    #[error(
        "containerd.pull \"transfer\": this is containerd {version}, and its Transfer service serves from 2.0 on; set containerd.pull to client"
    )]
    TransferAbsent {
        /// Its version.
        version: String,
    },
    /// A text that names no image.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// An image that is there but cannot be used.
    #[error("image {reference}: {problem}")]
    BrokenImage {
        /// The reference that was asked for.
        reference: String,
        /// What is wrong.
        problem: String,
    },
    /// A blob whose bytes are not what its digest says.
    #[error("content {digest}: {problem}")]
    Corrupt {
        /// The blob.
        digest: String,
        /// What came instead.
        problem: String,
    },
    /// An image that could not be read or unpacked.
    #[error("image {reference}")]
    Image {
        /// The reference that was asked for.
        reference: String,
        /// The call that failed.
        #[source]
        source: Box<Error>,
    },
    /// An archive that cannot be imported.
    #[error("image archive {}: {problem}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// An archive that containerd would not take.
    #[error("image archive {}", path.display())]
    Import {
        /// The archive.
        path: PathBuf,
        /// The call that failed.
        #[source]
        source: Box<Error>,
    },
    /// A removal that left something behind.
    #[error("remove container {id}")]
    Teardown {
        /// The container.
        id: String,
        /// Whether the daemon went away meanwhile.
        class: Class,
        /// Each step that failed.
        #[source]
        source: Errors,
    },
}

impl Error {
    /// What the failure means to the caller.
    pub fn class(&self) -> Class {
        match self {
            Self::Call { source, .. } => source.class,
            Self::Silent { .. } => Class::Unavailable,
            Self::Setting { .. } | Self::TransferAbsent { .. } | Self::Reference(_) => {
                Class::Invalid
            }
            Self::BrokenImage { .. } | Self::Archive { .. } | Self::Corrupt { .. } => Class::Other,
            // A part that is missing does not make the whole thing missing.
            Self::Image { source, .. } | Self::Import { source, .. } => match source.class() {
                Class::Missing | Class::Exists => Class::Other,
                class @ (Class::Unavailable | Class::Invalid | Class::Other) => class,
            },
            Self::Teardown { class, .. } => *class,
        }
    }

    /// Whether the disk was full.
    pub fn disk_full(&self) -> bool {
        match self {
            Self::Image { source, .. } | Self::Import { source, .. } => source.disk_full(),
            other => other.says("no space left"),
        }
    }

    /// containerd's own words, where it answered.
    pub fn answer(&self) -> Option<&str> {
        match self {
            Self::Call { source, .. } if source.class != Class::Unavailable => {
                Some(&source.message)
            }
            _ => None,
        }
    }

    /// Whether the answer's text holds `part`: containerd gives some answers no code of their own.
    pub(super) fn says(&self, part: &str) -> bool {
        matches!(self, Self::Call { source, .. } if source.message.contains(part))
    }
}

/// containerd's answer to a call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means to the caller.
    class: Class,
    /// gRPC's name of the answer.
    code: Code,
    /// containerd's words, or the transport's.
    message: String,
}

impl Refusal {
    /// Reads a gRPC status.
    pub(super) fn of(status: &Status) -> Self {
        let mut message = status.message().to_owned();
        let mut source = status.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self { class: class_of(status), code: status.code(), message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class {
            Class::Unavailable => write!(f, "daemon not reachable: {}", self.message),
            Class::Missing | Class::Exists => f.write_str(&self.message),
            Class::Invalid | Class::Other => write!(f, "{} ({:?})", self.message, self.code),
        }
    }
}

impl StdError for Refusal {}

/// The class of a status. A status with a cause was made on this side of the socket: the connection
/// broke or was never there, whatever code tonic chose for it.
fn class_of(status: &Status) -> Class {
    if status.source().is_some() {
        return Class::Unavailable;
    }
    match status.code() {
        Code::NotFound => Class::Missing,
        Code::AlreadyExists => Class::Exists,
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => Class::Unavailable,
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => Class::Invalid,
        Code::Unknown | Code::Internal if status.message().starts_with("h2 protocol error") => {
            Class::Unavailable
        }
        _ => Class::Other,
    }
}
