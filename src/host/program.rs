//! What this program needs to run where there is nothing but it: itself, and the libraries of a build that has some.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::pod::holder::Program;

/// This program, to be run with these arguments. A release needs its own file alone; of a development build the
/// loader and the libraries are found in what is mapped into this process, which is the same program.
pub fn own_program(exe: &Path, arguments: &[&str]) -> Program {
    program(exe, arguments, &fs::read_to_string("/proc/self/maps").unwrap_or_default())
}

/// The same from the table of mappings.
fn program(exe: &Path, arguments: &[&str], maps: &str) -> Program {
    let libraries: BTreeSet<PathBuf> = maps
        .lines()
        .filter_map(|line| Some(PathBuf::from(&line[line.find('/')?..])))
        .filter(|path| name(path).contains(".so") && !name(path).ends_with(" (deleted)"))
        .collect();
    let loader = libraries.iter().find(|path| name(path).starts_with("ld"));
    let mut args = Vec::new();
    if let Some(loader) = loader {
        let dirs: BTreeSet<&str> =
            libraries.iter().filter_map(|path| path.parent()?.to_str()).collect();
        let dirs = dirs.into_iter().collect::<Vec<_>>().join(":");
        args.extend([loader.to_string_lossy().into_owned(), "--library-path".into(), dirs]);
    }
    args.push(Program::PATH.into());
    args.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    let mut files = vec![(exe.to_owned(), PathBuf::from(Program::PATH))];
    if loader.is_some() {
        files.extend(libraries.iter().map(|path| (path.clone(), path.clone())));
    }
    Program { files, args }
}

/// The last part of a path.
fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_program_needs_itself_alone_and_another_its_libraries() {
        let exe = Path::new("/usr/bin/podward");
        let alone = program(
            exe,
            &["hold"],
            "55d-55e r-xp 0 fe:00 1  /usr/bin/podward\n7f-80 rw-p 0 0:0 0 [stack]\n",
        );
        assert_eq!(alone.files, [(exe.to_owned(), PathBuf::from("/podward"))]);
        assert_eq!(alone.args, ["/podward", "hold"]);

        let maps = "55d-55e r-xp 0 fe:00 1  /usr/bin/podward\n\
            7e-7f r--p 0 fe:00 2  /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7e-7f r-xp 0 fe:00 2  /usr/lib/x86_64-linux-gnu/libc.so.6\n\
            7f-80 r-xp 0 fe:00 3  /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n";
        let linked = program(exe, &["hold"], maps);
        assert_eq!(linked.files.len(), 3);
        let dir = "/usr/lib/x86_64-linux-gnu";
        let loader = format!("{dir}/ld-linux-x86-64.so.2");
        assert_eq!(linked.args, [&loader, "--library-path", dir, "/podward", "hold"]);
    }
}
