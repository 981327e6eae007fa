//! What an instance was told by its environment, as digests: a later node finds out whether one that it started in
//! its place would be told the same, and what not. No value is kept, as there are secrets among them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// One `NAME=digest` a line.
pub(crate) fn digests(told: &[(String, String)]) -> String {
    // Of two with one name, the later one is in force.
    let told: BTreeMap<&str, &str> = told.iter().map(|(name, value)| (&**name, &**value)).collect();
    told.iter().map(|(name, value)| format!("{name}={}\n", digest(value))).collect()
}

fn digest(value: &str) -> String {
    Sha256::digest(value)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first name whose value is not what it was, or that is there no more, or is new.
pub(crate) fn changed(before: &str, now: &str) -> Option<String> {
    let parse =
        |text| -> BTreeMap<&str, &str> { str::lines(text).filter_map(|l| l.split_once('=')).collect() };
    let (before, now) = (parse(before), parse(now));
    let all = before.keys().chain(now.keys());
    let changed = all.copied().find(|name| before.get(name) != now.get(name));
    changed.map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(told: &[(&str, &str)]) -> String {
        let told: Vec<_> =
            told.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        digests(&told)
    }

    #[test]
    fn names_what_changed_and_keeps_no_value() {
        let before = of(&[("MADANG_URL", "http://127.0.0.1:30001"), ("PAY_KEY", "s3cret")]);
        assert!(!before.contains("s3cret"));
        for (now, expected) in [
            (of(&[("PAY_KEY", "s3cret"), ("MADANG_URL", "http://127.0.0.1:30001")]), None),
            (of(&[("PAY_KEY", "s3cret"), ("MADANG_URL", "http://127.0.0.1:30002")]), Some("MADANG_URL")),
            (of(&[("MADANG_URL", "http://127.0.0.1:30001")]), Some("PAY_KEY")),
            (before.clone() + &of(&[("USERS_URL", "")]), Some("USERS_URL")),
        ] {
            assert_eq!(changed(&before, &now).as_deref(), expected);
        }
    }
}
