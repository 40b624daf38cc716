//! The nearest known name to a mistyped one.

/// The candidate closest to `name`, when it is close enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let limit = (name.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase()), known))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, known)| known)
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
    fn a_stranger_finds_nothing() {
        assert_eq!(nearest("replicas", ["nodeSelector", "volumes"]), None);
    }
}
