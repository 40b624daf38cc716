//! Label selectors: `a=b,c!=d,e in (f,g),h,!i`.

use std::{collections::BTreeMap, fmt};

/// A selector: all of its requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    /// The label's key.
    key: String,
    /// What must hold of it.
    test: Test,
}

/// What must hold of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    /// It is there with one of these values.
    In(Vec<String>),
    /// It is absent or has none of these values.
    NotIn(Vec<String>),
    /// It is there.
    Exists,
    /// It is absent.
    Absent,
    /// It is a whole number above this one.
    Above(i64),
    /// It is a whole number below this one.
    Below(i64),
}

impl Selector {
    /// Reads a selector; an empty one selects everything.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        Parser { rest: text }.selector().map(Self)
    }

    /// Whether labels are selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match &requirement.test {
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::Above(than) => number().is_some_and(|number| number > *than),
                Test::Below(than) => number().is_some_and(|number| number < *than),
            }
        })
    }
}

/// What is wrong with a selector.
#[derive(Debug)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a selector is written, for whoever wrote it wrong.
pub const SELECTOR_SYNTAX: &str = "write it as key=value,key2!=value,key3 in (a,b),key4,!key5";

/// The rest of a selector that is being read.
struct Parser<'a> {
    /// What is left.
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// All requirements.
    fn selector(mut self) -> Result<Vec<Requirement>, Fault> {
        let mut requirements = Vec::new();
        self.blanks();
        while !self.rest.is_empty() {
            requirements.push(self.requirement()?);
            if !self.sign(",") {
                break;
            }
            if self.rest.is_empty() {
                return Err(Fault("nothing after the last comma".to_owned()));
            }
        }
        if self.rest.is_empty() {
            Ok(requirements)
        } else {
            Err(Fault(format!("{:?} was not expected", self.rest)))
        }
    }

    /// One requirement.
    fn requirement(&mut self) -> Result<Requirement, Fault> {
        let absent = self.sign("!");
        let key = self.word();
        if !is_key(key) {
            return Err(Fault(format!("{key:?} is no label key")));
        }
        let test = if absent { Test::Absent } else { self.test()? };
        Ok(Requirement { key: key.to_owned(), test })
    }

    /// What follows a key.
    fn test(&mut self) -> Result<Test, Fault> {
        if self.sign("==") || self.sign("=") {
            return Ok(Test::In(vec![self.value()?]));
        }
        if self.sign("!=") {
            return Ok(Test::NotIn(vec![self.value()?]));
        }
        if self.sign(">") {
            return self.number().map(Test::Above);
        }
        if self.sign("<") {
            return self.number().map(Test::Below);
        }
        match self.word() {
            "" => Ok(Test::Exists),
            "in" => self.values().map(Test::In),
            "notin" => self.values().map(Test::NotIn),
            other => Err(Fault(format!("{other:?} is no operator"))),
        }
    }

    /// Values in parentheses.
    fn values(&mut self) -> Result<Vec<String>, Fault> {
        if !self.sign("(") {
            return Err(Fault("values stand in parentheses".to_owned()));
        }
        let mut values = vec![self.value()?];
        while self.sign(",") {
            values.push(self.value()?);
        }
        if self.sign(")") { Ok(values) } else { Err(Fault("a parenthesis is missing".to_owned())) }
    }

    /// One value, possibly empty.
    fn value(&mut self) -> Result<String, Fault> {
        let value = self.word();
        if is_value(value) {
            Ok(value.to_owned())
        } else {
            Err(Fault(format!("{value:?} is no label value")))
        }
    }

    /// A whole number.
    fn number(&mut self) -> Result<i64, Fault> {
        let word = self.word();
        word.parse().map_err(|_| Fault(format!("{word:?} is no whole number")))
    }

    /// Letters up to the next sign or blank.
    fn word(&mut self) -> &'a str {
        let ends = |letter: char| letter.is_whitespace() || "=!<>(),".contains(letter);
        let (word, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        self.blanks();
        word
    }

    /// Takes a sign when it comes next.
    fn sign(&mut self, sign: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(sign) else {
            return false;
        };
        self.rest = rest;
        self.blanks();
        true
    }

    /// Passes over blanks.
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

/// Whether a text can be a label's key.
fn is_key(text: &str) -> bool {
    let name = text.split_once('/').map_or(text, |(_, name)| name);
    !name.is_empty() && is_value(name) && !text.starts_with('/')
}

/// Whether a text can be a label's value.
fn is_value(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        Selector::parse(selector).unwrap().selects(&labels.collect())
    }

    #[test]
    fn every_operator_selects_as_in_kubernetes() {
        let labels = [("app", "web"), ("example.com/tier", "front"), ("n", "5"), ("empty", "")];
        for selector in [
            "",
            "  ",
            "app=web",
            "app == web",
            "app!=db",
            "missing!=db",
            "app in (db, web)",
            "app notin (db)",
            "missing notin (db)",
            "app",
            "!missing",
            "! missing",
            "example.com/tier=front,app in (web),n",
            "n>4,n<6",
            "empty=",
            "empty in (,a)",
            " app = web , !x ",
        ] {
            assert!(selects(selector, &labels), "{selector:?}");
        }
        for selector in [
            "app=db",
            "app!=web",
            "missing=db",
            "missing in (db)",
            "app notin (web)",
            "missing",
            "!app",
            "app=web,missing",
            "n>5",
            "app<6",
            "app=",
        ] {
            assert!(!selects(selector, &labels), "{selector:?}");
        }
    }

    #[test]
    fn broken_selectors_say_what_is_wrong() {
        for (selector, problem) in [
            ("app=web,", "nothing after the last comma"),
            (",", "\"\" is no label key"),
            ("app in web", "values stand in parentheses"),
            ("app in (web", "a parenthesis is missing"),
            ("app like web", "\"like\" is no operator"),
            ("app=web=db", "\"=db\" was not expected"),
            ("-app", "\"-app\" is no label key"),
            ("app=a/b", "\"a/b\" is no label value"),
            ("n>x", "\"x\" is no whole number"),
            ("!app=x", "\"=x\" was not expected"),
        ] {
            let error = Selector::parse(selector).unwrap_err().to_string();
            assert!(error.ends_with(problem), "{error}");
        }
    }
}
