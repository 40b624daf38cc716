//! How a rollout is shown while it goes on: on a terminal a bar and the nodes that matter, rewritten in place; elsewhere a
//! line for each thing that is new.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use jiff::Timestamp;

use crate::fleet::rollout_view::{Line, State, Story, few};

use super::terminal;

/// How wide the bar is.
const BAR: usize = 24;
/// How many waiting nodes have a line each where lines stay.
const WAITING: usize = 16;

/// A rollout on somebody's screen.
#[derive(Debug, Default)]
pub struct Screen {
    /// Whether lines are rewritten.
    live: bool,
    /// How many lines stand there.
    lines: usize,
    /// The sentence that was said last.
    sentence: String,
    /// What was said of nodes last, without ages.
    said: BTreeSet<String>,
}

impl Screen {
    /// Nothing is shown yet.
    pub fn new(live: bool) -> Self {
        Self { live, ..Self::default() }
    }

    /// Whether lines are rewritten.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Shows how far the rollout is. What is over is said in lines that stay.
    pub fn show(&mut self, story: &Story, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        if self.live && !story.done && story.failed.is_none() {
            self.rewrite(story, now, out)?;
        } else {
            self.clear(out)?;
            self.add(story, now, out)?;
        }
        out.flush()
    }

    /// Adds what is new.
    fn add(&mut self, story: &Story, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        if self.sentence != story.sentence {
            writeln!(out, "{}", story.sentence)?;
            self.sentence.clone_from(&story.sentence);
        }
        let mut said = BTreeSet::new();
        for (known, text) in details(story, now, WAITING) {
            if !self.said.contains(&known) {
                writeln!(out, "  {}", plain(&text))?;
            }
            said.insert(known);
        }
        self.said = said;
        Ok(())
    }

    /// Writes everything over what stands there.
    fn rewrite(&mut self, story: &Story, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let width = usize::try_from(width).unwrap_or(80).max(20);
        // One line more than fits would scroll, and what scrolled away cannot be rewritten.
        let room = usize::try_from(height).unwrap_or(24).max(6) - 2;
        let mut lines = vec![bar(story), story.sentence.clone()];
        let details = details(story, now, usize::MAX);
        for (number, (_, text)) in details.iter().enumerate() {
            let wrapped = wrapped(&plain(text), width - 1);
            if lines.len() + wrapped.len() > room {
                lines.push(format!("and {} more", details.len() - number));
                break;
            }
            lines.extend(wrapped);
        }
        if self.lines > 0 {
            write!(out, "\x1b[{}A", self.lines)?;
        }
        for line in &lines {
            let line: String = plain(line).chars().take(width - 1).collect();
            writeln!(out, "\r{line}\x1b[K")?;
        }
        self.lines = lines.len();
        write!(out, "\x1b[J")
    }

    /// Takes the lines away that were to be rewritten.
    fn clear(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.lines > 0 {
            write!(out, "\x1b[{}A\r\x1b[J", self.lines)?;
        }
        self.lines = 0;
        Ok(())
    }
}

/// A terminal shall not obey what a record said.
fn plain(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "?")
}

/// A text in lines that are no wider than this, broken between words: the way out stands at the end.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a line from the beginning");
        if !line.trim().is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(format!("    {word}"));
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

/// How many nodes have the template.
fn bar(story: &Story) -> String {
    let (updated, desired) = story.share;
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    let full = (count(updated) * BAR / count(desired).max(1)).min(BAR);
    format!("[{}{}] {updated}/{desired} updated", "#".repeat(full), "-".repeat(BAR - full))
}

/// What holds the set, and how nodes stand: by what it is known again, and as it is shown. Of more waiting nodes than
/// `most` those that wait for the same are in one line.
fn details(story: &Story, now: Timestamp, most: usize) -> Vec<(String, String)> {
    let mut shown: Vec<(String, String)> =
        story.notes.iter().map(|note| (note.clone(), note.clone())).collect();
    let known = |line: &Line| format!("{} {} {}", line.node, line.state.as_str(), line.text);
    let (waiting, others): (Vec<&Line>, Vec<&Line>) =
        story.lines.iter().partition(|line| line.state == State::Waiting);
    shown.extend(others.into_iter().map(|line| (known(line), line.shown(now))));
    if waiting.len() <= most {
        shown.extend(waiting.into_iter().map(|line| (known(line), line.shown(now))));
        return shown;
    }
    let mut reasons: Vec<&str> = waiting.iter().map(|line| line.text.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons {
        let nodes = waiting.iter().filter(|line| line.text == reason);
        let nodes: Vec<&str> = nodes.map(|line| line.node.as_str()).collect();
        let colon = if reason.is_empty() { "" } else { ": " };
        let text = format!("{} waiting{colon}{reason}", few(&nodes));
        shown.push((text.clone(), text));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::NodeName;

    fn line(node: &str, state: State, text: &str) -> Line {
        let since = (state != State::Waiting).then_some(Timestamp::UNIX_EPOCH);
        Line { node: NodeName::new(node), state, since, place: None, text: text.into() }
    }

    fn shown(screen: &mut Screen, story: &Story, second: i64) -> String {
        let mut out = Vec::new();
        screen.show(story, Timestamp::from_second(second).unwrap(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn elsewhere_only_what_is_new_is_said() {
        let mut screen = Screen::new(false);
        let mut story = Story {
            sentence: "Waiting".into(),
            notes: vec!["paused: x".into()],
            lines: vec![line("n1", State::InTurn, "to revision 2"), line("n2", State::Waiting, "")],
            ..Story::default()
        };
        assert_eq!(
            shown(&mut screen, &story, 60),
            "Waiting\n  paused: x\n  n1 in its turn for 60s: to revision 2\n  n2 waiting\n"
        );
        assert_eq!(shown(&mut screen, &story, 61), "", "an age is nothing new");
        story.lines[0] = line("n1", State::Failed, "no\x1b[2J");
        assert_eq!(shown(&mut screen, &story, 62), "  n1 failed for 62s: no?[2J\n");
        story.lines = (0..20).map(|n| line(&format!("n{n}"), State::Waiting, "paused")).collect();
        assert_eq!(
            shown(&mut screen, &story, 63),
            "  n0, n1, n2, n3, n4 and 15 more waiting: paused\n"
        );
    }

    #[test]
    fn what_is_wider_than_the_terminal_is_broken_between_words() {
        assert_eq!(
            wrapped("n1 failed: run `podward", 12),
            ["n1 failed:", "    run", "    `podward"]
        );
        assert_eq!(wrapped("short", 12), ["short"]);
        assert_eq!(wrapped("averyveryverylongword", 5), ["averyveryverylongword"]);
    }

    #[test]
    fn a_terminal_sees_a_bar_in_place_and_the_end_in_a_line() {
        let mut screen = Screen::new(true);
        let mut story = Story { sentence: "Waiting".into(), share: (1, 2), ..Story::default() };
        story.lines = vec![line("n1", State::InTurn, "")];
        let first = shown(&mut screen, &story, 5);
        assert!(first.starts_with("\r[############------------] 1/2 updated\x1b[K\n"), "{first:?}");
        assert!(first.contains("n1 in its turn for 5s"), "{first:?}");
        assert!(shown(&mut screen, &story, 6).starts_with("\x1b[3A"));
        story.lines.clear();
        (story.sentence, story.done) = ("done".into(), true);
        assert_eq!(shown(&mut screen, &story, 7), "\x1b[3A\r\x1b[Jdone\n");
    }
}
