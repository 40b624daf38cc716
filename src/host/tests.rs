//! What the tests of this floor share, and one test of the whole with a real runtime.

mod runc;

/// Whether this test may use the kernel as root; says aloud when it is skipped.
pub fn as_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {test}: needs root");
    }
    root
}
