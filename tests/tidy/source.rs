//! Source files as the house rules see them: code without comments and strings, functions, log fields.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of Rust.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path below the repository.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
    /// The same lines with comments and the insides of strings blanked out.
    pub(crate) code: String,
    /// How many lines stand before its in-file tests; none in a file of tests.
    pub(crate) code_lines: usize,
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository; its absence is a fault of the house.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below `folder` for which `wanted` holds, in order; empty when the folder is not there.
pub(crate) fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = vec![];
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(files(&path, wanted));
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every Rust file below a folder of the repository.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let rust = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    files(&root().join(folder), &rust)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            Source::of(&name, &read(&name))
        })
        .collect()
}

impl Source {
    /// Reads a file's text.
    pub(crate) fn of(path: &str, text: &str) -> Self {
        let code = without_comments_and_strings(text);
        let tests = code
            .lines()
            .zip(code.lines().skip(1))
            .position(|(line, next)| {
                line.trim() == "#[cfg(test)]" && next.trim_end().ends_with("mod tests {")
            })
            .unwrap_or_else(|| code.lines().count());
        let is_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
        let code_lines = if is_tests { 0 } else { tests };
        Self { path: path.into(), text: text.into(), code, code_lines }
    }

    /// The floor it stands on; none for `src/lib.rs` and its like.
    pub(crate) fn folder(&self) -> Option<&str> {
        let mut parts = self.path.strip_prefix("src/")?.split('/');
        let folder = parts.next()?;
        parts.next().map(|_| folder)
    }

    /// Line, name and length in lines of each function outside the tests.
    pub(crate) fn functions(&self) -> Vec<(usize, String, usize)> {
        let lines: Vec<&str> = self.code.lines().take(self.code_lines).collect();
        let mut found = vec![];
        for (start, line) in lines.iter().enumerate() {
            let Some(at) = line.find("fn ").filter(|at| {
                line[..*at].split_whitespace().all(|word| {
                    ["pub", "async", "const", "unsafe", "extern", ""].contains(&word)
                        || word.starts_with("pub(")
                        || word.ends_with(')')
                })
            }) else {
                continue;
            };
            let name: String =
                line[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if let Some(end) = end_of_block(&lines[start..]) {
                found.push((start + 1, name, end + 1));
            }
        }
        found
    }

    /// Line and name of each field in a tracing macro.
    pub(crate) fn log_fields(&self) -> Vec<(usize, String)> {
        const MACROS: [&str; 10] = [
            "error!(",
            "warn!(",
            "info!(",
            "debug!(",
            "trace!(",
            "error_span!(",
            "warn_span!(",
            "info_span!(",
            "debug_span!(",
            "trace_span!(",
        ];
        let mut found = vec![];
        for name in MACROS {
            for (at, _) in self.code.match_indices(name) {
                let before = self.code[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                let line = self.code[..at].lines().count().max(1);
                for argument in arguments(&self.code[at + name.len()..]) {
                    found.extend(field_name(&argument).map(|field| (line, field)));
                }
            }
        }
        found
    }
}

/// Whether a line of code holds this text as whole words.
pub(crate) fn says(code: &str, text: &str) -> bool {
    let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let opens = joined(text.chars().next());
    let closes = joined(text.chars().next_back());
    code.match_indices(text).any(|(at, _)| {
        let before = opens && joined(code[..at].chars().next_back());
        let after = closes && joined(code[at + text.len()..].chars().next());
        !before && !after
    })
}

/// The line on which the block closes that the first `{` opens; none when a `;` comes before it.
fn end_of_block(lines: &[&str]) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (number, line) in lines.iter().enumerate() {
        for c in line.chars() {
            match c {
                '{' => braces += 1,
                '}' => {
                    braces = braces.saturating_sub(1);
                    if braces == 0 {
                        return Some(number);
                    }
                }
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                ';' if braces == 0 && brackets == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

/// The arguments of a macro call, from behind its opening bracket.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut arguments, mut argument) = (1, vec![], String::new());
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => {
                arguments.push(std::mem::take(&mut argument));
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        argument.push(c);
    }
    arguments.push(argument);
    arguments
}

/// The name that an argument gives its field: `pod = %name`, `%pod` or `pod`; none for the message.
fn field_name(argument: &str) -> Option<String> {
    let argument = argument.trim();
    let (name, _) = argument.split_once('=').unwrap_or((argument, ""));
    let name = name.trim().trim_start_matches(['%', '?']);
    let plain = !name.is_empty()
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_lowercase());
    plain.then(|| name.to_owned())
}

/// Blanks out comments and what strings hold; lines and columns of the rest stay where they are.
fn without_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let length = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['r', '"' | '#', ..] if !joins(&code) => raw_string(rest),
            ['"', ..] => string(rest),
            ['\'', '\\', ..] => 3 + rest[3..].iter().position(|c| *c == '\'').unwrap_or(0),
            ['\'', _, '\'', ..] => 2,
            _ => 0,
        };
        if length == 0 {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        let blank = |c: &char| if *c == '\n' { '\n' } else { ' ' };
        code.extend(rest[..length].iter().map(blank));
        at += length;
        if rest[0] == '\'' {
            code.push(' ');
            at += 1;
        }
    }
    code
}

/// Whether the last character belongs to a word, so that an `r` behind it starts no raw string.
fn joins(code: &str) -> bool {
    code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// The length of a comment that may hold others.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of `r"…"` or `r#"…"#`; none for a raw identifier.
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let mut close = vec!['"'];
    close.resize(1 + hashes, '#');
    let body = &rest[2 + hashes..];
    let end = body.windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| 2 + hashes + end + close.len())
}

/// The length of a plain string literal.
fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}
