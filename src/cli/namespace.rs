//! `-n` and `-A`, as several commands take them.

use clap::Args;

/// Which namespaces a command looks at.
#[derive(Debug, Clone, Default, Args)]
pub struct Namespace {
    /// The namespace [default: default]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long = "all-namespaces", conflicts_with = "namespace")]
    pub all: bool,
}

/// The namespace of a command that looks at one.
#[derive(Debug, Clone, Default, Args)]
pub struct OneNamespace {
    /// The namespace
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
}

impl Namespace {
    /// The only namespace, unless all are meant.
    pub fn only(&self) -> Option<&str> {
        (!self.all).then(|| self.namespace.as_deref().unwrap_or("default"))
    }
}
