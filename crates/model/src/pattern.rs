//! Which paths a pattern stands for.

/// Whether a path is one that a pattern stands for, written as a route's: `{id}` and `*` stand for one segment,
/// `**` for all from there on, so that `/users/**` matches `/users` too. An escape is the byte that it escapes.
pub(crate) fn path_matches(pattern: &str, path: &str) -> bool {
    let mut given = path.split('/');
    for segment in pattern.split('/') {
        if segment == "**" {
            return true;
        }
        let Some(given) = given.next() else { return false };
        let any = segment == "*" || (segment.starts_with('{') && segment.ends_with('}'));
        let matches = if any { !given.is_empty() } else { unescaped(segment).eq(unescaped(given)) };
        if !matches {
            return false;
        }
    }
    given.next().is_none()
}

/// The parameters of a pattern, each with its place among the segments.
pub fn parameters(pattern: &str) -> impl Iterator<Item = (usize, &str)> {
    let segments = pattern.split('/').enumerate();
    segments.filter_map(|(at, segment)| Some((at, segment.strip_prefix('{')?.strip_suffix('}')?)))
}

/// The bytes of a segment of a path, without its escapes.
pub fn unescaped(segment: &str) -> impl Iterator<Item = u8> + use<'_> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut rest = segment.as_bytes();
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let escaped = match after {
            [high, low, after @ ..] if first == b'%' => {
                digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((first, after));
        rest = after;
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_the_paths_that_a_route_of_it_would_take() {
        for (pattern, path, matches) in [
            ("/charges", "/charges", true),
            ("/charges", "/charges/", false),
            ("/charges", "/charges/1", false),
            ("/charges", "/Charges", false),
            ("/charges/{id}", "/charges/1", true),
            ("/charges/{id}", "/charges/", false),
            ("/charges/{id}", "/charges", false),
            ("/charges/{id}", "/charges/1/2", false),
            ("/*/refunds", "/charges/refunds", true),
            ("/charges/**", "/charges", true),
            ("/charges/**", "/charges/1/2", true),
            ("/charges/**", "/chargesx", false),
            ("/**", "/", true),
            ("/", "/", true),
            ("/", "/x", false),
            ("/사용자", "/%EC%82%AC%EC%9A%A9%EC%9E%90", true),
            ("/%7euser", "/~user", true),
            ("/a%zz", "/a%zz", true),
            ("/a%", "/a%", true),
        ] {
            assert_eq!(path_matches(pattern, path), matches, "{pattern} {path}");
        }
    }
}
