//! The logger as containerd's shim starts it: a process with pipes on descriptors 3, 4 and 5.

use std::{
    fs,
    io::{Read as _, Write as _, pipe},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::Duration,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const EXE: &str = env!("CARGO_BIN_EXE_podward");

/// A running logger and the container's ends of its pipes.
struct Logger {
    child: Child,
    out: std::io::PipeWriter,
    err: std::io::PipeWriter,
}

impl Logger {
    /// Starts a logger and waits until it says that it is ready.
    fn start(value: &str) -> Self {
        let (out_read, out) = pipe().unwrap();
        let (err_read, err) = pipe().unwrap();
        let (mut ready, ready_write) = pipe().unwrap();
        // Descriptor 9 is one of those that leak in.
        let child = Command::new("sh")
            .args([
                "-c",
                "exec \"$0\" log \"$1\" 3<&0 4<&1 5>&2 9</ 0</dev/null 1>/dev/null 2>/dev/null",
            ])
            .args([EXE, value])
            .stdin(out_read)
            .stdout(err_read)
            .stderr(ready_write)
            .spawn()
            .unwrap();
        assert_eq!(ready.read(&mut [0]).unwrap(), 0, "closing descriptor 5 says ready");
        Self { child, out, err }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Ends both streams; the logger's success.
    fn finish(mut self) -> bool {
        drop((self.out, self.err));
        self.child.wait().unwrap().success()
    }
}

fn value(path: &Path, size: u64, files: u32) -> String {
    format!("{size}:{files}:{}", path.display())
}

/// The lines of a log as stream, tag and content.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .map(|line| {
            let (at, rest) = line.split_once(' ').unwrap();
            assert_eq!((at.len(), &at[10..11], &at[29..]), (30, "T", "Z"), "{line}");
            rest.to_owned()
        })
        .collect()
}

/// The live log and its rotated files, the oldest first.
fn files(live: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(live.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path != live)
        .collect();
    files.sort();
    files.push(live.to_owned());
    files
}

#[test]
fn both_streams_are_logged_with_binary_partial_and_long_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made/by the logger/0.log");
    let mut logger = Logger::start(&value(&path, 10 << 20, 5));
    logger.out.write_all(b"one\r\ntw").unwrap();
    logger.err.write_all(b"\x00\xff\xfe\n\n").unwrap();
    logger.out.write_all(b"o\n").unwrap();
    let long = "x".repeat(40_000);
    logger.out.write_all(format!("{long}\nlast, without an end").as_bytes()).unwrap();
    assert!(logger.finish());
    let lines = lines(&path);
    let (err, out): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| line.starts_with("stderr"));
    assert_eq!(err, ["stderr F \0\u{fffd}\u{fffd}", "stderr F "]);
    let cut = |from: usize, to: usize| &long[from..to];
    assert_eq!(
        out,
        [
            "stdout F one".to_owned(),
            "stdout F two".to_owned(),
            format!("stdout P {}", cut(0, 16384)),
            format!("stdout P {}", cut(16384, 32768)),
            format!("stdout F {}", cut(32768, 40000)),
            "stdout P last, without an end".to_owned(),
        ]
    );
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn signals_do_not_end_it_and_descriptors_that_leaked_in_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let mut logger = Logger::start(&value(&path, 10 << 20, 5));
    logger.out.write_all(b"before\n").unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        logger.signal(signal);
    }
    logger.out.write_all(b"after\n").unwrap();
    while !fs::read_to_string(&path).is_ok_and(|text| text.contains("after")) {
        assert_eq!(logger.child.try_wait().unwrap(), None, "the logger goes on");
        thread::sleep(Duration::from_millis(5));
    }
    let proc = format!("/proc/{}", logger.child.id());
    let open: Vec<String> = fs::read_dir(format!("{proc}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .collect();
    // The three standard ones, two pipes and the log.
    assert_eq!(open.len(), 6, "{open:?}");
    assert_eq!(open.iter().filter(|target| target.starts_with("pipe:")).count(), 2, "{open:?}");
    assert!(!open.contains(&"/".to_owned()), "{open:?}");
    assert_eq!(fs::read_link(format!("{proc}/cwd")).unwrap(), Path::new("/"));
    assert_eq!(fs::read_dir(format!("{proc}/task")).unwrap().count(), 1, "one thread");
    assert!(logger.finish());
    assert_eq!(lines(&path), ["stdout F before", "stdout F after"]);
}

#[test]
fn no_line_is_lost_over_rotations_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let logger = Logger::start(&value(&path, 1 << 20, 50));
    let Logger { child, out, err } = logger;
    let writers: Vec<_> = [out, err]
        .into_iter()
        .map(|pipe| {
            thread::spawn(move || {
                let mut pipe = std::io::BufWriter::new(pipe);
                for number in 0..100_000 {
                    writeln!(pipe, "line {number} {}", "x".repeat(number % 60)).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let mut child = child;
    assert!(child.wait().unwrap().success());
    let files = files(&path);
    assert!(files.len() > 10, "{}", files.len());
    let mut next = [0, 0];
    for file in &files {
        assert!(fs::metadata(file).unwrap().len() <= 1 << 20);
        for line in lines(file) {
            let (stream, text) = line.split_once(" F line ").unwrap();
            let number = &mut next[usize::from(stream == "stderr")];
            assert_eq!(text, format!("{number} {}", "x".repeat(*number % 60)));
            *number += 1;
        }
    }
    assert_eq!(next, [100_000, 100_000]);
}

#[test]
fn only_the_newest_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("3.log");
    let mut logger = Logger::start(&value(&path, 10_000, 3));
    for number in 0..5000 {
        writeln!(logger.out, "line {number}").unwrap();
    }
    assert!(logger.finish());
    let files = files(&path);
    assert_eq!(files.len(), 3);
    assert_eq!(lines(&path).last().unwrap(), "stdout F line 4999");
    for file in &files[..2] {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(
            name.starts_with("3.log.20") && name.len() == "3.log.20260101-000000".len(),
            "{name}"
        );
    }
}

/// A mounted tmpfs that is put away.
struct Tiny(tempfile::TempDir);

impl Tiny {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k"));
        if mounted.is_err() {
            assert!(
                std::env::var_os("CI").is_none(),
                "this test needs root rights, and CI must have them"
            );
            eprintln!("\n*** SKIPPED: this test needs root rights ***\n");
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_drops_whole_lines_counts_them_and_never_blocks_the_container() {
    let Some(disk) = Tiny::new() else { return };
    let path = disk.0.path().join("0.log");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![0; 40 << 10]).unwrap();
    let mut logger = Logger::start(&value(&path, 10 << 20, 5));
    // Far more than the disk and the pipe hold: this would block if the logger did not read on.
    for number in 0..20_000 {
        writeln!(logger.out, "line {number}").unwrap();
    }
    // The last part of a line whose beginning is lost must be lost, too.
    write!(logger.out, "{}", "y".repeat(20_000)).unwrap();
    thread::sleep(Duration::from_millis(200));
    fs::remove_file(&ballast).unwrap();
    writeln!(logger.out, "the end of the long line").unwrap();
    writeln!(logger.out, "after").unwrap();
    assert!(logger.finish());
    let lines = lines(&path);
    let notices: Vec<&String> = lines.iter().filter(|line| line.contains("podward:")).collect();
    assert_eq!(notices.len(), 1, "{notices:?}");
    let text = notices[0].strip_prefix("stderr F podward: ").unwrap();
    let (count, cause) = text.split_once(" lines dropped: ").unwrap();
    assert!(cause.contains("No space left on device"), "{cause}");
    let kept = lines.iter().filter(|line| line.starts_with("stdout F line ")).count();
    assert_eq!(kept + count.parse::<usize>().unwrap(), 20_001, "the long line counts as one");
    for (number, line) in lines.iter().take(kept).enumerate() {
        assert_eq!(*line, format!("stdout F line {number}"));
    }
    assert_eq!(lines.last().unwrap(), "stdout F after");
}

#[test]
fn an_argument_that_names_no_log_still_lets_the_container_run() {
    let mut logger = Logger::start("nonsense");
    for _ in 0..20_000 {
        logger.out.write_all(b"nobody keeps this\n").unwrap();
    }
    assert!(!logger.finish());
}

/// The memory that a process has made its own, in KiB: of the binary's pages, which its loader had to relocate,
/// and of all others, which the logger itself has written.
fn private(pid: u32) -> (u64, u64) {
    let exe = fs::canonicalize(EXE).unwrap().display().to_string();
    let (mut of_binary, mut own, mut in_binary) = (0, 0, false);
    for line in fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap().lines() {
        if let Some(dirty) = line.strip_prefix("Private_Dirty:") {
            let dirty: u64 = dirty.trim().trim_end_matches(" kB").parse().unwrap();
            *if in_binary { &mut of_binary } else { &mut own } += dirty;
        } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
            in_binary = line.ends_with(&exe);
        }
    }
    (of_binary, own)
}

#[test]
fn memory_stays_small_and_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let mut loggers: Vec<Logger> = (0..2)
        .map(|number| {
            let path = dir.path().join(format!("{number}.log"));
            Logger::start(&value(&path, 1 << 20, 2))
        })
        .collect();
    let mut dirty = Vec::new();
    for round in 0..3 {
        for logger in &mut loggers {
            for number in 0..50_000 {
                writeln!(logger.out, "line {number} of {round}").unwrap();
                writeln!(logger.err, "line {number} of {round}").unwrap();
            }
        }
        thread::sleep(Duration::from_millis(100));
        let (of_binary, own) = private(loggers[0].child.id());
        println!("logger: {own} KiB of its own, {of_binary} KiB of the binary");
        dirty.push(own);
    }
    assert!(dirty[2] <= dirty[0] + 16, "{dirty:?}");
    // How much of the binary is relocated is the release build's affair and is measured there.
    assert!(dirty[2] <= 300, "{dirty:?}");
    assert!(loggers.into_iter().all(Logger::finish));
}
