//! The nearest known name to a mistyped one.

/// The longest name that anybody can have meant: longer ones are not compared, which takes time.
const LONGEST: usize = 80;

/// The fewest letters that a shortened name must have kept.
const KEPT: usize = 4;

/// The candidate closest to `name`, when it is close enough to be meant: mistyped by a few letters, or
/// the beginning or the end of the whole name.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let length = lower.chars().count();
    if length > LONGEST {
        return None;
    }
    let limit = (length / 3).clamp(1, 4);
    let rank = |known: &'a str| {
        let known_lower = known.to_ascii_lowercase();
        let distance = strsim::damerau_levenshtein(&lower, &known_lower);
        let shortened =
            length >= KEPT && (known_lower.starts_with(&lower) || known_lower.ends_with(&lower));
        match distance {
            _ if distance <= limit => Some((0, distance, known)),
            _ if shortened => Some((1, distance, known)),
            _ => None,
        }
    };
    known.into_iter().filter_map(rank).min().map(|(_, _, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_the_field_meant() {
        let known = ["nodeSelector", "nodeName", "containers", "volumes"];
        assert_eq!(nearest("nodeSelectors", known), Some("nodeSelector"));
        assert_eq!(nearest("contianers", known), Some("containers"));
        assert_eq!(nearest("NodeName", known), Some("nodeName"));
    }

    #[test]
    fn a_shortened_name_finds_the_whole_one() {
        let known = ["updateStrategy", "hostNetwork", "secretName", "minReadySeconds"];
        assert_eq!(nearest("strategy", known), Some("updateStrategy"));
        assert_eq!(nearest("hostNet", known), Some("hostNetwork"));
        assert_eq!(nearest("name", known), Some("secretName"));
        assert_eq!(nearest("net", known), None);
    }

    #[test]
    fn a_stranger_finds_nothing() {
        assert_eq!(nearest("replicas", ["nodeSelector", "volumes"]), None);
    }
}
