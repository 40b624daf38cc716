//! Mounting a snapshot of containerd: for a moment to read in it, or read-only at a place of ours.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::chdir;

use crate::pod::image::MountPoint;

use super::mounts::table;

/// Where a snapshot is mounted in a passing namespace; any directory that every machine has.
const PASSING: &str = "/proc";

/// Mounts a snapshot read-only in a mount namespace that ends with the thread that made it, and works on its root:
/// nothing is ever left mounted.
pub fn read<T: Send + 'static>(
    mounts: &[MountPoint],
    work: impl FnOnce(&OwnedFd) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let mounts = mounts.to_vec();
    on_own_thread(CloneFlags::CLONE_NEWNS, move || {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        for point in &mounts {
            mount_read_only(point, Path::new(PASSING))?;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        work(&open(PASSING, flags, Mode::empty())?)
    })
}

/// Mounts a snapshot read-only at a directory, unless something is mounted there: the agent that did it may have died.
pub fn mount_at(mounts: &[MountPoint], target: &Path) -> io::Result<()> {
    if table()?.iter().any(|entry| entry.point == target) {
        return Ok(());
    }
    let (mounts, target) = (mounts.to_vec(), target.to_owned());
    on_own_thread(CloneFlags::CLONE_FS, move || {
        mounts.iter().try_for_each(|point| mount_read_only(point, &target))
    })
}

/// Works on a thread that shares less with the process than others do.
fn on_own_thread<T: Send + 'static>(
    apart: CloneFlags,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let thread = thread::Builder::new().name("snapshot".into()).stack_size(256 << 10);
    let thread = thread.spawn(move || {
        unshare(apart)?;
        work()
    })?;
    thread.join().map_err(|_| io::Error::other("the thread that mounts a snapshot panicked"))?
}

/// Mounts one mount of a snapshot for reading.
fn mount_read_only(point: &MountPoint, base: &Path) -> io::Result<()> {
    let target = match point.target.trim_start_matches('/') {
        "" => base.to_owned(),
        below => base.join(below),
    };
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if matches!(point.kind.as_str(), "bind" | "rbind") {
        let source = Some(point.source.as_str());
        mount(source, &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        // The kernel takes no flags together with a new bind mount.
        let flags = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
        return Ok(mount(None::<&str>, &target, None::<&str>, flags, None::<&str>)?);
    }
    let data = if point.kind == "overlay" { overlay_data(&point.options)? } else { data(point) };
    let kind = Some(point.kind.as_str());
    let data = Some(data.as_str());
    Ok(mount(Some(point.source.as_str()), &target, kind, flags, data)?)
}

/// The options that are data: flags are set by us.
fn data(point: &MountPoint) -> String {
    let flags = ["ro", "rw", "nosuid", "nodev", "noexec", "relatime", "noatime"];
    let data = point.options.iter().filter(|option| !flags.contains(&option.as_str()));
    data.map(String::as_str).collect::<Vec<_>>().join(",")
}

/// An overlay's options without its upper and work directories: the upper one becomes the topmost lower one, so
/// that nothing is claimed that a running container holds. The kernel takes one page of options, so long lists
/// are made relative to the directory that all layers share.
fn overlay_data(options: &[String]) -> io::Result<String> {
    let option = |name: &str| options.iter().find_map(|o| o.strip_prefix(name));
    let lower = option("lowerdir=").unwrap_or_default();
    let mut list: Vec<&str> = option("upperdir=").into_iter().collect();
    list.extend(lower.split(':').filter(|layer| !layer.is_empty()));
    if lower.contains('\\') {
        return Ok(format!("lowerdir={}", list.join(":")));
    }
    let shared = shared_parent(&list);
    chdir(&shared)?;
    let relative = list.iter().map(|layer| {
        let path = Path::new(layer);
        path.strip_prefix(&shared).unwrap_or(path).to_string_lossy().into_owned()
    });
    Ok(format!("lowerdir={}", relative.collect::<Vec<_>>().join(":")))
}

/// The longest directory that all paths lie in.
fn shared_parent(paths: &[&str]) -> PathBuf {
    let mut shared =
        paths.first().and_then(|path| Path::new(path).parent()).unwrap_or(Path::new("/"));
    while !paths.iter().all(|path| Path::new(path).starts_with(shared) && Path::new(path) != shared)
    {
        match shared.parent() {
            Some(parent) => shared = parent,
            None => break,
        }
    }
    shared.to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::removal::remove_tree;
    use crate::host::tests::as_root;

    #[test]
    fn a_snapshot_is_mounted_once_and_cannot_be_written() {
        if !as_root("a_snapshot_is_mounted_once_and_cannot_be_written") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap();
        for name in ["lower", "upper", "pod/single", "pod/several"] {
            fs::create_dir_all(base.join(name)).unwrap();
        }
        fs::write(base.join("lower/a"), "a").unwrap();
        fs::write(base.join("upper/b"), "b").unwrap();
        let at = |name: &str| base.join(name).display().to_string();
        let single = MountPoint {
            kind: "bind".into(),
            source: at("lower"),
            options: vec!["ro".into(), "rbind".into()],
            ..MountPoint::default()
        };
        let several = MountPoint {
            kind: "overlay".into(),
            source: "overlay".into(),
            options: vec![format!("lowerdir={}:{}", at("upper"), at("lower"))],
            ..MountPoint::default()
        };
        for _ in 0..2 {
            mount_at(std::slice::from_ref(&single), &base.join("pod/single")).unwrap();
            mount_at(std::slice::from_ref(&several), &base.join("pod/several")).unwrap();
        }
        let count = table().unwrap().iter().filter(|e| e.point.starts_with(&base)).count();
        let read = fs::read_to_string(base.join("pod/several/a"));
        let writes = ["pod/single/new", "pod/several/new"].map(|n| fs::write(base.join(n), "x"));
        remove_tree(&base.join("pod")).unwrap();
        assert_eq!((count, read.unwrap().as_str()), (2, "a"));
        assert!(writes.iter().all(Result::is_err));
        assert!(base.join("lower/a").exists());
    }
}
