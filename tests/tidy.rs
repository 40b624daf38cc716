//! The house rules as tests: floors and imports, quiet floors, sizes, names, and pages that agree with the code.
//!
//! ARCHITECTURE.md holds the table of floors and `docs/observability.md` the names of log fields; both are read from
//! there, so that page and rule cannot part. Only std is used: this must compile before anything else does.

#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::fs;

use source::{Source, read, root, sources};

/// Lines of code that one file may hold, tests apart.
const FILE_LINES: usize = 600;
/// From here on a file is reported.
const LONG_FILE: usize = 400;
/// Lines that one function may hold.
const FUNCTION_LINES: usize = 70;

/// A row of the table in ARCHITECTURE.md.
#[derive(Debug, Clone, Copy)]
struct Floor {
    /// How high it is: a file imports lower floors only.
    height: u32,
    /// Whether it may neither wait, nor do I/O, nor read a clock, nor log.
    quiet: bool,
}

/// Reads the rows `| 3 | `pod/` | quiet | … |`.
fn floors() -> BTreeMap<String, Floor> {
    let mut floors = BTreeMap::new();
    for line in read("ARCHITECTURE.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, height, folder, kind, ..] = cells[..] else {
            continue;
        };
        let (Ok(height), Some(folder)) =
            (height.parse(), folder.strip_prefix('`').and_then(|name| name.strip_suffix("/`")))
        else {
            continue;
        };
        floors.insert(folder.to_owned(), Floor { height, quiet: kind == "quiet" });
    }
    floors
}

/// Fails with every complaint at once.
fn agree(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn the_table_of_floors_can_be_read_and_names_every_folder() {
    let floors = floors();
    assert_eq!(floors.get("base").map(|floor| floor.height), Some(0), "{floors:?}");
    assert!(floors.len() >= 14, "ARCHITECTURE.md names only {} floors", floors.len());
    let mut strangers = vec![];
    for line in read("ARCHITECTURE.md").lines().filter(|line| line.starts_with("| ")) {
        let folder = line.split('`').nth(1).and_then(|name| name.strip_suffix('/'));
        let coming = line.contains("(not there yet)");
        if folder.is_some_and(|name| root().join("src").join(name).is_dir() == coming) {
            strangers.push(format!("ARCHITECTURE.md is wrong about what is there: {line}"));
        }
    }
    for entry in fs::read_dir(root().join("src")).expect("src/ is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !floors.contains_key(&name) {
            strangers.push(format!("src/{name}/ is no floor of ARCHITECTURE.md"));
        }
    }
    agree(&strangers);
}

#[test]
fn a_file_imports_its_own_folder_and_lower_floors_only() {
    let floors = floors();
    let mut complaints = vec![];
    for source in sources("src") {
        let Some(own) = source.folder() else { continue };
        let height = floors.get(own).map_or(u32::MAX, |floor| floor.height);
        for (line, code) in source.code.lines().enumerate() {
            for (at, _) in code.match_indices("crate::") {
                let rest = &code[at + "crate::".len()..];
                let name: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let lower = floors.get(&name).is_some_and(|floor| floor.height < height);
                if rest.starts_with('{') {
                    complaints.push(format!(
                        "{}:{}: `use crate::{{…}}`; write one `use` per folder",
                        source.path,
                        line + 1
                    ));
                } else if name != own && floors.contains_key(&name) && !lower {
                    complaints.push(format!(
                        "{}:{}: `{own}` may not import `{name}`: it is not on a lower floor",
                        source.path,
                        line + 1
                    ));
                }
            }
            if code.contains("super::super") {
                complaints.push(format!(
                    "{}:{}: `super::super`; write `crate::{own}::…`",
                    source.path,
                    line + 1
                ));
            }
        }
    }
    agree(&complaints);
}

#[test]
fn quiet_floors_neither_wait_nor_do_io_nor_read_a_clock_nor_log() {
    const FORBIDDEN: [&str; 15] = [
        "async ",
        ".await",
        "tokio",
        "std::fs",
        // Addresses are values; sockets are not.
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "std::process",
        "std::env",
        "std::thread",
        "tracing",
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
        "now()",
    ];
    let floors = floors();
    let mut complaints = vec![];
    for source in sources("src") {
        let quiet =
            source.folder().and_then(|own| floors.get(own)).is_some_and(|floor| floor.quiet);
        // The one reader of the clock, for the floors above.
        if !quiet || source.path == "src/base/time.rs" {
            continue;
        }
        for (line, code) in source.code.lines().enumerate().take(source.code_lines) {
            for word in FORBIDDEN.iter().filter(|word| source::says(code, word)) {
                complaints.push(format!(
                    "{}:{}: `{}` on a quiet floor",
                    source.path,
                    line + 1,
                    word.trim()
                ));
            }
        }
    }
    agree(&complaints);
}

#[test]
fn every_file_says_in_its_first_line_what_it_is_for() {
    let mut complaints = vec![];
    for source in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        let first = source.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") || first.len() < 12 {
            complaints.push(format!("{}: the first line is no `//! one sentence`", source.path));
        }
    }
    agree(&complaints);
}

#[test]
fn files_and_functions_fit_in_the_head() {
    let mut complaints = vec![];
    for source in sources("src") {
        if source.code_lines > FILE_LINES {
            complaints.push(format!(
                "{}: {} lines of code, {FILE_LINES} are the limit; is there more than one purpose in it?",
                source.path, source.code_lines
            ));
        } else if source.code_lines > LONG_FILE {
            println!("{}: {} lines of code, which is long", source.path, source.code_lines);
        }
        for (line, name, length) in source.functions() {
            if length > FUNCTION_LINES {
                complaints.push(format!(
                    "{}:{line}: `{name}` has {length} lines, {FUNCTION_LINES} are the limit",
                    source.path
                ));
            }
        }
    }
    agree(&complaints);
}

#[test]
fn names_say_what_a_thing_is() {
    const FILES: [&str; 8] =
        ["utils", "util", "helper", "helpers", "manager", "common", "misc", "stuff"];
    // `process_` is not among them: processes are things here.
    const FUNCTIONS: [&str; 3] = ["get_", "handle_", "do_"];
    let mut complaints = vec![];
    for source in sources("src") {
        for part in source.path.trim_end_matches(".rs").split('/') {
            if FILES.contains(&part) {
                complaints.push(format!("{}: `{part}` says nothing", source.path));
            }
        }
        for (line, name, _) in source.functions() {
            if FUNCTIONS.iter().any(|start| name.starts_with(start)) {
                complaints.push(format!(
                    "{}:{line}: `{name}`: a verb for an effect, a noun for a value, and no `get_`, `handle_`, `do_`",
                    source.path
                ));
            }
        }
    }
    agree(&complaints);
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together here, so that this file does not name them itself.
    let marks = ["todo", "unimplemented"].map(|name| format!("{name}!("));
    let words = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"]].map(|word| word.concat());
    let ignore = ["#[ig", "nore"].concat();
    let mut complaints = vec![];
    for source in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        for (line, text) in source.text.lines().enumerate() {
            let whole =
                |word: &String| text.split(|c: char| !c.is_alphanumeric()).any(|part| part == word);
            if marks.iter().any(|mark| text.contains(mark))
                || text.contains(&ignore)
                || words.iter().any(whole)
            {
                complaints.push(format!(
                    "{}:{}: unfinished: {}",
                    source.path,
                    line + 1,
                    text.trim()
                ));
            }
        }
    }
    agree(&complaints);
}

#[test]
fn log_fields_are_those_of_the_observability_page() {
    let known = pages::log_fields();
    assert!(known.contains("pod") && known.contains("elapsed_ms"), "{known:?}");
    let mut complaints = vec![];
    for source in sources("src") {
        for (line, field) in source.log_fields() {
            if !known.contains(&field) {
                complaints.push(format!(
                    "{}:{line}: log field `{field}` is not in docs/observability.md",
                    source.path
                ));
            }
        }
    }
    agree(&complaints);
}

#[test]
fn the_lexer_of_these_rules_sees_code_only() {
    let source = Source::of(
        "src/pod/sample.rs",
        "//! Sample.\nfn a() -> &'static str {\n    // tokio in a comment\n    \"tokio { in a string\"\n}\nconst C: char = '\"';\nfn b() { info!(pod = %x, delay_ms, ?image, \"text, {with} = commas\"); }\nfn c<'a>(x: &'a str) {}\n#[cfg(test)]\nmod tests {\n    fn d() {}\n}\n",
    );
    assert!(!source.code.contains("tokio"), "{}", source.code);
    assert_eq!(source.code_lines, 8);
    let names: Vec<_> =
        source.functions().into_iter().map(|(_, name, lines)| (name, lines)).collect();
    assert_eq!(names, [("a".into(), 4), ("b".into(), 1), ("c".into(), 1)]);
    let fields: Vec<_> = source.log_fields().into_iter().map(|(_, name)| name).collect();
    assert_eq!(fields, ["pod", "delay_ms", "image"]);
}
