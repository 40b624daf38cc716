//! The rows of an image: one for each of its names.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::image::{progress::bytes, reference::Reference};

use super::table::{age, or_none};

/// The headers.
pub const HEADERS: [&str; 7] = ["IMAGE", "TAG", "DIGEST", "SIZE", "AGE", "IN USE BY", "KEPT"];

/// How many users a narrow table names.
const USERS: usize = 2;

/// How much of a digest a narrow table shows.
const SHORT: usize = 12;

/// By what images are sorted.
pub fn key(image: &Value) -> (String, String) {
    (names(image).into_iter().next().unwrap_or_default(), text(image, "digest").to_owned())
}

/// The names.
pub fn names(image: &Value) -> Vec<String> {
    let mut names = texts(image, "names");
    names.sort_unstable();
    names
}

/// The rows.
pub fn rows(image: &Value, wide: bool, now: Timestamp) -> Vec<Vec<String>> {
    let digest = text(image, "digest");
    let short = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    let digest = if wide { digest } else { short.get(..SHORT).unwrap_or(short) };
    let size = match image["size"].as_u64() {
        None | Some(0) => "<unknown>".to_owned(),
        Some(size) => bytes(size),
    };
    let created = image.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
    let created = created.and_then(|created| created.parse().ok()).map(Time);
    let rest = [
        digest.to_owned(),
        size,
        age(created.as_ref(), now),
        users(&texts(image, "usedBy"), wide),
        kept(image).to_owned(),
    ];
    let row = |(name, tag): (String, String)| [name, tag].into_iter().chain(rest.clone()).collect();
    shown(&names(image)).into_iter().map(row).collect()
}

/// Repository and tag of each name. A name by digest stands beside the tag that brought it, and says nothing new.
fn shown(names: &[String]) -> Vec<(String, String)> {
    let none = || or_none(None);
    let parsed = names.iter().map(|name| (name, Reference::parse(name).ok()));
    let parsed: Vec<_> = parsed.collect();
    let tagged = |repository: &str| {
        let tag = |of: &Reference| of.repository == repository && of.tag.is_some();
        parsed.iter().any(|(_, reference)| reference.as_ref().is_some_and(tag))
    };
    let show = |(name, reference): &(&String, Option<Reference>)| match reference {
        None => Some(((*name).clone(), none())),
        Some(Reference { repository, tag: Some(tag), .. }) => {
            Some((repository.clone(), tag.clone()))
        }
        Some(Reference { repository, .. }) => {
            (!tagged(repository)).then(|| (repository.clone(), none()))
        }
    };
    let mut shown: Vec<_> = parsed.iter().filter_map(show).collect();
    shown.dedup();
    if shown.is_empty() { vec![(none(), none())] } else { shown }
}

/// The pods that use it; where there are none, the sets that will.
fn users(all: &[String], wide: bool) -> String {
    let pods: Vec<&str> = all.iter().filter_map(|user| user.strip_prefix("pod/")).collect();
    let users = if pods.is_empty() { all.iter().map(String::as_str).collect() } else { pods };
    if wide || users.len() <= USERS {
        return or_none(Some(&users.join(",")));
    }
    format!("{} + {} more...", users[..USERS].join(","), users.len() - USERS)
}

/// Why it is kept although nothing uses it.
fn kept(image: &Value) -> &'static str {
    if image["pinned"] == true {
        "pinned"
    } else if image["archived"] == true {
        "archive"
    } else {
        "<none>"
    }
}

/// A text of an object.
fn text<'v>(image: &'v Value, field: &str) -> &'v str {
    image[field].as_str().unwrap_or_default()
}

/// The texts of a list.
fn texts(image: &Value, field: &str) -> Vec<String> {
    let texts = image[field].as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn image(names: &[&str], users: &[&str]) -> Value {
        json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "names": names, "digest": DIGEST, "size": 1536, "usedBy": users,
        })
    }

    fn cells(names: &[&str], users: &[&str], wide: bool) -> Vec<String> {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        rows(&image(names, users), wide, now).into_iter().map(|row| row.join(" ")).collect()
    }

    #[test]
    fn an_image_has_a_row_for_each_tag_and_none_for_the_digest_beside_it() {
        let by_digest = format!("r.io/a@{DIGEST}");
        let rows = cells(&["r.io/a:1", "r.io/b:2", &by_digest], &[], false);
        assert_eq!(
            rows,
            [
                "r.io/a 1 e3b0c44298fc 1.5KiB 60s <none> <none>",
                "r.io/b 2 e3b0c44298fc 1.5KiB 60s <none> <none>"
            ]
        );
        let only = cells(&[&by_digest], &["daemonset/x/web"], true);
        assert_eq!(only, [format!("r.io/a <none> {DIGEST} 1.5KiB 60s daemonset/x/web <none>")]);
        assert_eq!(cells(&["import-1"], &[], false).len(), 1);
    }

    #[test]
    fn pods_come_before_sets_and_many_are_cut_short() {
        let users = ["daemonset/x/w", "pod/x/a", "pod/x/b", "pod/x/c"];
        let of = |wide| cells(&["r.io/a:1"], &users, wide).remove(0);
        assert!(of(false).ends_with(" x/a,x/b + 1 more... <none>"), "{}", of(false));
        assert!(of(true).ends_with(" x/a,x/b,x/c <none>"), "{}", of(true));
    }
}
