//! Compiles our own proto files by protox; no installed `protoc` is needed for them.

use std::error::Error;

const PROTOS: [&str; 2] = ["proto/podward/v1/control.proto", "proto/runc.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo::rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
