//! The boot-loop breaker: a host that its update takes down again and again goes back by itself, without asking anybody.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::turn::Verdict;

/// Within how many seconds how many boots in a turn are too many.
const LIMIT: (i64, usize) = (600, 2);

/// A boot of the host that found a turn open which an earlier boot had begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Boot {
    /// Its id.
    pub boot_id: String,
    /// When the agent first ran in it.
    pub at: Timestamp,
}

/// Notes the present boot. `true` when it is a new one.
pub fn note(boots: &mut Vec<Boot>, began_in: &str, boot_id: &str, now: Timestamp) -> bool {
    let known = began_in == boot_id || boots.iter().any(|boot| boot.boot_id == boot_id);
    if !known {
        boots.push(Boot { boot_id: boot_id.to_owned(), at: now });
    }
    !known
}

/// The verdict when the host was booted too often within too short a time.
pub fn verdict(boots: &[Boot], now: Timestamp) -> Option<Verdict> {
    let (seconds, most) = LIMIT;
    let recent = boots.iter().filter(|boot| now.as_second() - boot.at.as_second() <= seconds);
    (recent.count() >= most).then(|| Verdict {
        reason: "BootLoop".to_owned(),
        message: format!(
            "the host was booted {most} times within {} minutes in its turn",
            seconds / 60
        ),
        at: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn two_boots_within_ten_minutes_are_too_many() {
        let mut boots = Vec::new();
        assert!(!note(&mut boots, "a", "a", at(0)), "the boot in which the turn began");
        assert!(note(&mut boots, "a", "b", at(100)));
        assert!(!note(&mut boots, "a", "b", at(150)), "the agent came back in the same boot");
        assert_eq!(verdict(&boots, at(150)), None);
        assert!(note(&mut boots, "a", "c", at(500)));
        assert_eq!(verdict(&boots, at(500)).unwrap().reason, "BootLoop");
        assert_eq!(verdict(&boots, at(800)), None, "the first was long ago");
    }
}
