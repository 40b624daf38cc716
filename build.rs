//! Compiles our own proto files by protox; no installed `protoc` is needed for them.

use std::error::Error;

/// What is compiled: our own control API, the one message of runc's shim that containerd-client leaves out, and gRPC's
/// health service, which probes ask.
const PROTOS: [&str; 3] =
    ["proto/podward/v1/control.proto", "proto/runc.proto", "proto/health.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
