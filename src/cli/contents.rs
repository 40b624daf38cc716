//! The contents of files that a person names, never more than is read of them, and why there are none.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::base::fault::Fault;
use crate::spec::{MAX_BYTES, too_large};

/// A file's name for people and its bytes; `-` is standard input.
pub fn of(path: &Path) -> Result<(String, Vec<u8>), Box<Fault>> {
    let (origin, bytes) = if path == Path::new("-") {
        ("standard input".to_owned(), limited(io::stdin().lock(), None))
    } else {
        let bytes = File::open(path).and_then(|file| {
            let metadata = file.metadata()?;
            limited(file, metadata.is_file().then_some(metadata.len()))
        });
        (path.display().to_string(), bytes)
    };
    match bytes {
        Ok(Ok(bytes)) => Ok((origin, bytes)),
        Ok(Err(size)) => Err(Box::new(too_large(&origin, size))),
        Err(error) => Err(Box::new(unreadable(&origin, &error))),
    }
}

/// The bytes of a file, or its size when it has too many; never more than the limit is held.
fn limited(file: impl Read, known: Option<u64>) -> io::Result<Result<Vec<u8>, u64>> {
    let limit = MAX_BYTES as u64;
    if let Some(size) = known.filter(|size| *size > limit) {
        return Ok(Err(size));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    Ok(if size > limit { Err(size) } else { Ok(bytes) })
}

/// The fault of a file that cannot be read.
pub fn unreadable(origin: &str, error: &io::Error) -> Fault {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "check the path; a symbolic link may point to nothing",
        io::ErrorKind::PermissionDenied => "run as root, or let this user read it",
        io::ErrorKind::NotADirectory => "check the path; a part of it is no directory",
        io::ErrorKind::IsADirectory => "name a file in it",
        // Too many levels of symbolic links; its kind is not stable yet.
        _ if error.raw_os_error() == Some(nix::libc::ELOOP) => {
            "its symbolic links lead in a circle; point them to a file"
        }
        _ => "check the disk and the file",
    };
    Fault::of_file(origin, format!("cannot be read: {error}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_without_end_only_the_limit_is_read() {
        let fault = of(Path::new("/dev/zero")).unwrap_err();
        assert!(fault.to_string().contains("at most 4194304 (4 MiB) are read"), "{fault}");
    }

    #[test]
    fn each_reason_for_an_unreadable_file_has_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::os::unix::fs::symlink(&a, &b).unwrap();
        std::os::unix::fs::symlink(&b, &a).unwrap();
        for (path, remedy) in [
            (a.as_path(), "its symbolic links lead in a circle"),
            (folder.path(), "name a file in it"),
            (Path::new("/nowhere"), "check the path"),
        ] {
            let fault = of(path).unwrap_err();
            assert!(fault.remedy.contains(remedy), "{fault}");
        }
    }
}
