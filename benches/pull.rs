//! Pulling beside `ctr images pull`.
fn main() {}
