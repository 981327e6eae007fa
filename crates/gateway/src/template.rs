//! Templates of paths: `/users/{id}`, `/users/*/orders`, `/users/**`.

use crate::path;

/// One segment of a template. The order is that of precedence: the smaller wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// This text, in the form that paths are brought into.
    Literal(Box<str>),
    /// `{name}` or `*`: one segment that is not empty.
    One,
    /// `**`: every segment from here on, also none.
    Rest,
}

/// A template, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    segments: Box<[Segment]>,
}

/// A text that is not a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// It does not start with a slash.
    #[error("a path starts with `/`")]
    NotAbsolute,
    /// `**` comes before the end.
    #[error("`**` can only be the last segment")]
    RestNotLast,
    /// A brace or star within a segment.
    #[error("`{{name}}`, `*` and `**` stand for whole segments")]
    Partial,
    /// A literal segment that no normalised path has.
    #[error("a segment is not one that a path can have: it holds a bad escape, a backslash or only dots")]
    Literal,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let rest = text.strip_prefix('/').ok_or(InvalidTemplate::NotAbsolute)?;
        let segments = rest.split('/').map(parse_segment).collect::<Result<Box<[_]>, _>>()?;
        if segments.iter().rev().skip(1).any(|s| *s == Segment::Rest) {
            return Err(InvalidTemplate::RestNotLast);
        }
        Ok(Self { segments })
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How specific it is: compared segment by segment, the smaller wins. A template that ends is before one
    /// that goes on with `**` and, so that the order is total, before any that goes on.
    pub(crate) fn rank(&self) -> Vec<u8> {
        self.segments.iter().map(Segment::rank).collect()
    }
}

impl Segment {
    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::One => 1,
            Self::Rest => 2,
        }
    }
}

fn parse_segment(text: &str) -> Result<Segment, InvalidTemplate> {
    match text {
        "**" => Ok(Segment::Rest),
        "*" => Ok(Segment::One),
        _ => match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(name) if !name.is_empty() && !name.contains(['{', '}', '*']) => Ok(Segment::One),
            _ if text.contains(['{', '}', '*']) => Err(InvalidTemplate::Partial),
            _ => literal(text),
        },
    }
}

/// A literal is brought into the form of paths, so that `/사용자` and `/%7Euser` can be written as they are read.
fn literal(text: &str) -> Result<Segment, InvalidTemplate> {
    let path = format!("/{text}");
    let normal = path::normalise(&path).map_err(|_| InvalidTemplate::Literal)?;
    if text.split('/').count() != 1 || matches!(text, "." | "..") || (normal == "/") != text.is_empty() {
        return Err(InvalidTemplate::Literal);
    }
    Ok(Segment::Literal(normal[1..].into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_literals_parameters_and_the_rest() {
        let template = Template::parse("/users/{id}/*/**").unwrap();
        assert_eq!(
            template.segments(),
            [Segment::Literal("users".into()), Segment::One, Segment::One, Segment::Rest]
        );
        assert_eq!(Template::parse("/").unwrap().segments(), [Segment::Literal("".into())]);
        assert_eq!(Template::parse("/é").unwrap().segments(), [Segment::Literal("%C3%A9".into())]);
    }

    #[test]
    fn refuses_what_no_path_can_match() {
        for (text, error) in [
            ("users", InvalidTemplate::NotAbsolute),
            ("/**/a", InvalidTemplate::RestNotLast),
            ("/v{id}", InvalidTemplate::Partial),
            ("/{}", InvalidTemplate::Partial),
            ("/a*", InvalidTemplate::Partial),
            ("/***", InvalidTemplate::Partial),
            ("/a/../b", InvalidTemplate::Literal),
            ("/a/%2e%2e", InvalidTemplate::Literal),
            ("/a%2fb", InvalidTemplate::Literal),
            ("/a\\b", InvalidTemplate::Literal),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
    }
}
