//! Sets by HTTP: changes are followed, and whatever goes wrong, what runs goes on.

use std::fs;
use std::io::Write;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::support::page::{NOTHING, Page};
use crate::support::pod::Pod;
use crate::support::set::Set;
use crate::support::{Host, wait};

/// Runs a test on a host whose one source is a page; at the end the page deletes everything, and nothing may be left.
fn with_page(
    prepare: impl FnOnce(&mut Host, &Page) -> Result<()>,
    test: impl FnOnce(&mut Host, &mut Page) -> Result<()>,
) -> Result<()> {
    let Some(mut host) = Host::new()? else {
        return Ok(());
    };
    host.offer_image()?;
    let mut page = Page::new(Set::named("paged").text())?;
    host.configure("sources", page.sources(&[]))?;
    prepare(&mut host, &page)?;
    host.start_agent()?;
    let outcome = test(&mut host, &mut page).and_then(|()| {
        *page.says() = crate::support::page::Says { text: NOTHING.into(), ..Default::default() };
        host.run(&["sync"])?;
        host.leave_nothing()
    });
    outcome.map_err(|error| error.context(host.last_words()))
}

/// The same set with another template.
fn changed(value: &str) -> String {
    Set::named("paged").container(&json!({"env": [{"name": "A", "value": value}]})).text()
}

/// Waits for a fault that says all of this, and demands that the pod was not touched.
fn told(host: &Host, before: &Pod, words: &str) -> Result<()> {
    let found = wait::patiently(words, wait::PATIENCE, || {
        // The agent asks at once instead of after its back-off.
        host.run(&["sync"])?;
        Ok(host.has_event("SourceFault", words)?.then_some(()))
    });
    found?;
    let after = host.running("paged")?;
    ensure!(after.id("main") == before.id("main"), "{words}: another container runs");
    let restarts = (before.restarts("main"), after.restarts("main"));
    ensure!(restarts.0 == restarts.1, "{words}: the container started again");
    Ok(())
}

#[test]
fn a_page_is_followed_and_not_sent_again_while_it_stays_the_same() -> Result<()> {
    with_page(
        |_, _| Ok(()),
        |host, page| {
            let before = host.running("paged")?;
            wait::patiently("answers without a body", wait::PATIENCE, || {
                Ok((page.says().unchanged >= 2).then_some(()))
            })?;
            ensure!(page.says().sent == 1, "it was sent {} times", page.says().sent);
            page.says().text = changed("b");
            host.until_pod("paged", "made anew", |pod| {
                pod.running() && pod.hash() != before.hash()
            })?;
            page.says().text = NOTHING.into();
            host.gone("paged")
        },
    )
}

#[test]
fn whatever_a_page_says_wrongly_what_runs_goes_on_and_the_fault_says_since_when() -> Result<()> {
    with_page(
        |_, _| Ok(()),
        |host, page| {
            let before = host.running("paged")?;
            let head = "HTTP/1.1 200 OK\r\n";
            let packed = format!("{head}Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\ngzip");
            for (raw, words) in [
                ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), "404 Not Found; the copy of 2"),
                (
                    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 3600\r\n\r\n".to_owned(),
                    "503 Service Unavailable; the copy of 2",
                ),
                (format!("{head}Content-Length: 0\r\n\r\n"), "SourceEmpty: the page holds no DaemonSet, ConfigMap or Secret; the copy of 2"),
                (format!("{head}Content-Length: 9999\r\n\r\nkind: List"), "cut off: "),
                (format!("{head}Content-Length: 9\r\n\r\nkind: [\n\n"), "not valid YAML"),
                (
                    format!("{head}Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"),
                    "a web page (text/html) and no documents; the copy of 2",
                ),
                (packed, "its gzip cannot be unpacked; the copy of 2"),
                ("nonsense".to_owned(), "invalid HTTP"),
            ] {
                page.says().raw = Some(raw.into_bytes());
                told(host, &before, words)?;
            }
            page.says().raw = None;
            page.server.close();
            told(host, &before, "connection refused; the copy of 2")?;
            page.server.open()?;
            page.says().text = changed("b");
            host.run(&["sync"])?;
            host.until_pod("paged", "made anew", |pod| {
                pod.running() && pod.hash() != before.hash()
            })?;
            Ok(())
        },
    )
}

#[test]
fn a_host_that_boots_while_the_server_is_away_starts_what_it_knew() -> Result<()> {
    with_page(
        |_, _| Ok(()),
        |host, page| {
            let before = host.running("paged")?;
            page.server.close();
            host.reboot()?;
            let after = host.running("paged")?;
            ensure!(after.hash() == before.hash(), "another template runs");
            let words = "no answer yet since the agent started; what it brought before goes on";
            told(host, &after, words)?;
            page.server.open()?;
            page.says().text = changed("b");
            host.run(&["sync"])?;
            host.until_pod("paged", "made anew", |pod| {
                pod.running() && pod.hash() != before.hash()
            })?;
            Ok(())
        },
    )
}

#[test]
fn a_page_may_be_packed_and_its_token_replaced() -> Result<()> {
    with_page(
        |host, page| {
            let token = host.path("token");
            fs::write(&token, "one-hush\n")?;
            page.says().token = Some("one-hush".into());
            let token = token.display().to_string();
            host.configure("sources", page.sources(&[("tokenFile", &token)]))
        },
        |host, page| {
            let before = host.running("paged")?;
            page.says().token = Some("two-hush".into());
            told(host, &before, "401 Unauthorized; the copy of 2")?;
            told(host, &before, &format!("check the token in {}", host.path("token").display()))?;
            fs::write(host.path("token"), "two-hush\n")?;
            let packed = gzip(&changed("b"))?;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                packed.len()
            );
            page.says().raw = Some([head.as_bytes(), &packed].concat());
            host.run(&["sync"])?;
            host.until_pod("paged", "made anew", |pod| {
                pod.running() && pod.hash() != before.hash()
            })?;
            let log = fs::read_to_string(host.path("agent.log"))?;
            ensure!(!log.contains("-hush"), "a token stands in the agent's log");
            // What the end of the test says needs no token.
            Ok(())
        },
    )
}

/// Packs a text.
fn gzip(text: &str) -> Result<Vec<u8>> {
    use std::process::Stdio;
    let mut gzip = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    gzip.stdin.take().expect("it is piped").write_all(text.as_bytes())?;
    Ok(gzip.wait_with_output()?.stdout)
}
