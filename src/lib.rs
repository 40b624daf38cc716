//! podward runs Kubernetes DaemonSets on hosts that have no Kubernetes.
//!
//! The modules are floors: each may import lower ones only. ARCHITECTURE.md holds the table, and
//! `tests/tidy.rs` reads it from there. This file is the composition root: it hands the control socket,
//! which lives above the agent, down to it.

mod agent;
mod base;
mod cli;
mod config;
mod fleet;
mod host;
mod image;
mod net;
mod node;
mod plan;
mod pod;
mod pull;
mod rollout;
mod runtime;
mod serve;
mod source;
mod spec;
mod store;

use std::{process::ExitCode, sync::Arc};

use serve::{LogStream, ServeSettings};

/// The container logger, which containerd's shim starts as `podward log VALUE`.
pub mod logger {
    pub use crate::host::logger::run;
}

/// The first process of pods that share their processes, which runs as `podward hold`.
pub mod holder {
    pub use crate::host::holder::run;
}

/// What tests and benchmarks outside the crate may name.
#[cfg(feature = "testing")]
pub mod testing {
    pub use crate::agent::light;
    pub use crate::base::ids::{ContainerId, ExecId, NodeName, PodUid, SetKey, TemplateHash};
    pub use crate::base::time;
    pub use crate::host::{fifos, logger, logs};
    pub use crate::image::{
        credentials::Login, documents, hosts::Endpoint, progress, reference, reference::Reference,
    };
    pub use crate::node::{Node, eligibility};
    pub use crate::pod::image;
    pub use crate::pull::{
        LoginSettings, PullError, Pulled, Puller, Request, Settings as PullSettings, Wanted,
        transfer,
    };
    pub use crate::runtime::containerd;

    /// The shared store.
    pub mod store {
        pub use crate::store::*;
    }
    pub use crate::spec::{FieldValidation, Outcome, Set, read};
}

/// The command line's entry.
pub fn main() -> ExitCode {
    cli::main(|settings, handle, stopped| {
        let settings = ServeSettings {
            socket: settings.control_socket(),
            pod_logs: settings.paths.pod_logs.clone(),
            metrics: settings.metrics,
        };
        let read: LogStream =
            Arc::new(|request, out, ended| Box::pin(host::logs::stream(request, out, ended)));
        let stopping = async move {
            let mut stopped = stopped;
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let in_full = |error: serve::ServeError| base::errors::Chain(&error).to_string();
        let serving = serve::serve(settings, handle, read, stopping).map_err(in_full)?;
        Ok(Box::pin(async move { serving.await.map_err(in_full) }))
    })
}
