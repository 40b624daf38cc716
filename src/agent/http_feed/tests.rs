//! Tests of a page's life: what is told, and what goes on when it fails.

use super::*;

const URL: &str = "https://h/fleet.yaml";

fn at(time: &str) -> Timestamp {
    format!("2026-11-30T{time}Z").parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "it stands beside `failed`")]
fn good(text: &str) -> Result<Option<Changed>, Refused> {
    let read = understand(URL, text.as_bytes(), FieldValidation::Strict);
    Ok(Some((read, digest_of(text.as_bytes()), Validators::default())))
}

fn failed(problem: &str) -> Result<Option<Changed>, Refused> {
    Err((Fault::of_file(URL, problem, "check the server"), None))
}

const OBJECT: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {b: c}\n";

#[test]
fn a_page_that_fails_keeps_its_copy_and_says_since_when() {
    let mut page = Page::default();
    let (reading, _) = page.take(URL, good(OBJECT), at("12:04:00"));
    assert_eq!(reading.unwrap().files[&PathBuf::from(URL)].objects.len(), 1);
    let (reading, _) = page.take(URL, Ok(None), at("12:04:05"));
    assert!(reading.unwrap().fault.is_none(), "a page that did not change answered all the same");
    let (reading, _) = page.take(URL, failed("503 Service Unavailable"), at("12:05:00"));
    let reading = reading.unwrap();
    assert_eq!(
        reading.fault.unwrap().to_string(),
        "https://h/fleet.yaml: 503 Service Unavailable; the copy of 2026-11-30T12:04:05Z goes on; check the server"
    );
    assert_eq!(reading.files[&PathBuf::from(URL)].objects.len(), 1);
    // The same again is told once.
    let (reading, _) = page.take(URL, failed("503 Service Unavailable"), at("12:06:00"));
    assert!(reading.is_none());
    assert_eq!(page.failures, 2);
    let (reading, _) = page.take(URL, failed("404 Not Found"), at("12:07:00"));
    assert!(reading.is_some());
    let (reading, _) = page.take(URL, Ok(None), at("12:08:00"));
    assert!(reading.unwrap().fault.is_none());
    assert_eq!(page.failures, 0);
}

#[test]
fn a_page_that_never_answered_is_not_awaited_any_more_and_deletes_nothing() {
    let mut page = Page::default();
    let (reading, _) = page.take(URL, failed("cut off"), at("12:00:00"));
    let reading = reading.unwrap();
    assert!(reading.files.is_empty() && !reading.awaited);
    assert_eq!(
        reading.fault.unwrap().to_string(),
        "https://h/fleet.yaml: cut off; no answer yet since the agent started; what it brought before goes on; check the server"
    );
}
