//! Patterns of repositories: what the policy's lists name, and how `*` is read wherever registries are matched.

use std::fmt;

/// A registry, with or without the beginning of a path; `*` stands for any letters but `/`.
///
/// A pattern matches a repository when each of its segments, the registry first, matches the repository's segment at
/// the same place. Whatever follows is matched as well, so `registry.example` is all of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Its segments, the registry first.
    segments: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; the fault says what is wrong with it, and the remedy.
    pub fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        const REMEDY: &str = "write a registry or a repository, such as registry.example/team/*";
        let (host, path) = text.split_once('/').map_or((text, None), |(h, p)| (h, Some(p)));
        if host.is_empty() || path.is_some_and(|path| path.split('/').any(str::is_empty)) {
            return Err(("has an empty part", REMEDY));
        }
        let of_host = |c: char| c.is_ascii_alphanumeric() || ".:-*[]_".contains(c);
        if !host.chars().all(of_host) || host != "localhost" && !host.contains(['.', ':', '*']) {
            return Err((
                "does not begin with a registry",
                "write it in full, such as docker.io/library/busybox",
            ));
        }
        let path = path.unwrap_or_default();
        if path.contains([':', '@']) {
            return Err(("has a tag or a digest", REMEDY));
        }
        let of_path = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-*/".contains(c);
        if !path.chars().all(of_path) {
            return Err(("matches no repository: these have lower-case letters", REMEDY));
        }
        let path = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        Ok(Self { segments: std::iter::once(canonical(host)).chain(path).collect() })
    }

    /// Whether it matches a repository such as `docker.io/library/busybox`.
    pub fn matches(&self, repository: &str) -> bool {
        let (host, path) = repository.split_once('/').unwrap_or((repository, ""));
        let host = canonical(host);
        let mut parts = std::iter::once(host.as_str()).chain(path.split('/'));
        self.segments.iter().all(|segment| parts.next().is_some_and(|part| glob(segment, part)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("/"))
    }
}

/// One spelling for each registry: a rule is not got round by another case, the port that is meant anyway, a final dot,
/// or one of Docker Hub's other names.
pub fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) => format!("{}:{port}", name.strip_suffix('.').unwrap_or(name)),
        None => host.strip_suffix('.').unwrap_or(host).to_owned(),
    };
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        _ => host,
    }
}

/// Whether a text is what a pattern says, in which `*` stands for any letters and `?` for one.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Where to go on when the letters after the last star turn out not to fit.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, seen) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_by_segments_and_all_below() {
        for (pattern, matched, others) in [
            (
                "registry.example/team/*",
                &["registry.example/team/a", "registry.example/team/a/b"][..],
                &["registry.example/team", "registry.example/teams/a", "other.example/team/a"][..],
            ),
            (
                "registry.example",
                &["registry.example/a", "Registry.Example:443/a/b", "registry.example./a"],
                &["registry.example:5000/a", "registry.example.org/a", "my.registry.example/a"],
            ),
            ("localhost:5000/a", &["localhost:5000/a", "localhost:5000/a/b"], &["localhost/a"]),
            ("docker.io/library/busybox", &["docker.io/library/busybox"], &["docker.io/library/b"]),
            (
                "*.example/*/base",
                &["a.example/x/base", "a.b.example/x/base/y"],
                &["example/x/base"],
            ),
            ("*", &["docker.io/library/a", "localhost/a"], &[]),
            ("index.docker.io", &["docker.io/library/a"], &["quay.io/a"]),
            ("quay.io/app-*-prod", &["quay.io/app-1-prod"], &["quay.io/app-prod", "quay.io/app-1"]),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            for repository in matched {
                assert!(pattern.matches(repository), "{pattern} {repository}");
            }
            for repository in others {
                assert!(!pattern.matches(repository), "{pattern} {repository}");
            }
        }
    }

    #[test]
    fn a_pattern_that_could_match_nothing_is_a_fault() {
        for (text, problem) in [
            ("", "has an empty part"),
            ("registry.example/", "has an empty part"),
            ("registry.example//a", "has an empty part"),
            ("busybox", "does not begin with a registry"),
            ("team/app", "does not begin with a registry"),
            ("https://registry.example", "has an empty part"),
            ("registry.example/a:1", "has a tag or a digest"),
            ("registry.example/a@sha256:1", "has a tag or a digest"),
            ("registry.example/Team", "matches no repository: these have lower-case letters"),
        ] {
            assert_eq!(Pattern::parse(text).unwrap_err().0, problem, "{text}");
        }
    }

    #[test]
    fn stars_stand_for_any_letters_and_question_marks_for_one() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*a*b", "xaxb", true),
            ("?", "", false),
            ("a?", "ab", true),
            ("a", "ab", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
