//! Proxies as the environment names them: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, as Go reads them.

use std::{fmt, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Error, authority, connection::Stream, redirect::Place};

/// The longest answer to a CONNECT.
const ANSWER_LIMIT: usize = 8 << 10;

/// The proxies of this process, and who is asked without them.
#[derive(Debug, Default)]
pub struct Proxies {
    /// For requests by TLS.
    https: Option<Result<Proxy, String>>,
    /// For the others.
    http: Option<Result<Proxy, String>>,
    /// Who is asked directly.
    without: Vec<String>,
}

/// A proxy. Its `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Where it is.
    pub place: Place,
    /// What it is shown, if anything.
    pub authorization: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place.origin())
    }
}

impl Proxies {
    /// Those that some variables name.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |upper: &str| {
            let set = |name: &str| variable(name).filter(|value| !value.is_empty());
            set(upper).or_else(|| set(&upper.to_ascii_lowercase()))
        };
        let proxy = |name| either(name).map(|text| Proxy::parse(name, &text));
        let without = either("NO_PROXY").unwrap_or_default();
        Self {
            https: proxy("HTTPS_PROXY"),
            http: proxy("HTTP_PROXY"),
            without: without
                .split(',')
                .map(|part| part.trim().to_ascii_lowercase())
                .filter(|part| !part.is_empty())
                .collect(),
        }
    }

    /// The proxy for a place; an error when it is one that we cannot speak with.
    pub(super) fn proxy(&self, place: &Place) -> Result<Option<&Proxy>, Error> {
        let chosen = if place.tls { &self.https } else { &self.http };
        match chosen {
            Some(chosen) if !self.passes_by(&place.host.to_ascii_lowercase(), place.port) => {
                chosen.as_ref().map(Some).map_err(|problem| Error::Proxy(problem.clone()))
            }
            _ => Ok(None),
        }
    }

    /// Whether a host is asked directly.
    fn passes_by(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.without.iter().any(|rule| {
            if rule == "*" {
                return true;
            }
            if let (Some(address), Some((network, bits))) = (address, rule.split_once('/')) {
                return within(address, network, bits).unwrap_or(false);
            }
            let rule = match rule.rsplit_once(':') {
                Some((rule, number)) if !rule.contains(':') || rule.ends_with(']') => {
                    if number.parse() != Ok(port) {
                        return false;
                    }
                    rule
                }
                _ => rule,
            };
            let rule = rule.trim_start_matches('[').trim_end_matches(']');
            if let Ok(named) = rule.parse::<IpAddr>() {
                return address == Some(named);
            }
            let (domain, itself) = match rule.strip_prefix("*.").or(rule.strip_prefix('.')) {
                Some(domain) => (domain, false),
                None => (rule, true),
            };
            itself && host == domain
                || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        })
    }
}

/// Whether an address is in a network; `None` when that is none.
fn within(address: IpAddr, network: &str, bits: &str) -> Option<bool> {
    let network: IpAddr = network.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    let (one, other, length) = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (u128::from(one.to_bits()), u128::from(other.to_bits()), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return Some(false),
    };
    let differing = one ^ other;
    Some(differing.checked_shr(length - bits.min(length)).unwrap_or(0) == 0)
}

impl Proxy {
    /// Reads the value of a variable; an error does not repeat it, since it may hold a password.
    fn parse(name: &str, text: &str) -> Result<Self, String> {
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let place = Place::parse(&url).filter(|place| !place.tls);
        let place = place.ok_or_else(|| {
            format!(
                "the variable {name} names no proxy of the form http://[user:password@]host:port"
            )
        })?;
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let user = rest.split(['/', '?']).next().and_then(|place| place.rsplit_once('@'));
        let authorization = user.map(|(user, _)| format!("Basic {}", STANDARD.encode(plain(user))));
        Ok(Self { place: Place { path: String::new(), ..place }, authorization })
    }

    /// Asks the proxy to connect a stream through to a place.
    pub(super) async fn connect(
        &self,
        stream: &mut dyn Stream,
        place: &Place,
    ) -> Result<(), Error> {
        let target = authority(&place.host, place.port);
        let shown = match &self.authorization {
            Some(shown) => format!("Proxy-Authorization: {shown}\r\n"),
            None => String::new(),
        };
        let proxy = self.place.origin();
        let failed = |problem: String| Error::Proxy(format!("{proxy} to {target}: {problem}"));
        let broken = |error: std::io::Error| failed(error.to_string());
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{shown}\r\n");
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut answer = Vec::new();
        // Byte by byte: what comes after the headers is the server's.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() == ANSWER_LIMIT {
                return Err(failed("its answer has no end".into()));
            }
            answer.push(stream.read_u8().await.map_err(broken)?);
        }
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.lines().next().unwrap_or_default();
        match status.split(' ').nth(1) {
            Some(code) if code.starts_with('2') => Ok(()),
            Some("407") => Err(failed(
                "it wants a user and a password; write them into the variable before an @".into(),
            )),
            _ => Err(failed(format!("it answers {status:?}"))),
        }
    }
}

/// A text without its `%` escapes.
fn plain(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut plain = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (*byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            (byte, _, _) => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &'static [(&str, &str)]) -> Proxies {
        Proxies::of(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
        })
    }

    fn chosen(proxies: &Proxies, url: &str) -> String {
        match proxies.proxy(&Place::parse(url).unwrap()) {
            Ok(None) => "none".into(),
            Ok(Some(proxy)) => format!("{proxy:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_environment_names_proxies_and_who_is_asked_without() {
        let proxies = proxies(&[
            ("HTTPS_PROXY", "http://me:s%40cret@proxy:3128"),
            ("http_proxy", "other:8080/"),
            (
                "NO_PROXY",
                " .in.example, plain.example,10.0.0.0/8,host:5000,fd00::/16,::2,*.star, 192.0.2.7",
            ),
        ]);
        for (url, by) in [
            ("https://quay.io/v2", "http://proxy:3128"),
            ("http://quay.io/v2", "http://other:8080"),
            ("https://localhost:5000", "none"),
            ("https://127.0.0.9", "none"),
            ("https://[::1]:5000", "none"),
            ("https://in.example", "http://proxy:3128"),
            ("https://a.in.example", "none"),
            ("https://Plain.Example", "none"),
            ("https://a.plain.example", "none"),
            ("https://aplain.example", "http://proxy:3128"),
            ("https://10.200.0.1:5000", "none"),
            ("https://11.0.0.1", "http://proxy:3128"),
            ("https://host:5000", "none"),
            ("https://host:5001", "http://proxy:3128"),
            ("https://[fd00:0:1::1]", "none"),
            ("https://[fd01::1]", "http://proxy:3128"),
            ("https://[::2]", "none"),
            ("https://a.star", "none"),
            ("https://192.0.2.7:1", "none"),
        ] {
            assert_eq!(chosen(&proxies, url), by, "{url}");
        }
        let shown = &proxies.proxy(&Place::parse("https://x").unwrap()).unwrap().unwrap();
        assert_eq!(shown.authorization.as_deref(), Some("Basic bWU6c0BjcmV0"));
        assert!(!format!("{proxies:?}").contains("cret"), "{proxies:?}");
    }

    #[test]
    fn without_variables_nobody_is_asked_by_proxy() {
        assert_eq!(chosen(&proxies(&[("HTTPS_PROXY", "")]), "https://x"), "none");
        assert_eq!(
            chosen(&proxies(&[("HTTPS_PROXY", "p"), ("no_proxy", "*")]), "https://x"),
            "none"
        );
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_without_repeating_its_password() {
        let wrong = proxies(&[("HTTPS_PROXY", "socks5://me:secret@proxy:1")]);
        assert_eq!(
            chosen(&wrong, "https://x"),
            "proxy: the variable HTTPS_PROXY names no proxy of the form http://[user:password@]host:port"
        );
        assert!(!format!("{wrong:?}").contains("secret"));
    }
}
