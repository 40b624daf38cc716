//! What the tests of this floor share, and one test of the whole with a real runtime.

mod runc;

/// Says aloud that a test is skipped; where CI runs, everything must be there.
fn skip(test: &str, need: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test} needs {need}, and CI must have it");
    eprintln!("SKIPPED {test}: needs {need}");
}

/// Whether this test may use the kernel as root.
pub fn as_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skip(test, "root");
    }
    root
}
