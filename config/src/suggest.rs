//! "Did you mean …": the nearest known name.

/// The known name that is nearest to what was written, if one is near: at most one edit in three
/// characters, so that a suggestion is never a guess.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase();
    let bound = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&written, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= bound && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The sentence that suggests it.
pub(crate) fn did_you_mean<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest(written, known).map(|name| format!("did you mean \"{name}\"?"))
}

/// `"a", "b" or "c"`.
pub(crate) fn one_of(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["session", "transaction"];
        assert_eq!(nearest("sesion", known), Some("session"));
        assert_eq!(nearest("Session", known), Some("session"));
        assert_eq!(nearest("tranasction", known), Some("transaction"));
        assert_eq!(nearest("statement", known), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
