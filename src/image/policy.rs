//! What the operator lets this host run: which repositories, whether by digest only, and whose signatures.

use std::path::PathBuf;

use super::pattern::Pattern;
use super::reference::Reference;

/// What images must be like before they are pulled. The default asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The repositories that images may come from; empty for all.
    pub allowed: Vec<Pattern>,
    /// Whether a reference must name a digest.
    pub require_digest: bool,
    /// Whose signatures are asked for; the first rule that matches counts.
    pub signatures: Vec<SignatureRule>,
}

/// The signatures that the images of some repositories must bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureRule {
    /// The repositories.
    pub pattern: Pattern,
    /// The files of the public keys; a signature by one of them is enough.
    pub keys: Vec<PathBuf>,
}

impl Policy {
    /// Whether an image may be pulled, as far as its reference says; otherwise why not, with key and remedy.
    pub fn allows(&self, reference: &Reference) -> Result<(), String> {
        let Reference { repository, tag, digest } = reference;
        if !self.allowed.is_empty() && !self.allowed.iter().any(|one| one.matches(repository)) {
            let allowed: Vec<_> = self.allowed.iter().map(ToString::to_string).collect();
            return Err(format!(
                "images.policy.allowed has {}, none of which is {repository}; use an image from there, \
                 or add {repository} to the list",
                allowed.join(", ")
            ));
        }
        if self.require_digest && digest.is_none() {
            let tag = tag.as_deref().unwrap_or("latest");
            return Err(format!(
                "images.policy.requireDigest is on and the reference names no digest; \
                 write {repository}:{tag}@sha256:…"
            ));
        }
        Ok(())
    }

    /// The rule for the signatures of a repository's images; `None` when they need none.
    pub fn signatures_of(&self, repository: &str) -> Option<&SignatureRule> {
        self.signatures.iter().find(|rule| rule.pattern.matches(repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy that allows these patterns.
    fn allowing(patterns: &[&str]) -> Policy {
        let allowed = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        Policy { allowed, ..Policy::default() }
    }

    /// What a policy says to an image.
    fn said(policy: &Policy, image: &str) -> Result<(), String> {
        policy.allows(&Reference::parse(image).unwrap())
    }

    #[test]
    fn an_empty_policy_allows_everything() {
        assert_eq!(said(&Policy::default(), "busybox"), Ok(()));
        assert_eq!(Policy::default().signatures_of("docker.io/library/busybox"), None);
    }

    #[test]
    fn an_image_from_elsewhere_is_refused_with_key_and_remedy() {
        let policy = allowing(&["registry.example/team/*", "localhost:5000"]);
        assert_eq!(said(&policy, "registry.example/team/app:1"), Ok(()));
        assert_eq!(said(&policy, "localhost:5000/x"), Ok(()));
        assert_eq!(
            said(&policy, "busybox").unwrap_err(),
            "images.policy.allowed has registry.example/team/*, localhost:5000, none of which is \
             docker.io/library/busybox; use an image from there, or add docker.io/library/busybox to the list"
        );
    }

    #[test]
    fn a_reference_without_digest_is_refused_where_digests_are_required() {
        let policy = Policy { require_digest: true, ..Policy::default() };
        assert_eq!(
            said(&policy, "busybox:1.36").unwrap_err(),
            "images.policy.requireDigest is on and the reference names no digest; \
             write docker.io/library/busybox:1.36@sha256:…"
        );
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(said(&policy, &format!("busybox@{digest}")), Ok(()));
        assert_eq!(said(&policy, &format!("busybox:1.36@{digest}")), Ok(()));
    }

    #[test]
    fn the_first_rule_for_signatures_that_matches_counts() {
        let rule = |pattern: &str, key: &str| SignatureRule {
            pattern: Pattern::parse(pattern).unwrap(),
            keys: vec![key.into()],
        };
        let signatures = vec![rule("a.example/x", "/1.pub"), rule("a.example", "/2.pub")];
        let policy = Policy { signatures, ..Policy::default() };
        let key = |repository| policy.signatures_of(repository).map(|rule| rule.keys[0].clone());
        assert_eq!(key("a.example/x/y"), Some("/1.pub".into()));
        assert_eq!(key("a.example/z"), Some("/2.pub".into()));
        assert_eq!(key("A.example:443/z"), Some("/2.pub".into()));
        assert_eq!(key("b.example/x"), None);
    }
}
