//! Where a page is, and where its redirect leads.

use std::fmt;

use super::authority;

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Whether by TLS.
    pub tls: bool,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub path: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", authority(&self.host, self.port), self.path)
    }
}

impl Place {
    /// What the header `Host` says of this place.
    pub(super) fn host_header(&self) -> String {
        authority(&self.host, self.port)
    }

    /// Where a `Location` leads from here; `None` when it is none. The second value says whether it names a host.
    pub(super) fn follow(&self, location: &str) -> Option<(Self, bool)> {
        let location = location.split('#').next().unwrap_or_default();
        if let Some((scheme, rest)) = location.split_once("://") {
            let tls = match scheme.to_ascii_lowercase().as_str() {
                "http" => false,
                "https" => true,
                _ => return None,
            };
            return Some((Self::absolute(tls, rest)?, true));
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Some((Self::absolute(self.tls, rest)?, true));
        }
        let here = self.path.split('?').next().unwrap_or_default();
        let path = match location.as_bytes().first() {
            None => self.path.clone(),
            Some(b'?') => format!("{here}{location}"),
            Some(b'/') => straight(location),
            Some(_) => {
                let folder = here.rfind('/').map_or("", |end| &here[..end]);
                straight(&format!("{folder}/{location}"))
            }
        };
        Some((Self { path, ..self.clone() }, false))
    }

    /// What follows `scheme://`.
    fn absolute(tls: bool, rest: &str) -> Option<Self> {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (place, path) = rest.split_at(end);
        let place = place.rsplit('@').next().unwrap_or_default();
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let port = match port {
            "" | ":" if tls => 443,
            "" | ":" => 80,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        let path = if path.starts_with('/') { straight(path) } else { format!("/{path}") };
        (!host.is_empty()).then(|| Self { tls, host: host.to_owned(), port, path })
    }
}

/// A path without `.` and `..`; its query stays as it is.
fn straight(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    // A path that ends in a dot segment names a directory.
    if path.ends_with("/.") || path.ends_with("/..") {
        parts.push("");
    }
    format!("/{}{query}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_where_a_browser_would_go() {
        let here = Place { tls: true, host: "h".into(), port: 8443, path: "/a/b?q=1".into() };
        for (location, leads) in [
            ("/c", Some("https://h:8443/c")),
            ("c?x=/../y", Some("https://h:8443/a/c?x=/../y")),
            ("../c/./d#part", Some("https://h:8443/c/d")),
            ("?y", Some("https://h:8443/a/b?y")),
            ("", Some("https://h:8443/a/b?q=1")),
            ("//other/x", Some("https://other:443/x")),
            ("http://me:secret@h", Some("http://h:80/")),
            ("HTTP://h:81?z", Some("http://h:81/?z")),
            ("http://[::1]:9/..", Some("http://[::1]:9/")),
            ("ftp://h/", None),
            ("http://h:many/", None),
            ("http:///x", None),
        ] {
            let found = here.follow(location).map(|(place, _)| place.to_string());
            assert_eq!(found.as_deref(), leads, "{location}");
        }
    }
}
