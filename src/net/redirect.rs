//! Where a page is, and where its redirect leads.

use std::fmt;

use hyper::{Response, StatusCode, header};

use super::authority;

/// Where an answer redirects to, if it is one that does.
pub(super) fn location<T>(response: &Response<T>) -> Option<String> {
    let leads = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(header::LOCATION).filter(|_| leads)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into())
}

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
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
    /// What the header `Host` says of this place when a probe asks.
    pub(super) fn host_header(&self) -> String {
        authority(&self.host, self.port)
    }

    /// What the header `Host` says of this place: a usual port goes without saying.
    pub fn header(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let whole = authority(&self.host, self.port);
        if self.port == usual {
            whole.strip_suffix(&format!(":{usual}")).unwrap_or(&whole).to_owned()
        } else {
            whole
        }
    }

    /// Whether this is the host at `asked`, to which it may be said what was meant for that one: the same, or the same
    /// with TLS at the usual ports.
    pub fn is_known_by(&self, asked: &Self) -> bool {
        let upgraded = (asked.tls, asked.port, self.tls, self.port) == (false, 80, true, 443);
        let same = (asked.tls, asked.port) == (self.tls, self.port);
        (same || upgraded) && self.host.eq_ignore_ascii_case(&asked.host)
    }

    /// Reads an address in full.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split('#').next()?.split_once("://")?;
        Self::absolute(scheme_is_tls(scheme)?, rest)
    }

    /// Scheme, host and port without the path, which may hold secrets.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.header())
    }

    /// Where a `Location` leads from here; `None` when it is none. The second value says whether it names a host.
    pub(super) fn follow(&self, location: &str) -> Option<(Self, bool)> {
        let location = location.split('#').next().unwrap_or_default();
        if let Some((scheme, rest)) = location.split_once("://") {
            return Some((Self::absolute(scheme_is_tls(scheme)?, rest)?, true));
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

/// Whether a scheme is the one with TLS; `None` for others than HTTP's.
fn scheme_is_tls(scheme: &str) -> Option<bool> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Some(false),
        "https" => Some(true),
        _ => None,
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
