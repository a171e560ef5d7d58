//! The phrases of a list between dots.

/// The phrases of a list, trimmed; empty ones are skipped.
///
/// A dot parts two phrases, unless a letter or a digit stands on each side of it ("1.5 inch", "U.S"), or
/// it ends an abbreviation of single letters ("U.S. flag", "e.g. a cat").
pub(super) fn phrases(list: &str) -> impl Iterator<Item = &str> {
    let mut begin = 0;
    let pieces = separators(list).chain([list.len()]).map(move |end| {
        let piece = &list[begin..end];
        begin = end + 1;
        piece.trim()
    });
    pieces.filter(|piece| !piece.is_empty())
}

/// Where the dots are that part phrases.
fn separators(list: &str) -> impl Iterator<Item = usize> {
    let mut next = 0;
    list.split_inclusive(char::is_whitespace)
        .flat_map(move |word| {
            let begin = next;
            next += word.len();
            let is_abbreviation = is_abbreviation(word);
            let dots = word.match_indices('.').map(|(at, _)| at);
            dots.filter(move |&at| !is_abbreviation && !is_inside(word, at))
                .map(move |at| begin + at)
        })
}

/// Whether a letter or a digit stands on each side of the dot.
fn is_inside(word: &str, dot: usize) -> bool {
    word[..dot].ends_with(char::is_alphanumeric)
        && word[dot + 1..].starts_with(char::is_alphanumeric)
}

/// Whether a word is two letters or more, each with a dot, within whatever marks.
fn is_abbreviation(word: &str) -> bool {
    let word = word.trim_matches(|c: char| c != '.' && !c.is_alphanumeric());
    let Some(word) = word.strip_suffix('.') else {
        return false;
    };
    let is_letter = |part: &str| {
        let mut letters = part.chars();
        letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none()
    };
    word.contains('.') && word.split('.').all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_within_numbers_and_abbreviations_part_nothing() {
        let cases: [(&str, &[&str]); 19] = [
            (
                "a red circle . blue square",
                &["a red circle", "blue square"],
            ),
            (
                "a red circle. blue square.",
                &["a red circle", "blue square"],
            ),
            (" a .. b . . c.", &["a", "b", "c"]),
            ("cat .dog", &["cat", "dog"]),
            (
                "1.5 inch red circle . blue square",
                &["1.5 inch red circle", "blue square"],
            ),
            ("size 1.5. cat", &["size 1.5", "cat"]),
            ("U.S. flag . cat", &["U.S. flag", "cat"]),
            ("cat . flag of the U.S.", &["cat", "flag of the U.S."]),
            ("U.S. . cat", &["U.S.", "cat"]),
            ("(U.S.) flag. cat", &["(U.S.) flag", "cat"]),
            ("e.g. a cat. i.e., a dog", &["e.g. a cat", "i.e., a dog"]),
            ("vitamin C. cat", &["vitamin C", "cat"]),
            ("Node.js logo. cat", &["Node.js logo", "cat"]),
            ("ä.ö. Straße. 猫. 犬", &["ä.ö. Straße", "猫", "犬"]),
            ("cat... dog", &["cat", "dog"]),
            ("v1.2.3 . cat", &["v1.2.3", "cat"]),
            ("cat.\ndog", &["cat", "dog"]),
            (" . .", &[]),
            ("", &[]),
        ];
        for (list, expected) in cases {
            assert_eq!(phrases(list).collect::<Vec<_>>(), expected, "{list:?}");
        }
    }
}
