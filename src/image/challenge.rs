//! What a registry wants before it answers: the header `WWW-Authenticate`.

/// One way of getting in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User and password in each request.
    Basic,
    /// A token in each request, which somebody else gives.
    Bearer {
        /// The address of who gives it.
        realm: String,
        /// What the token is for, in that one's words.
        service: Option<String>,
        /// What one may do with it.
        scope: Option<String>,
    },
}

/// The challenges of some headers that we know how to meet, tokens first.
pub fn challenges<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = headers.into_iter().flat_map(of_header).collect();
    found.sort_by_key(|challenge| *challenge == Challenge::Basic);
    found
}

/// The challenges of one header.
fn of_header(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header;
    while let Some((scheme, after)) = word(rest) {
        let mut parameters = Vec::new();
        rest = after;
        while let Some((name, value, after)) = parameter(rest) {
            parameters.push((name.to_ascii_lowercase(), value));
            rest = after;
        }
        let mut take = |name: &str| {
            let at = parameters.iter().position(|(known, _)| known == name)?;
            Some(parameters.swap_remove(at).1).filter(|value| !value.is_empty())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = take("realm")
        {
            found.push(Challenge::Bearer { realm, service: take("service"), scope: take("scope") });
        }
    }
    found
}

/// The next word, behind what separates it from the one before.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The next `name=value` or `name="value"`, if the next thing is one.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t', ',']);
    let end = text.find(['=', ' ', '\t', ',', '"'])?;
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start_matches([' ', '\t']).strip_prefix('=')?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ' ', '\t']).unwrap_or(rest.len());
        return Some((name, rest[..end].to_owned(), &rest[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((name, value, &quoted[at + 1..])),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    Some((name, value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.into(), service: text(service), scope: text(scope) }
    }

    #[test]
    fn registries_say_what_they_want() {
        let full = bearer("https://auth/token", Some("r.io"), Some("repository:a/b:pull,push"));
        for (headers, wanted) in [
            (vec![], vec![]),
            (vec![""], vec![]),
            (vec!["Basic"], vec![Challenge::Basic]),
            (vec!["basic realm=\"Registry, Realm\""], vec![Challenge::Basic]),
            (
                vec![
                    "Bearer realm=\"https://auth/token\",service=\"r.io\",scope=\"repository:a/b:pull,push\"",
                ],
                vec![full.clone()],
            ),
            (
                vec![
                    "bearer Service = r.io , REALM=\"https://auth/token\", error=\"invalid_token\", scope=\"repository:a/b:pull,push\"",
                ],
                vec![full],
            ),
            (
                vec!["Basic realm=x, Bearer realm=y,service=\"\""],
                vec![bearer("y", None, None), Challenge::Basic],
            ),
            (vec!["Negotiate", "Negotiate YWJj==, Basic realm=\"a\\\"b\""], vec![Challenge::Basic]),
            (
                vec!["Digest realm=\"a\", nonce=\"b\"", "Bearer realm=\"c"],
                vec![bearer("c", None, None)],
            ),
            (vec!["Bearer service=nowhere", "Bearer", ",,,"], vec![]),
        ] {
            assert_eq!(challenges(headers.iter().copied()), wanted, "{headers:?}");
        }
    }
}
