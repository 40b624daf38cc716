//! Documents that mean harm: refused in bounded memory, while what runs goes on.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::support::page::{NOTHING, Page, Says};
use crate::support::set::Set;
use crate::support::{Host, wait};

/// What an agent may hold at most while it refuses them, in KiB: a hundred times less than what they would unfold to.
const MOST: u64 = 512 << 10;

/// What means harm, by name, and what is said of it.
fn harms() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let nine = |name: &str| vec![format!("*{name}"); 9].join(",");
    let mut laughs = "a: &a [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n".to_owned();
    for (level, before) in "bcdefghi".chars().zip("abcdefgh".chars()) {
        let line = format!("{level}: &{level} [{}]\n", nine(&before.to_string()));
        laughs.push_str(&line);
    }
    let anchors: Vec<String> = (0..200_000).map(|n| format!("a{n}: &a{n} x\n")).collect();
    let key = "k".repeat(3 << 20);
    vec![
        ("laughs", laughs.into(), "unfold"),
        ("a hundred megabytes", vec![b' '; 100 << 20], "are read"),
        ("deep lists", ("[".repeat(100_000) + &"]".repeat(100_000)).into(), "deep"),
        ("NUL", b"kind: Daemon\0Set\n".to_vec(), "NUL byte"),
        ("no UTF-8", b"kind: \xff\n".to_vec(), "not valid UTF-8"),
        ("a million documents", b"---\na\n".repeat(680_000), "more than 5000 objects"),
        ("a million objects", b"{}\n".repeat(1_300_000), "more than 5000 objects"),
        ("a huge key", format!("{key}: 1\n").into(), "bad"),
        ("anchors", anchors.concat().into(), "bad"),
    ]
}

/// The most memory that the agent ever held, in KiB.
fn peak(host: &Host) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", host.agent_pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
    Ok(number.parse()?)
}

#[test]
fn documents_that_mean_harm_are_refused_in_bounded_memory() -> Result<()> {
    let Some(mut host) = Host::new()? else {
        return Ok(());
    };
    host.offer_image()?;
    let page = Page::new(Set::named("paged").text())?;
    let mut sources = page.sources(&[]);
    let files = serde_json::json!({"file": {"path": host.path("manifests")}});
    sources.as_array_mut().context("a list")?.insert(0, files);
    host.configure("sources", sources)?;
    host.start_agent()?;
    let outcome = survive(&host, &page).and_then(|()| {
        *page.says() = Says { text: NOTHING.into(), ..Says::default() };
        host.run(&["sync"])?;
        host.leave_nothing()
    });
    outcome.map_err(|error| error.context(host.last_words()))
}

fn survive(host: &Host, page: &Page) -> Result<()> {
    host.write("good.yaml", &Set::named("good").text())?;
    let before = (host.running("good")?.id("main"), host.running("paged")?.id("main"));
    for (name, bytes, words) in harms() {
        // By a file whose name tells the messages apart.
        let file = format!("bad-{}.yaml", name.replace(' ', "-"));
        fs::write(host.path("harm"), &bytes)?;
        fs::rename(host.path("harm"), host.path("manifests").join(&file))?;
        wait::patiently(name, wait::PATIENCE, || {
            let events = host.objects("events")?;
            let mut messages = events.iter().filter_map(|event| event["message"].as_str());
            let told = messages.any(|message| message.contains(&file) && message.contains(words));
            Ok(told.then_some(()))
        })?;
        host.remove(&file)?;
    }
    let packed = pack(&vec![0; 64 << 20])?;
    let bomb = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    page.says().raw = Some([bomb.as_bytes(), &packed].concat());
    let words = "more than 4194304 bytes, unpacked; the copy of 2";
    wait::patiently(words, wait::PATIENCE, || {
        host.run(&["sync"])?;
        Ok(host.has_event("SourceFault", words)?.then_some(()))
    })?;
    let after = (host.running("good")?.id("main"), host.running("paged")?.id("main"));
    ensure!(after == before, "other containers run: {before:?} {after:?}");
    let peak = peak(host)?;
    ensure!(peak < MOST, "the agent held {peak} KiB");
    Ok(())
}

/// Packs bytes by gzip.
fn pack(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = gzip.stdin.take().context("it is piped")?;
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&bytes));
    let packed = gzip.wait_with_output()?.stdout;
    writing.join().expect("writing does not panic")?;
    Ok(packed)
}
