//! The forms of a page, as a browser would send them. Reads the HTML that programs write, not all that there is.

use http::Method;

/// A form with what is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Where it is sent.
    pub action: String,
    /// How.
    pub method: Method,
    /// Its fields in their order.
    pub fields: Vec<(String, String)>,
}

/// A tag with its attributes.
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, String)>,
}

impl Form {
    /// The same with this in a field, which may be a button that is pressed.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        match self.fields.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value.to_string(),
            None => self.fields.push((name.to_owned(), value.to_string())),
        }
        self
    }

    /// What is in a field.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn encoded(&self) -> String {
        let pairs = self.fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

fn escaped(text: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes()
        .map(|byte| if safe(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Every form of a page.
pub(crate) fn forms(html: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    for tag in html.split('<').skip(1).filter_map(Tag::parse) {
        let field = |value: String| Some((tag.attribute("name")?.to_owned(), value));
        match (tag.name, forms.last_mut()) {
            ("form", _) => forms.push(Form {
                action: tag.attribute("action").unwrap_or_default().to_owned(),
                method: if tag.attribute("method") == Some("post") { Method::POST } else { Method::GET },
                fields: Vec::new(),
            }),
            ("input", Some(form)) => {
                let is_sent = !matches!(tag.attribute("type"), Some("radio" | "checkbox"))
                    || tag.attribute("checked").is_some();
                let value = tag.attribute("value").unwrap_or_default().to_owned();
                form.fields.extend(field(value).filter(|_| is_sent));
            }
            _ => {}
        }
    }
    forms
}

impl<'a> Tag<'a> {
    /// Reads what follows a `<`.
    fn parse(text: &'a str) -> Option<Self> {
        let inside = text.split('>').next()?.trim_end_matches('/');
        let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            let end = rest.find([' ', '=']).unwrap_or(rest.len());
            let (attribute, after) = rest.split_at(end);
            if attribute.is_empty() {
                return Some(Self { name, attributes });
            }
            match after.strip_prefix("=\"").and_then(|quoted| quoted.split_once('"')) {
                Some((value, after)) => {
                    attributes.push((attribute, unescaped(value)));
                    rest = after;
                }
                None => {
                    attributes.push((attribute, String::new()));
                    rest = after.trim_start_matches('=');
                }
            }
        }
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_sent_as_a_browser_would() {
        let page = r#"<p>a <b>form</b></p><form action="/order" method="post" data-once>
            <input type="hidden" name="line" value="2 &lt;A&gt; &amp; &quot;B&quot;"><input type="radio" name="total" value="KRW 1" checked required>
            <input type="radio" name="total" value="USD 1"><button>Go</button></form><form action="/"><input name="query"></form>"#;
        let forms = forms(page);
        assert_eq!(forms.len(), 2);
        assert_eq!((&forms[0].method, forms[0].value("line")), (&Method::POST, Some("2 <A> & \"B\"")));
        assert_eq!(forms[0].encoded(), "line=2%20%3CA%3E%20%26%20%22B%22&total=KRW%201");
        assert_eq!((&forms[1].method, forms[1].encoded()), (&Method::GET, "query=".to_owned()));
        assert_eq!(forms[1].clone().with("query", "책").with("go", 1).encoded(), "query=%EC%B1%85&go=1");
    }
}
