//! As much of Markdown as the rules for the docs look at: headings, links and fenced blocks.

/// What the rules look at in one page.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Each heading's level and text.
    pub headings: Vec<(usize, String)>,
    /// Each link outside of fenced blocks.
    pub links: Vec<Link>,
    /// Each fenced block.
    pub fences: Vec<Fence>,
    /// The line of each comment outside of fenced blocks, which readers do not see.
    pub comments: Vec<usize>,
}

/// `[text](target)`.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// The line, from 1.
    pub line: usize,
    /// What is shown.
    pub text: String,
    /// Where it leads.
    pub target: String,
}

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Fence {
    /// The line of its first mark, from 1.
    pub line: usize,
    /// The first word after the mark.
    pub language: String,
    /// The second word after the mark: the file that the block is an excerpt of.
    pub file: Option<String>,
    /// Its lines.
    pub lines: Vec<String>,
}

impl Page {
    /// Reads a page.
    pub fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut open: Option<Fence> = None;
        for (number, line) in (1..).zip(text.lines()) {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => page.fences.extend(open.take()),
                (Some(info), None) => open = Some(Fence::start(number, info)),
                (None, Some(fence)) => fence.lines.push(line.to_owned()),
                (None, None) => page.read_line(number, line),
            }
        }
        page.fences.extend(open);
        page
    }

    fn read_line(&mut self, number: usize, line: &str) {
        let text = line.trim_start_matches('#');
        let level = line.len() - text.len();
        if level > 0 && text.starts_with(' ') {
            self.headings.push((level, text.trim().to_owned()));
        }
        if line.contains("<!--") {
            self.comments.push(number);
        }
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            if let Some(start) = before.rfind('[') {
                let (text, target) = (before[start + 1..].to_owned(), target.to_owned());
                self.links.push(Link { line: number, text, target });
            }
            rest = after;
        }
    }

    /// Whether a heading has this anchor.
    pub fn has_anchor(&self, anchor: &str) -> bool {
        self.headings.iter().any(|(_, text)| slug(text) == anchor)
    }
}

impl Fence {
    fn start(line: usize, info: &str) -> Self {
        let mut words = info.split_whitespace();
        let language = words.next().unwrap_or_default().to_owned();
        Self { line, language, file: words.next().map(str::to_owned), lines: Vec::new() }
    }
}

/// The anchor that GitHub gives a heading.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headings_links_and_fences_and_nothing_inside_fences() {
        let page = Page::read(
            "# A `b` c!\nsee [x](y.md#z), [`f`](g.rs)\n```toml a/b.toml\n# no\n[q](r)\n<!-- -->\n```\n## D\n\n<!-- a\n-->\n",
        );
        assert_eq!(page.headings, [(1, "A `b` c!".to_owned()), (2, "D".to_owned())]);
        let links: Vec<_> =
            page.links.iter().map(|link| (link.text.as_str(), link.target.as_str())).collect();
        assert_eq!(links, [("x", "y.md#z"), ("`f`", "g.rs")]);
        assert_eq!(page.fences.len(), 1);
        assert_eq!(page.fences[0].file.as_deref(), Some("a/b.toml"));
        assert_eq!(page.fences[0].lines, ["# no", "[q](r)", "<!-- -->"]);
        assert_eq!(page.comments, [10]);
        assert!(page.has_anchor("a-b-c") && !page.has_anchor("no"));
    }
}
