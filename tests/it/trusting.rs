//! Trusted keys: only what one of them signed is followed, and what is refused goes on as it was.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::support::page::{NOTHING, Page};
use crate::support::pod::Pod;
use crate::support::set::Set;
use crate::support::{Host, wait};

/// A host that trusts the key `a`; `b` is there and is not trusted.
fn trusting() -> Result<Option<Host>> {
    let Some(mut host) = Host::new()? else {
        return Ok(None);
    };
    host.offer_image()?;
    let script = "for key in a b; do openssl genpkey -algorithm ed25519 -out $key.key; \
                  openssl pkey -in $key.key -pubout -out $key.pub; done; cp a.pub trusted.pub";
    let made = Command::new("sh").args(["-ec", script]).current_dir(host.dir()).status()?;
    ensure!(made.success(), "openssl made no keys");
    host.configure("trustedKeys", json!([host.path("trusted.pub")]))?;
    Ok(Some(host))
}

/// Signs a file, which gets the generation if there is one.
fn sign(host: &Host, key: &str, file: &Path, generation: Option<&str>) -> Result<()> {
    let (key, file) = (host.path(key).display().to_string(), file.display().to_string());
    let mut words = vec!["sign", "-k", &key, "-f", &file];
    words.extend(generation.iter().flat_map(|number| ["--generation", number]));
    host.podward(&words).map(drop)
}

/// A set with this value in its template.
fn set(value: &str) -> String {
    Set::named("signed").container(&json!({"env": [{"name": "A", "value": value}]})).text()
}

/// Waits for the reason of a refusal, and demands that the pod was not touched.
fn refused(host: &Host, before: Option<&Pod>, words: &str) -> Result<()> {
    let found = wait::patiently(words, wait::PATIENCE, || {
        host.run(&["sync"])?;
        Ok(host.has_event("SourceFault", words)?.then_some(()))
    });
    found?;
    match before {
        None => ensure!(host.pods_of("signed")?.is_empty(), "{words}: it runs all the same"),
        Some(before) => {
            let after = host.running("signed")?;
            ensure!(after.id("main") == before.id("main"), "{words}: another container runs");
        }
    }
    Ok(())
}

/// Waits until another template runs than before.
fn renewed(host: &Host, before: &Pod) -> Result<Pod> {
    host.until_pod("signed", "made anew", |pod| pod.running() && pod.hash() != before.hash())
}

#[test]
fn of_files_only_what_a_trusted_key_signed_is_followed() -> Result<()> {
    let Some(mut host) = trusting()? else {
        return Ok(());
    };
    host.start_agent()?;
    let outcome = files(&mut host).and_then(|()| host.leave_nothing());
    outcome.map_err(|error| error.context(host.last_words()))
}

fn files(host: &mut Host) -> Result<()> {
    let file = host.path("manifests/a.yaml");
    host.write("a.yaml", &set("1"))?;
    refused(host, None, "a.yaml: refused: unsigned; sign it by `podward sign -k KEY -f FILE`")?;
    // The signature comes a moment later than the file, and that is all that was wrong.
    sign(host, "a.key", &file, Some("10"))?;
    let first = host.running("signed")?;
    wait::patiently("the fault to be gone", wait::PATIENCE, || {
        let said = host.podward(&["sync"])?;
        Ok((!said.contains("refused")).then_some(()))
    })?;
    host.write("a.yaml", &set("2"))?;
    refused(host, Some(&first), "a.yaml: refused: altered: its signature is of other bytes")?;
    sign(host, "b.key", &file, Some("11"))?;
    refused(host, Some(&first), "a.yaml: refused: signed by an unknown key (")?;
    sign(host, "a.key", &file, Some("9"))?;
    let replayed = "a.yaml: refused: replayed: generation 9 < 10, which was accepted before";
    refused(host, Some(&first), replayed)?;
    // The next agent knows it as well.
    host.restart_agent()?;
    refused(host, Some(&first), replayed)?;
    sign(host, "a.key", &file, None)?;
    let second = renewed(host, &first)?;
    // Another key takes the first one's place while the agent runs.
    host.write("a.yaml", &set("3"))?;
    sign(host, "b.key", &file, None)?;
    refused(host, Some(&second), "a.yaml: refused: signed by an unknown key (")?;
    fs::rename(host.path("b.pub"), host.path("trusted.pub"))?;
    renewed(host, &second)?;
    Ok(())
}

#[test]
fn of_pages_only_what_a_trusted_key_signed_is_followed() -> Result<()> {
    let Some(mut host) = trusting()? else {
        return Ok(());
    };
    let page = Page::new(set("1"))?;
    host.configure("sources", page.sources(&[]))?;
    host.start_agent()?;
    let outcome = pages(&mut host, &page).and_then(|()| {
        serve(&host, &page, "a.key", NOTHING, None)?;
        host.run(&["sync"])?;
        host.leave_nothing()
    });
    outcome.map_err(|error| error.context(host.last_words()))
}

/// Serves a text with its signature.
fn serve(host: &Host, page: &Page, key: &str, text: &str, generation: Option<&str>) -> Result<()> {
    let file = host.path("page.yaml");
    fs::write(&file, text)?;
    sign(host, key, &file, generation)?;
    let mut says = page.says();
    says.signature = Some(fs::read_to_string(host.path("page.yaml.sig"))?);
    text.clone_into(&mut says.text);
    Ok(())
}

fn pages(host: &mut Host, page: &Page) -> Result<()> {
    refused(host, None, "refused: unsigned; ")?;
    serve(host, page, "a.key", &set("1"), Some("10"))?;
    host.run(&["sync"])?;
    let first = host.running("signed")?;
    page.says().text = set("2");
    refused(
        host,
        Some(&first),
        "refused: altered: its signature is of other bytes; the copy of 2",
    )?;
    serve(host, page, "b.key", &set("2"), Some("11"))?;
    refused(host, Some(&first), "refused: signed by an unknown key (")?;
    serve(host, page, "a.key", &set("2"), Some("9"))?;
    refused(host, Some(&first), "refused: replayed: generation 9 < 10")?;
    serve(host, page, "a.key", &set("2"), None)?;
    host.run(&["sync"])?;
    renewed(host, &first)?;
    Ok(())
}

#[test]
fn signatures_are_made_and_checked_by_hand() -> Result<()> {
    let Some(host) = trusting()? else {
        return Ok(());
    };
    let at = |name: &str| host.path(name).display().to_string();
    let (file, key, public) = (at("x.yaml"), at("a.key"), at("a.pub"));
    fs::write(&file, "a: 1\n")?;
    let said = |words: &[&str]| -> Result<(Option<i32>, String)> {
        let output = host.run(words)?;
        let both = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(both)?))
    };
    let check = ["sign", "--check", "--key", &public, "-f", &file];
    assert_eq!(said(&check)?, (Some(1), format!("{file}: unsigned: there is no {file}.sig\n")));
    let (code, first) = said(&["sign", "-k", &key, "-f", &file])?;
    assert_eq!(code, Some(0), "{first}");
    let generation = |text: &str| -> i64 {
        text.trim().rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
    };
    assert!(generation(&first) > 1_700_000_000, "{first}");
    let later = said(&["sign", "-k", &key, "-f", &file])?.1;
    assert!(generation(&later) > generation(&first), "{first}{later}");
    assert_eq!(said(&check)?, (Some(0), later));
    fs::write(&file, "a: 2\n")?;
    let altered = format!("{file}: altered: its signature is of other bytes\n");
    assert_eq!(said(&check)?, (Some(1), altered));
    let other = ["sign", "--check", "--key", &at("b.pub"), "-f", &file];
    assert!(said(&other)?.1.contains("signed by an unknown key ("));
    for (words, code, expected) in [
        (vec!["sign", "-k", &key, "-f", "-"], 2, "standard input cannot be signed"),
        (
            vec!["sign", "-k", &public, "-f", &file],
            1,
            "holds a public key where a private ed25519 key",
        ),
        (vec!["sign", "-k", &key, "-f", "/nowhere"], 1, "/nowhere: cannot be read"),
        (vec!["sign", "-k", &key, "-f", "/tmp"], 1, "name a file in it"),
        (
            vec!["sign", "-k", &key, "-f", &file, "-f", &file, "-o", "/tmp/x"],
            2,
            "one --output for several files",
        ),
        (vec!["sign", "-f", &file, "--config", "/dev/null"], 2, "no key to sign with"),
    ] {
        let (got, text) = said(&words)?;
        assert!(got == Some(code) && text.contains(expected), "{words:?}: {got:?} {text}");
    }
    Ok(())
}
