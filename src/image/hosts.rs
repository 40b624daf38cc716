//! Where a registry's images are fetched from: its mirrors and itself, as containerd's `hosts.toml` says.

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::{DeTable, DeValue};

/// How long a connection may take where `dial_timeout` says nothing.
const DIAL: Duration = Duration::from_secs(30);

/// One host that serves a registry's images. Its `Debug` hides what headers say.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own in the file")]
pub struct Endpoint {
    /// Whether by TLS.
    pub tls: bool,
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path before `/<repository>/manifests/…`, usually `/v2`.
    pub path: String,
    /// Whether it may say what a tag means.
    pub resolves: bool,
    /// Whether blobs and manifests by digest may come from it.
    pub pulls: bool,
    /// Whether it is the registry itself and not a mirror of it: mirrors are told the registry by `?ns=`.
    pub own: bool,
    /// Certificates that are believed beside the system's.
    pub ca: Vec<PathBuf>,
    /// Certificates that we show, each with its key; one file may hold both.
    pub client: Vec<(PathBuf, PathBuf)>,
    /// Whether any certificate is believed.
    pub skip_verify: bool,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// How long a connection may take.
    pub dial: Duration,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "Endpoint({scheme}://{}{}", self.name(), self.path)?;
        write!(f, ", own {}, resolves {}, pulls {}", self.own, self.resolves, self.pulls)?;
        write!(f, ", ca {:?}, client {:?}", self.ca, self.client)?;
        write!(f, ", skip_verify {}, headers {headers:?}", self.skip_verify)?;
        write!(f, ", dial {:?})", self.dial)
    }
}

impl Endpoint {
    /// A registry itself, when nothing is said about it.
    pub fn of(registry: &str) -> Result<Self, String> {
        Self::at(registry, registry, false)
    }

    /// The host, with its port where that is not the usual one.
    pub fn name(&self) -> String {
        let Self { host, port, tls, .. } = self;
        let host = if host.contains(':') { Cow::from(format!("[{host}]")) } else { host.into() };
        if *port == usual_port(*tls) { host.into_owned() } else { format!("{host}:{port}") }
    }

    /// What serves `registry` at an address such as `https://mirror:5000/path`; no scheme means TLS.
    fn at(address: &str, registry: &str, whole_path: bool) -> Result<Self, String> {
        let (tls, rest) = match address.split_once("://") {
            None => (true, address),
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err("is neither http:// nor https://".into()),
        };
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let known = "write one such as \"https://mirror.example:5000\"";
        let (host, port) =
            host_and_port(place, tls).ok_or_else(|| format!("is no host; {known}"))?;
        if path.contains(['?', '#']) {
            return Err(format!("has more than a path behind the host; {known}"));
        }
        // The registry that people call docker.io answers at another name, whatever a file says.
        let host = if host == "docker.io" { "registry-1.docker.io".to_owned() } else { host };
        let (named, named_port) = match registry {
            "docker.io" => ("registry-1.docker.io".to_owned(), 443),
            registry => host_and_port(registry, tls)
                .ok_or_else(|| format!("is no registry: {registry:?}; {known}"))?,
        };
        let path = path.trim_end_matches('/');
        let path =
            if whole_path || path.ends_with("/v2") { path.into() } else { format!("{path}/v2") };
        Ok(Self {
            tls,
            own: host.eq_ignore_ascii_case(&named) && port == named_port,
            host,
            port,
            path,
            resolves: true,
            pulls: true,
            ca: Vec::new(),
            client: Vec::new(),
            skip_verify: false,
            headers: Vec::new(),
            dial: DIAL,
        })
    }
}

/// The port that goes without saying.
fn usual_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Takes `host[:port]` apart.
fn host_and_port(place: &str, tls: bool) -> Option<(String, u16)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let port = match port {
        "" => usual_port(tls),
        port => port.strip_prefix(':')?.parse().ok()?,
    };
    let sound =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(sound)).then(|| (host.to_owned(), port))
}

/// The directories below the one with all registries' that may hold this one's files; the first that is there counts.
pub fn directories(registry: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Some((host, port)) = registry.rsplit_once(':') {
        names.push(format!("{host}_{port}_"));
    }
    names.extend([registry.to_owned(), "_default".to_owned()]);
    names
}

/// The hosts of a registry in the order in which a `hosts.toml` in `directory` wants them asked.
///
/// An error names the place in the file, the value and the remedy. Keys that nobody knows are passed over, as containerd
/// passes over them: a file may be written for a newer one.
pub fn endpoints(text: &str, directory: &Path, registry: &str) -> Result<Vec<Endpoint>, String> {
    let file = DeTable::parse(text).map_err(|error| {
        let line =
            error.span().map(|span| text[..span.start.min(text.len())].lines().count().max(1));
        let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        format!("{line}{}; write it as TOML", error.message())
    })?;
    let file = file.get_ref();
    let mut hosts: Vec<(usize, &str, &DeTable<'_>)> = Vec::new();
    if let Some(given) = file.get("host") {
        let table = given.get_ref().as_table().ok_or_else(|| {
            kind("host", given.get_ref(), "sections such as [host.\"https://mirror.example\"]")
        })?;
        for (name, section) in table {
            let place = format!("host.{:?}", name.get_ref());
            let section = section.get_ref();
            let table = section.as_table().ok_or_else(|| kind(&place, section, "a section"))?;
            hosts.push((name.span().start, name.get_ref(), table));
        }
    }
    // In the order of the file: the first is asked first.
    hosts.sort_by_key(|(place, ..)| *place);
    let mut endpoints = Vec::new();
    for (_, name, section) in hosts {
        let place = format!("host.{name:?}");
        endpoints.push(endpoint(
            Section { place: &place, table: section, directory },
            name,
            registry,
        )?);
    }
    let server = match file.get("server") {
        None => registry,
        Some(value) => match value.get_ref().as_str() {
            Some("") => registry,
            Some(server) => server,
            None => return Err(kind("server", value.get_ref(), "one address in quotes")),
        },
    };
    endpoints.push(endpoint(Section { place: "", table: file, directory }, server, registry)?);
    Ok(endpoints)
}

/// The keys that stand for one host.
#[derive(Clone, Copy)]
struct Section<'a> {
    /// Where they stand in the file.
    place: &'a str,
    /// The keys.
    table: &'a DeTable<'a>,
    /// What paths are relative to.
    directory: &'a Path,
}

/// Reads the keys that stand for one host.
fn endpoint(section: Section<'_>, address: &str, registry: &str) -> Result<Endpoint, String> {
    let whole_path = section.flag("override_path")?;
    let mut endpoint = Endpoint::at(address, registry, whole_path).map_err(|problem| {
        let place = if section.place.is_empty() { "server" } else { section.place };
        format!("{place}: {address:?} {problem}")
    })?;
    endpoint.skip_verify = section.flag("skip_verify")?;
    section.capabilities(&mut endpoint)?;
    endpoint.ca = section.files("ca")?.into_iter().map(|(file, _)| file).collect();
    endpoint.client = section.files("client")?;
    endpoint.headers = section.headers()?;
    if let Some(value) = section.value("dial_timeout") {
        let remedy = "a duration such as \"5s\" or \"500ms\"";
        let place = section.at("dial_timeout");
        let text = value.as_str().ok_or_else(|| kind(&place, value, remedy))?;
        endpoint.dial =
            duration(text).ok_or_else(|| format!("{place}: {text:?} is none; write {remedy}"))?;
    }
    Ok(endpoint)
}

impl<'a> Section<'a> {
    /// Where a key stands in the file.
    fn at(self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    /// A key's value.
    fn value(self, key: &str) -> Option<&'a DeValue<'a>> {
        self.table.get(key).map(toml::Spanned::get_ref)
    }

    /// A key that is true or false.
    fn flag(self, key: &str) -> Result<bool, String> {
        let Some(value) = self.value(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| kind(&self.at(key), value, "true or false, without quotes"))
    }

    /// What the host may be asked for; everything where nothing is said.
    fn capabilities(self, endpoint: &mut Endpoint) -> Result<(), String> {
        let Some(value) = self.value("capabilities") else { return Ok(()) };
        let remedy = "a list such as [\"pull\", \"resolve\"]";
        let place = self.at("capabilities");
        let list = value.as_array().ok_or_else(|| kind(&place, value, remedy))?;
        if list.is_empty() {
            return Ok(());
        }
        (endpoint.pulls, endpoint.resolves) = (false, false);
        for word in list {
            let word = word.get_ref();
            let text = word.as_str().ok_or_else(|| kind(&place, word, remedy))?;
            match text.to_ascii_lowercase().as_str() {
                "pull" => endpoint.pulls = true,
                "resolve" => endpoint.resolves = true,
                "push" | "referrers" => {}
                _ => return Err(format!("{place}: {text:?} is no capability; write {remedy}")),
            }
        }
        Ok(())
    }

    /// Files, or pairs of them: a text, texts, or (for `client`) lists of two. What has no partner is its own.
    fn files(self, key: &str) -> Result<Vec<(PathBuf, PathBuf)>, String> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let pairs = key == "client";
        let remedy = if pairs {
            "a path, or a list of paths or of pairs such as [[\"client.cert\", \"client.key\"]]"
        } else {
            "a path or a list of paths"
        };
        let place = self.at(key);
        let file = |text: &str| self.directory.join(text);
        let one = |value: &DeValue<'_>| match value {
            DeValue::String(text) if !text.is_empty() => Ok((file(text), file(text))),
            DeValue::Array(pair) if pairs => {
                let texts: Vec<_> =
                    pair.iter().filter_map(|text| text.get_ref().as_str()).collect();
                match texts[..] {
                    [both, ""] if pair.len() == 2 => Ok((file(both), file(both))),
                    [certificate, key] if pair.len() == 2 => Ok((file(certificate), file(key))),
                    _ => Err(format!("{place}: a pair of other than two paths; write {remedy}")),
                }
            }
            DeValue::String(_) => Err(format!("{place}: empty; write {remedy}")),
            other => Err(kind(&place, other, remedy)),
        };
        match value {
            DeValue::Array(list) => list.iter().map(|value| one(value.get_ref())).collect(),
            value => Ok(vec![one(value)?]),
        }
    }

    /// Headers, each of one value or several.
    fn headers(self) -> Result<Vec<(String, String)>, String> {
        let mut headers = Vec::new();
        let Some(value) = self.value("header") else { return Ok(headers) };
        let place = self.at("header");
        let table = value.as_table();
        for (name, value) in table.ok_or_else(|| kind(&place, value, "a section of headers"))? {
            let place = format!("{place}.{}", name.get_ref());
            let word =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.get_ref().is_empty() || !name.get_ref().bytes().all(word) {
                return Err(format!("{place}: no name of a header; write one such as x-token"));
            }
            let remedy = "a text or a list of texts";
            let mut add = |value: &DeValue<'_>| {
                let text = value.as_str().ok_or_else(|| kind(&place, value, remedy))?;
                // The text is not repeated: it may be a secret.
                if text.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
                    return Err(format!("{place}: holds control characters; write it in one line"));
                }
                headers.push((name.get_ref().to_ascii_lowercase(), text.to_owned()));
                Ok(())
            };
            match value.get_ref() {
                DeValue::Array(list) => list.iter().try_for_each(|value| add(value.get_ref()))?,
                value => add(value)?,
            }
        }
        Ok(headers)
    }
}

/// A complaint about a value of the wrong kind.
fn kind(place: &str, value: &DeValue<'_>, remedy: &str) -> String {
    format!("{place}: of the type {}; write {remedy}", value.type_str())
}

/// A duration in Go's words, such as `1m30s` or `1.5s`; zero means no limit of its own, so it is none.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut whole = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let tail = &rest[end..];
        let end = tail.find(|letter: char| letter.is_ascii_digit()).unwrap_or(tail.len());
        whole += number
            * match &tail[..end] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &tail[end..];
    }
    Duration::try_from_secs_f64(whole).ok().filter(|duration| !duration.is_zero())
}

#[cfg(test)]
mod tests;
