//! "Did you mean".

/// Shortest word that is taken for the beginning of a longer one, bytes.
const STEM_BYTES_MIN: usize = 3;

/// The one of `known` that `word` was probably meant to be: one that it begins, or one that it
/// hardly differs from.
pub(crate) fn closest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    // A third of the word may be wrong.
    let distance_max = (word.chars().count() / 3).max(1);
    let distance = |name: &'k str| {
        let name_plain = plain(name);
        if word.len() >= STEM_BYTES_MIN && name_plain.starts_with(&word) {
            return (0, name);
        }
        (strsim::damerau_levenshtein(&word, &name_plain), name)
    };
    let near = known.into_iter().map(distance).filter(|(distance, _)| *distance <= distance_max);
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// `` did you mean `x`? `` or else what `otherwise` says.
pub(super) fn did_you_mean<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    closest(word, known).map_or_else(otherwise, |name| format!("did you mean `{name}`?"))
}
