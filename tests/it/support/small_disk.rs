//! A disk that is soon full, under one containerd.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use super::Host;

/// A file system of its own for a containerd's data.
#[derive(Debug)]
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of so many MiB.
    pub(crate) fn of(mebibytes: u32) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("podward-it-disk.").tempdir_in("/tmp")?;
        let size = format!("size={mebibytes}m");
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))?;
        Ok(Self(dir))
    }

    /// Has a containerd keep its data here from its next start on.
    pub(crate) fn serve(&self, host: &mut Host) -> Result<()> {
        host.containerd.kill()?;
        let config = host.path("containerd/config.toml");
        let text = fs::read_to_string(&config)?;
        let root = format!("root = \"{}\"", host.path("containerd/root").display());
        ensure!(text.contains(&root), "{text}");
        let here = format!("root = \"{}\"", self.0.path().join("root").display());
        fs::write(config, text.replace(&root, &here))?;
        host.containerd.start()
    }

    /// Where it is mounted.
    #[allow(dead_code, reason = "the fleet's tests look there, others do not")]
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes room away, or gives it back.
    pub(crate) fn fill(&self, mebibytes: usize) -> Result<()> {
        let filler = self.0.path().join("filler");
        if mebibytes == 0 {
            return Ok(fs::remove_file(filler)?);
        }
        Ok(fs::write(filler, vec![1; mebibytes << 20])?)
    }
}

impl SmallDisk {
    /// How many bytes are free.
    pub(crate) fn free(&self) -> Result<u64> {
        let disk = nix::sys::statvfs::statvfs(self.0.path())?;
        Ok(disk.blocks_available() * disk.fragment_size())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}
