//! The generated messages, client and server of `proto/podward/v1/control.proto`.

/// The generator's output, apart from the house's lints.
#[allow(
    clippy::pedantic,
    clippy::missing_docs_in_private_items,
    missing_debug_implementations,
    unused_qualifications,
    reason = "generated code"
)]
mod generated {
    tonic::include_proto!("podward.v1");
}

pub use generated::*;

/// The largest message either side reads: a host's pods and events with room to spare.
pub const MESSAGE_LIMIT: usize = 64 << 20;
