//! Where logs lie: `<root>/<namespace>_<pod>_<uid>/<container>/<attempt>.log`, and the links beside them that
//! log shippers follow.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::base::{
    ids::{ContainerId, PodUid},
    keyed::distinct,
};

/// The longest name of a link without its ending: file systems take 255 bytes in all.
const LINK_BASE: usize = 251;

/// A failed operation on log directories.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub struct LogDirError {
    /// What was tried.
    operation: &'static str,
    /// On what.
    path: PathBuf,
    /// Why it failed.
    #[source]
    source: io::Error,
}

/// Whose log a link leads to.
#[derive(Debug, Clone, Copy)]
pub struct LogOwner<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub pod: &'a str,
    /// The container's name in the pod.
    pub container: &'a str,
    /// The id of this run of it.
    pub id: &'a ContainerId,
}

/// The directory of a pod's logs.
pub fn pod_log_dir(root: &Path, namespace: &str, pod: &str, uid: &PodUid) -> PathBuf {
    root.join(format!("{namespace}_{pod}_{uid}"))
}

/// The log of one attempt at a container.
pub fn log_path(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_dir.join(container).join(format!("{attempt}.log"))
}

/// Makes the directory of a container's logs and returns it.
pub fn create(pod_dir: &Path, container: &str) -> Result<PathBuf, LogDirError> {
    let path = pod_dir.join(container);
    let made = DirBuilder::new().recursive(true).mode(0o755).create(&path);
    made.map_err(|source| LogDirError {
        operation: "create log directory",
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// Makes the empty log of an attempt: one that says nothing has a log all the same. A full disk keeps no container from
/// starting, and the logger makes what is missing when there is something to write.
pub fn begin(log: &Path) {
    let _ = OpenOptions::new().append(true).create(true).mode(0o640).open(log);
}

/// Makes the link to a container's log, and replaces one that leads elsewhere.
pub fn link(links: &Path, owner: LogOwner<'_>, log: &Path) -> Result<(), LogDirError> {
    let path = links.join(link_name(owner));
    let failed = |source| LogDirError { operation: "link log", path: path.clone(), source };
    DirBuilder::new().recursive(true).mode(0o755).create(links).map_err(failed)?;
    match symlink(log, &path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(&path).and_then(|()| symlink(log, &path)).map_err(failed)
        }
        outcome => outcome.map_err(failed),
    }
}

/// Removes the logs of all attempts but the last `keep`, and the links that led to them.
pub fn prune(
    links: &Path,
    pod_dir: &Path,
    container: &str,
    keep: usize,
) -> Result<(), LogDirError> {
    let directory = pod_dir.join(container);
    let attempts = attempts(&directory)?;
    let old: BTreeSet<u32> = distinct(attempts.iter().copied().rev().skip(keep));
    if old.is_empty() {
        return Ok(());
    }
    for path in list(&directory)? {
        if attempt_of(&path).is_some_and(|attempt| old.contains(&attempt)) {
            remove(&path, |path| fs::remove_file(path))?;
        }
    }
    remove_dangling(links, &directory)
}

/// Removes a pod's logs and the links that lead to them; missing ones are success.
pub fn remove_pod(links: &Path, pod_dir: &Path) -> Result<(), LogDirError> {
    remove(pod_dir, |path| fs::remove_dir_all(path))?;
    remove_dangling(links, pod_dir)
}

/// Removes the links that lead to nothing below `target`.
fn remove_dangling(links: &Path, target: &Path) -> Result<(), LogDirError> {
    for link in list(links)? {
        let dangles = fs::read_link(&link).is_ok_and(|to| to.starts_with(target) && !to.exists());
        if dangles {
            remove(&link, |link| fs::remove_file(link))?;
        }
    }
    Ok(())
}

/// The attempts that have logs, in order.
fn attempts(directory: &Path) -> Result<BTreeSet<u32>, LogDirError> {
    Ok(list(directory)?.iter().filter_map(|path| attempt_of(path)).collect())
}

/// The attempt that a log belongs to: `3.log` and `3.log.<time>` to the third.
fn attempt_of(path: &Path) -> Option<u32> {
    let (number, rest) = path.file_name()?.to_str()?.split_once('.')?;
    (rest == "log" || rest.starts_with("log.")).then(|| number.parse().ok()).flatten()
}

/// A link's name, cut to what file systems take.
fn link_name(owner: LogOwner<'_>) -> String {
    let LogOwner { namespace, pod, container, id } = owner;
    let mut base = format!("{pod}_{namespace}_{container}-{id}");
    base.truncate(base.floor_char_boundary(LINK_BASE));
    base + ".log"
}

/// The entries of a directory; none when it is missing.
fn list(directory: &Path) -> Result<Vec<PathBuf>, LogDirError> {
    let entries = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
    };
    match entries() {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(LogDirError { operation: "read", path: directory.to_owned(), source })
        }
        outcome => Ok(outcome.unwrap_or_default()),
    }
}

/// Removes something; a missing thing is success.
fn remove(path: &Path, remove: impl Fn(&Path) -> io::Result<()>) -> Result<(), LogDirError> {
    match remove(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(LogDirError { operation: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(id: &ContainerId) -> LogOwner<'_> {
        LogOwner { namespace: "kube-system", pod: "agent-x", container: "main", id }
    }

    #[test]
    fn logs_lie_where_shippers_look() {
        let directory = tempfile::tempdir().unwrap();
        let links = directory.path().join("containers");
        let pod = pod_log_dir(directory.path(), "kube-system", "agent-x", &PodUid::new("0b6e"));
        assert!(pod.ends_with("kube-system_agent-x_0b6e"));
        create(&pod, "main").unwrap();
        let log = log_path(&pod, "main", 0);
        fs::write(&log, "").unwrap();
        let id = ContainerId::new("f".repeat(64));
        for _ in 0..2 {
            link(&links, owner(&id), &log).unwrap();
        }
        let name = format!("agent-x_kube-system_main-{id}.log");
        assert_eq!(fs::read_link(links.join(&name)).unwrap(), log);
        symlink("/elsewhere", links.join("stranger.log")).unwrap();
        for _ in 0..2 {
            remove_pod(&links, &pod).unwrap();
        }
        let left: Vec<PathBuf> = list(&links).unwrap();
        assert_eq!(left, [links.join("stranger.log")]);
    }

    #[test]
    fn a_long_name_is_cut_to_what_file_systems_take() {
        let id = ContainerId::new("f".repeat(64));
        let pod = "p".repeat(300);
        let name = link_name(LogOwner { pod: &pod, ..owner(&id) });
        assert_eq!((name.len(), &name[251..]), (255, ".log"));
    }

    #[test]
    fn the_logs_of_old_attempts_go() {
        let directory = tempfile::tempdir().unwrap();
        let (links, pod) = (directory.path().join("links"), directory.path().join("pod"));
        let logs = create(&pod, "main").unwrap();
        for name in ["0.log", "2.log.20260101-000000", "9.log", "10.log", "notes.txt", "11.txt"] {
            fs::write(logs.join(name), "").unwrap();
        }
        prune(&links, &pod, "main", 2).unwrap();
        let mut left = list(&logs).unwrap();
        left.sort_unstable();
        assert_eq!(left, ["10.log", "11.txt", "9.log", "notes.txt"].map(|name| logs.join(name)));
    }
}
