//! Sizes as people write them: `64MiB`, `2GiB`.

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a size: write a whole number and a unit, such as \"512MiB\" or \"2GiB\"")]
pub(crate) struct ParseSizeError(String);

/// The units, the largest first, with the bytes of each.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads a whole number followed by `KiB`, `MiB`, `GiB` or `TiB`, into bytes.
pub(crate) fn parse_size(given: &str) -> Result<u64, ParseSizeError> {
    let error = || ParseSizeError(given.to_owned());
    let digits = given.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
    let (number, unit) = given.split_at(digits);
    let number: u64 = number.parse().map_err(|_| error())?;
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
    number.checked_mul(*bytes).ok_or_else(error)
}

/// Writes a size so that [`parse_size`] reads it back, to the KiB.
pub(crate) fn format_size(bytes: u64) -> String {
    let whole = UNITS.iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    let (unit, size) = whole.copied().unwrap_or(("KiB", 1 << 10));
    format!("{}{unit}", bytes / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["1KiB", "512MiB", "1536MiB", "2GiB", "3TiB"] {
            assert_eq!(format_size(parse_size(text).unwrap()), text);
        }
        assert_eq!(parse_size("1MiB"), Ok(1_048_576));
    }

    #[test]
    fn refuses_what_has_no_unit_or_another() {
        for bad in [
            "",
            "512",
            "512 MiB",
            "1.5GiB",
            "512MB",
            "512mib",
            "MiB",
            "99999999999999999999MiB",
            "99999999TiB",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
