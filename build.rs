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
    leave_out_unwind_tables();
    Ok(())
}

/// Has the linker leave out what only unwinding needs, where nothing unwinds: in the static release binary.
fn leave_out_unwind_tables() {
    const SCRIPT: &str = "packaging/no-unwind-tables.ld";
    println!("cargo::rerun-if-changed={SCRIPT}");
    let is = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    // (The panic strategy is not told here; both profiles that count as release abort.)
    if is("CARGO_CFG_TARGET_ENV", "musl") && is("PROFILE", "release") {
        let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{root}/{SCRIPT}");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}
