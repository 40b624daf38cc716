//! Reading logs that are at rest, that grow, and that rotate.

use std::{fmt::Write as _, future, time::Duration};

use super::*;

/// A log directory and a request for all of its first attempt.
fn directory() -> (tempfile::TempDir, LogRequest) {
    let directory = tempfile::tempdir().unwrap();
    let request = LogRequest {
        dir: directory.path().to_owned(),
        attempt: 0,
        tail: None,
        since: None,
        timestamps: false,
        follow: false,
    };
    (directory, request)
}

/// Log lines `first..last` in the CRI form, one second apart.
fn numbered(range: std::ops::Range<u32>) -> String {
    range.fold(String::new(), |mut text, number| {
        let at = Timestamp::from_second(1_700_000_000 + i64::from(number)).unwrap();
        let _ = writeln!(text, "{at:.9} stdout F line {number}");
        text
    })
}

/// All that a request gives.
async fn read(request: LogRequest) -> String {
    let (out, mut received) = mpsc::channel(1);
    let reading = tokio::spawn(stream(request, out, future::pending()));
    let mut text = Vec::new();
    while let Some(piece) = received.recv().await {
        text.extend(piece);
    }
    reading.await.unwrap().unwrap();
    String::from_utf8(text).unwrap()
}

/// The numbers of numbered lines.
fn numbers(text: &str) -> Vec<u32> {
    text.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn pieces_of_two_streams_are_put_together() {
    let (dir, request) = directory();
    let text = "2026-01-01T00:00:00.0Z stdout P one \n2026-01-01T00:00:01.0Z stderr F err\n\
                2026-01-01T00:00:02.0Z stdout F two\n2026-01-01T00:00:03.0Z stdout P rest";
    fs::write(dir.path().join("0.log"), format!("{text}\n")).unwrap();
    assert_eq!(read(request.clone()).await, "err\none two\nrest");
    let timed = LogRequest { timestamps: true, tail: Some(2), ..request };
    assert_eq!(read(timed).await, "2026-01-01T00:00:00.0Z one two\n2026-01-01T00:00:03.0Z rest");
}

#[tokio::test]
async fn the_tail_is_exact_over_rotated_files() {
    let (dir, request) = directory();
    // Wide enough for several blocks.
    fs::write(dir.path().join("0.log.20260101-000000"), numbered(0..3000)).unwrap();
    fs::write(dir.path().join("0.log.20260101-000001"), numbered(3000..6000)).unwrap();
    fs::write(dir.path().join("0.log"), numbered(6000..6010)).unwrap();
    fs::write(dir.path().join("1.log"), numbered(0..1)).unwrap();
    for tail in [0, 1, 9, 10, 11, 3009, 3010, 3011, 5999, 6010, 7000] {
        let text = read(LogRequest { tail: Some(tail.into()), ..request.clone() }).await;
        let first = 6010 - tail.min(6010);
        assert_eq!(numbers(&text), (first..6010).collect::<Vec<_>>(), "tail {tail}");
    }
    assert_eq!(numbers(&read(request).await), (0..6010).collect::<Vec<_>>());
}

#[tokio::test]
async fn since_leaves_out_what_is_older() {
    let (dir, request) = directory();
    fs::write(dir.path().join("0.log.20010101-000000"), "not even opened\n").unwrap();
    fs::write(dir.path().join("0.log"), numbered(0..10)).unwrap();
    let since = Timestamp::from_second(1_700_000_007).unwrap();
    let text = read(LogRequest { since: Some(since), ..request.clone() }).await;
    assert_eq!(numbers(&text), [7, 8, 9]);
    let text = read(LogRequest { since: Some(since), tail: Some(2), ..request }).await;
    assert_eq!(numbers(&text), [8, 9]);
}

#[tokio::test]
async fn a_long_line_is_found_whole_by_its_end() {
    let (dir, request) = directory();
    let mut text = numbered(0..3);
    let long = "x".repeat(16 << 10);
    for _ in 0..5 {
        let _ = writeln!(text, "2026-01-01T00:00:00Z stdout P {long}");
    }
    text += "2026-01-01T00:00:00Z stderr F between\n2026-01-01T00:00:00Z stdout F end\n";
    fs::write(dir.path().join("0.log"), text).unwrap();
    let tail = read(LogRequest { tail: Some(1), ..request }).await;
    assert_eq!(tail, format!("{}end\n", long.repeat(5)));
}

#[tokio::test]
async fn a_missing_log_is_named() {
    let (dir, request) = directory();
    let (out, _received) = mpsc::channel(1);
    let error = stream(request, out, future::pending()).await.unwrap_err();
    let path = dir.path().join("0.log");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn following_goes_on_over_rotation_and_ends_after_draining() {
    let (dir, request) = directory();
    let live = dir.path().join("0.log");
    fs::write(&live, numbered(0..10)).unwrap();
    let (out, mut received) = mpsc::channel(1);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let ended = async move {
        let _ = ended.await;
    };
    let request = LogRequest { follow: true, tail: Some(2), ..request };
    let reading = tokio::spawn(stream(request, out, ended));
    assert_eq!(received.recv().await.unwrap(), b"line 8\nline 9\n");
    let append = |range| {
        use std::io::Write as _;
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&live).unwrap();
        file.write_all(numbered(range).as_bytes()).unwrap();
    };
    append(10..12);
    assert_eq!(received.recv().await.unwrap(), b"line 10\nline 11\n");
    // Two rotations before the reader can look.
    append(12..13);
    fs::rename(&live, dir.path().join("0.log.20260101-000000")).unwrap();
    append(13..14);
    fs::rename(&live, dir.path().join("0.log.20260101-000001")).unwrap();
    append(14..15);
    let mut text = Vec::new();
    while !text.ends_with(b"line 14\n") {
        text.extend(received.recv().await.unwrap());
    }
    assert_eq!(numbers(std::str::from_utf8(&text).unwrap()), [12, 13, 14]);
    append(15..16);
    end.send(()).unwrap();
    let mut text = Vec::new();
    while let Some(piece) = received.recv().await {
        text.extend(piece);
    }
    assert_eq!(text, b"line 15\n");
    reading.await.unwrap().unwrap();
}

#[tokio::test]
async fn following_ends_when_nobody_listens() {
    let (dir, request) = directory();
    fs::write(dir.path().join("0.log"), numbered(0..1)).unwrap();
    let (out, mut received) = mpsc::channel(1);
    let reading =
        tokio::spawn(stream(LogRequest { follow: true, ..request }, out, future::pending()));
    received.recv().await.unwrap();
    drop(received);
    tokio::time::timeout(Duration::from_secs(5), reading).await.unwrap().unwrap().unwrap();
}
