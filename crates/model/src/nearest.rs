//! The name that somebody probably meant.

/// No name is longer than a DNS label; what is much longer is no misspelt name.
const LONGEST: usize = 80;

/// Gives the candidate nearest to `given`, if one is near enough to be what was meant: it differs in case
/// only, or by an edit (insert, delete, replace, swap neighbours) in every three characters.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if given.is_empty() || given.len() > LONGEST {
        return None;
    }
    let given = given.to_lowercase();
    let allowed = (given.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (strsim::damerau_levenshtein(&given, &candidate.to_lowercase()), candidate))
        .filter(|&(edits, candidate)| edits <= allowed && edits < candidate.chars().count())
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_guesses_nothing_else() {
        let names = ["users", "orders", "payments", "run"];
        for (given, expected) in [
            ("user", Some("users")),
            ("Users", Some("users")),
            ("ordres", Some("orders")),
            ("paymetns", Some("payments")),
            ("rnu", Some("run")),
            ("mailer", None),
            ("", None),
            ("r", None),
        ] {
            assert_eq!(nearest(given, names), expected, "{given}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), names), None);
    }
}
