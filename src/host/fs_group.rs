//! `fsGroup`: the group that may use a pod's own volumes.
//!
//! Assumption: nobody but the agent writes to what [`apply_below`] walks through. It is for volumes whose files the
//! agent makes, which no container may write to; an emptyDir is given its group while it is empty, by [`apply`].

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use k8s_openapi::api::core::v1::PodSpec;

/// What a volume's files are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Reading and writing.
    Write,
    /// Reading.
    #[allow(dead_code, reason = "for volumes whose files the agent writes")]
    Read,
}

/// The group that the pod's volumes belong to, when it names one.
pub fn of(spec: &PodSpec) -> Option<u32> {
    let group = spec.security_context.as_ref()?.fs_group?;
    // Validation keeps it within what the kernel takes.
    u32::try_from(group).ok()
}

/// Gives one file or directory to the group, and lets the group use it. A symlink has no mode of its own.
pub fn apply(path: &Path, group: u32, access: Use) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.gid() != group {
        lchown(path, None, Some(group))?;
    }
    if found.is_symlink() {
        return Ok(());
    }
    let mode = wanted_mode(&found, access);
    // A change of group clears bits, so the mode is set even where it was right.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[allow(dead_code, reason = "for volumes whose files the agent writes")]
/// The same for everything at and below a directory. Repeating it changes nothing.
pub fn apply_below(dir: &Path, group: u32, access: Use) -> io::Result<()> {
    apply(dir, group, access)?;
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            apply(&entry.path(), group, access)?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(())
}

/// The mode with what the group needs. What is made in a directory later belongs to the group too.
fn wanted_mode(found: &Metadata, access: Use) -> u32 {
    let bits = match access {
        Use::Write => 0o660,
        Use::Read => 0o440,
    };
    let dir = if found.is_dir() { 0o2110 } else { 0 };
    found.mode() & 0o7777 | bits | dir
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::host::tests::as_root;

    #[test]
    fn files_directories_and_links_get_what_the_group_needs() {
        if !as_root("files_directories_and_links_get_what_the_group_needs") {
            return;
        }
        for (access, dir_mode, file_mode, shut_mode) in
            [(Use::Read, 0o2755, 0o644, 0o440), (Use::Write, 0o2775, 0o664, 0o660)]
        {
            let dir = tempfile::tempdir().unwrap();
            let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
            fs::create_dir_all(volume.join("..data_1")).unwrap();
            fs::write(&outside, "x").unwrap();
            fs::write(volume.join("..data_1/open"), "x").unwrap();
            fs::write(volume.join("..data_1/shut"), "x").unwrap();
            symlink(&outside, volume.join("link")).unwrap();
            let set = |path: &Path, mode| {
                fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            };
            set(&volume, 0o755);
            set(&volume.join("..data_1"), 0o755);
            set(&volume.join("..data_1/open"), 0o644);
            set(&volume.join("..data_1/shut"), 0o400);
            for _ in 0..2 {
                apply_below(&volume, 4242, access).unwrap();
            }
            let look = |name: &str| {
                let found = fs::symlink_metadata(volume.join(name)).unwrap();
                (found.gid(), found.mode() & 0o7777)
            };
            assert_eq!(look(""), (4242, dir_mode));
            assert_eq!(look("..data_1"), (4242, dir_mode));
            assert_eq!(look("..data_1/open"), (4242, file_mode));
            assert_eq!(look("..data_1/shut"), (4242, shut_mode));
            assert_eq!(look("link").0, 4242);
            assert_ne!(fs::metadata(&outside).unwrap().gid(), 4242, "a link was followed");
        }
    }
}
