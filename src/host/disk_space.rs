//! How full the file system below a directory is: one question to the kernel.

use std::{io, path::Path};

use nix::sys::statvfs::statvfs;

use crate::image::collect::Disk;

/// How full the file system of `dir` is.
pub fn measure(dir: &Path) -> io::Result<Disk> {
    let found = statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Ok(Disk { capacity: bytes(found.blocks()), available: bytes(found.blocks_available()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_has_no_more_room_than_it_holds() {
        let disk = measure(Path::new("/")).unwrap();
        assert!(disk.capacity > 0 && disk.available <= disk.capacity, "{disk:?}");
        assert!(measure(Path::new("/no/such/place")).is_err());
    }
}
