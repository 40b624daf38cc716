//! A pod's `resolv.conf`: the host's, or the pod's own, with `dnsConfig` laid over it.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::PodSpec;

/// How many name servers a resolver looks at.
const MAX_NAMESERVERS: usize = 3;

/// How many search domains Kubernetes lets through.
const MAX_SEARCHES: usize = 32;

/// How long the search list may be, spaces included.
const MAX_SEARCH_LENGTH: usize = 2048;

/// What a `resolv.conf` says.
#[derive(Debug, Default)]
struct Resolver {
    /// Name servers in order.
    nameservers: Vec<String>,
    /// Search domains in order.
    searches: Vec<String>,
    /// Options, such as `ndots:5`.
    options: Vec<String>,
}

/// The text of the pod's `resolv.conf`. A node without a cluster has no cluster DNS, so every policy but `None`
/// starts from the host's file, as the kubelet falls back when it knows no cluster DNS.
pub fn resolv_conf(spec: &PodSpec, host: &str) -> String {
    let mut resolver = match spec.dns_policy.as_deref() {
        Some("None") => Resolver::default(),
        _ => Resolver::parse(host),
    };
    if let Some(config) = &spec.dns_config {
        append(&mut resolver.nameservers, config.nameservers.iter().flatten());
        append(&mut resolver.searches, config.searches.iter().flatten());
        for option in config.options.iter().flatten() {
            if let Some(name) = &option.name {
                resolver.set_option(name, option.value.as_deref().unwrap_or_default());
            }
        }
    }
    resolver.nameservers.truncate(MAX_NAMESERVERS);
    resolver.trim_searches();
    resolver.text()
}

/// Appends what is not there yet.
fn append<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for entry in more {
        if !list.contains(entry) {
            list.push(entry.clone());
        }
    }
}

impl Resolver {
    /// Reads a file: the last `search` line counts, name servers and options add up.
    fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => resolver.nameservers.extend(words.next().map(Into::into)),
                Some("search") => {
                    let domains = words.map(|word| word.strip_suffix('.').unwrap_or(word));
                    resolver.searches =
                        domains.filter(|word| !word.is_empty()).map(Into::into).collect();
                }
                Some("options") => {
                    for word in words {
                        let (name, value) = word.split_once(':').unwrap_or((word, ""));
                        resolver.set_option(name, value);
                    }
                }
                _ => {}
            }
        }
        resolver
    }

    /// Sets an option by name.
    fn set_option(&mut self, name: &str, value: &str) {
        let option = if value.is_empty() { name.to_owned() } else { format!("{name}:{value}") };
        match self.options.iter_mut().find(|known| known.split(':').next() == Some(name)) {
            Some(known) => *known = option,
            None => self.options.push(option),
        }
    }

    /// Cuts the search list to what resolvers take.
    fn trim_searches(&mut self) {
        self.searches.truncate(MAX_SEARCHES);
        while self.searches.join(" ").len() > MAX_SEARCH_LENGTH {
            self.searches.pop();
        }
    }

    /// The file's text, in the order that container runtimes write it.
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            let _ = writeln!(text, "search {}", self.searches.join(" "));
        }
        for server in &self.nameservers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodDNSConfig, PodDNSConfigOption};

    use super::*;

    const HOST: &str = "# managed\nnameserver 10.0.0.1\nsearch old.example\nsearch a.example. . b.example\n\
        nameserver 10.0.0.2 ; second\noptions ndots:2 edns0\noptions ndots:3\n";

    #[test]
    fn the_hosts_file_is_taken_over_in_normal_form() {
        for policy in [None, Some("Default"), Some("ClusterFirst"), Some("ClusterFirstWithHostNet")]
        {
            let spec = PodSpec { dns_policy: policy.map(Into::into), ..PodSpec::default() };
            assert_eq!(
                resolv_conf(&spec, HOST),
                "search a.example b.example\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n\
                 options ndots:3 edns0\n"
            );
        }
        assert_eq!(resolv_conf(&PodSpec::default(), ""), "");
    }

    #[test]
    fn the_pods_own_configuration_adds_up_or_stands_alone() {
        let config = PodDNSConfig {
            nameservers: Some(vec!["10.0.0.2".into(), "1.1.1.1".into(), "8.8.8.8".into()]),
            searches: Some(vec!["c.example".into()]),
            options: Some(vec![PodDNSConfigOption {
                name: Some("ndots".into()),
                value: Some("5".into()),
            }]),
        };
        let mut spec = PodSpec { dns_config: Some(config), ..PodSpec::default() };
        assert_eq!(
            resolv_conf(&spec, HOST),
            "search a.example b.example c.example\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n\
             nameserver 1.1.1.1\noptions ndots:5 edns0\n"
        );
        spec.dns_policy = Some("None".into());
        assert_eq!(
            resolv_conf(&spec, HOST),
            "search c.example\nnameserver 10.0.0.2\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n\
             options ndots:5\n"
        );
    }

    #[test]
    fn too_long_a_search_list_is_cut_from_its_end() {
        let long: Vec<String> = (0..40).map(|n| format!("{n}{}", "x".repeat(90))).collect();
        let spec = PodSpec::default();
        let text = resolv_conf(&spec, &format!("search {}\n", long.join(" ")));
        assert!(text.len() <= MAX_SEARCH_LENGTH + "search \n".len(), "{}", text.len());
        assert!(text.starts_with(&format!("search {} ", long[0])));
    }
}
