//! Image references: what a short name stands for.

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image {reference:?}: {problem}; write a reference such as docker.io/library/busybox:1.36")]
pub struct ReferenceError {
    /// The text.
    pub reference: String,
    /// What is wrong.
    pub problem: &'static str,
}

/// A reference taken apart and completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Registry and repository, such as `docker.io/library/busybox`.
    pub repository: String,
    /// The tag, where one is named; `latest` where neither tag nor digest is.
    pub tag: Option<String>,
    /// The digest, where one is named.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a reference as docker and containerd's own tools do: `busybox` is `docker.io/library/busybox:latest`.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let wrong = |problem| ReferenceError { reference: text.to_owned(), problem };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(wrong("the digest is not of the form sha256:<64 hexadecimal digits>"));
        }
        // A colon before the last slash belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("the tag is not made of letters, digits, '_', '.' and '-'"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (first, path.to_owned()),
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let path = if registry == "docker.io" && !path.contains('/') {
            format!("library/{path}")
        } else {
            path
        };
        if !path.split('/').all(is_component) {
            return Err(wrong(
                "the name is not made of lower-case letters, digits and '/', '.', '_', '-' between them",
            ));
        }
        let tag = match (tag, digest) {
            (None, None) => Some("latest"),
            (tag, _) => tag,
        };
        Ok(Self {
            repository: format!("{registry}/{path}"),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// The registry, with its port if it names one: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        self.repository.split_once('/').map_or("", |(registry, _)| registry)
    }

    /// The repository within its registry: `library/busybox`.
    pub fn path(&self) -> &str {
        self.repository.split_once('/').map_or("", |(_, path)| path)
    }

    /// The names under which containerd's store may hold the image, the best first.
    pub fn names(&self) -> Vec<String> {
        let Self { repository, tag, digest } = self;
        match (tag, digest) {
            (Some(tag), Some(digest)) => vec![
                format!("{repository}:{tag}@{digest}"),
                format!("{repository}@{digest}"),
                format!("{repository}:{tag}"),
            ],
            (None, Some(digest)) => vec![format!("{repository}@{digest}")],
            (tag, None) => {
                vec![format!("{repository}:{}", tag.as_deref().unwrap_or("latest"))]
            }
        }
    }
}

/// Whether the first part of a name is a registry: it looks like a host, which no user name does.
fn is_registry(part: &str) -> bool {
    part == "localhost"
        || part.contains(['.', ':'])
        || part.chars().any(|letter| letter.is_ascii_uppercase())
}

/// Whether a text is a digest.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether a text is a tag.
fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// Whether a text may stand between the slashes of a repository's path.
fn is_component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|b| plain(*b)) && bytes.last().is_some_and(|b| plain(*b));
    ends && bytes.iter().all(|byte| plain(*byte) || matches!(byte, b'.' | b'_' | b'-'))
        && !["..", "._", "_.", ".-", "-.", "_-", "-_", "___"].iter().any(|pair| text.contains(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn short_names_mean_what_docker_means() {
        for (text, name) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("grafana/agent", "docker.io/grafana/agent:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/busybox:1", "docker.io/library/busybox:1"),
            ("quay.io/a/b/c:v1", "quay.io/a/b/c:v1"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("registry.local:5000/team/x:v1.2-3_a", "registry.local:5000/team/x:v1.2-3_a"),
            ("10.0.0.1:5000/x", "10.0.0.1:5000/x:latest"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("a__b--c/d", "docker.io/a__b--c/d:latest"),
        ] {
            assert_eq!(Reference::parse(text).unwrap().names(), [name], "{text}");
        }
    }

    #[test]
    fn a_digest_names_the_image_before_its_tag_does() {
        let names = Reference::parse(&format!("busybox@{DIGEST}")).unwrap().names();
        assert_eq!(names, [format!("docker.io/library/busybox@{DIGEST}")]);
        let names = Reference::parse(&format!("r.io:1/b:2@{DIGEST}")).unwrap().names();
        assert_eq!(
            names,
            [format!("r.io:1/b:2@{DIGEST}"), format!("r.io:1/b@{DIGEST}"), "r.io:1/b:2".to_owned()]
        );
    }

    #[test]
    fn other_texts_name_no_image() {
        for text in [
            "",
            ":",
            "@",
            "Busybox",
            "busybox:",
            "busybox:a b",
            "a//b",
            "/a",
            "a/",
            "busybox@sha256:12",
            "a..b",
            "-a",
            "a_-b",
            "busybox:-x",
            "a b",
            "docker.io/",
            "http://docker.io/a",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }
}
