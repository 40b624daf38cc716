//! Compiles our own proto files by protox; no installed `protoc` is needed for them.

use std::error::Error;

/// What is compiled: our own control API, and the one message of runc's shim that containerd-client leaves out.
const PROTOS: [&str; 2] = ["proto/podward/v1/control.proto", "proto/runc.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
