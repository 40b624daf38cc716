//! The kernel's table of mounts, and unmounting all of it below a directory.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::base::errors::Errors;

/// How often the table is read anew until nothing is mounted any more: what propagates may come in late.
const ROUNDS: usize = 4;

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Where it is mounted.
    pub point: PathBuf,
    /// The file system's type.
    pub kind: String,
    /// The file system's own options.
    pub options: Vec<String>,
    /// Whether mounts made here are seen by peers.
    pub shared: bool,
}

/// The mounts that this process sees, in the order in which they were made.
pub fn table() -> io::Result<Vec<MountEntry>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// Reads the lines of a mountinfo file.
fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n').filter_map(entry).collect()
}

/// Reads one line: ids, root, mount point, options, optional fields, a dash, type, source, options.
fn entry(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = fields.nth(4)?;
    let _options = fields.next()?;
    let optional: Vec<&[u8]> = fields.by_ref().take_while(|field| *field != b"-").collect();
    let kind = fields.next()?;
    let _source = fields.next()?;
    let options = String::from_utf8_lossy(fields.next()?);
    Some(MountEntry {
        point: PathBuf::from(OsString::from_vec(unescape(point))),
        kind: String::from_utf8_lossy(kind).into_owned(),
        options: options.split(',').map(Into::into).collect(),
        shared: optional.iter().any(|field| field.starts_with(b"shared:")),
    })
}

/// Undoes the kernel's `\ooo` for space, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| first == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        if let Some(byte) = code {
            out.push(byte);
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

/// Unmounts everything at and below a directory, the deepest first. What is busy is detached: nothing new can
/// reach it, and it ends with its last user. The path must be free of symlinks, as the kernel's table is.
pub fn unmount_below(dir: &Path, errors: &mut Errors) {
    for round in 0..ROUNDS {
        let Some(mut found) = errors.note("read the table of mounts", table()) else {
            return;
        };
        found.retain(|entry| entry.point.starts_with(dir));
        if found.is_empty() {
            return;
        }
        // Later mounts lie over earlier ones at the same point: the newest goes first.
        found.reverse();
        found.sort_by_key(|entry| std::cmp::Reverse(entry.point.components().count()));
        for entry in found.iter().filter(|entry| entry.shared) {
            // What is undone below a peer of another mount would be undone below that as well. One that is gone
            // already needs nothing.
            let _ =
                mount(None::<&str>, &entry.point, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>);
        }
        for entry in found {
            let result = unmount(&entry.point);
            if round + 1 == ROUNDS {
                errors.note(&format!("unmount {}", entry.point.display()), result);
            }
        }
    }
}

/// Unmounts one mount; one that is gone already is fine.
pub fn unmount(point: &Path) -> Result<(), Errno> {
    match umount2(point, MntFlags::UMOUNT_NOFOLLOW) {
        Err(Errno::EBUSY) => umount2(point, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH),
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// The mount that a path without symlinks lies on.
pub fn mount_of<'a>(table: &'a [MountEntry], path: &Path) -> Option<&'a MountEntry> {
    let holders = table.iter().filter(|entry| path.starts_with(&entry.point));
    // The last of the longest: it lies over the others.
    holders.max_by_key(|entry| entry.point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
        40 27 0:40 / /mnt/with\\040space\\134x rw shared:7 master:2 - tmpfs none rw,size=4k\n\
        41 27 0:41 / /mnt rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n\
        42 27 0:42 / /mnt rw - overlay over rw\n\
        short line\n";

    #[test]
    fn the_table_is_read_with_its_escapes_and_optional_fields() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 4);
        assert_eq!(table[1].point, Path::new("/mnt/with space\\x"));
        assert_eq!(
            table.iter().map(|entry| entry.shared).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!((table[2].kind.as_str(), table[2].options[1].as_str()), ("cgroup", "cpu"));
    }

    #[test]
    fn a_path_lies_on_the_uppermost_of_the_longest_mounts() {
        let table = parse(TABLE);
        for (path, kind) in [
            ("/etc", "ext4"),
            ("/mnt", "overlay"),
            ("/mnt/a", "overlay"),
            ("/mnt/with space\\x/y", "tmpfs"),
            ("/mntx", "ext4"),
        ] {
            assert_eq!(mount_of(&table, Path::new(path)).unwrap().kind, kind, "{path}");
        }
    }
}
