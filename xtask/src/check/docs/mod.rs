//! Rules for the docs: what they show exists.
//!
//! - A link leads to a file of the repository and, with `#`, to a heading of it. The text of a link to code, in
//!   backticks, is something that the file defines: a page that names a test goes red when the test is renamed.
//! - A fenced block whose mark names a file (```` ```toml shop/madang.toml ````) is an excerpt of it, line by
//!   line; a line of just `…` leaves lines out.
//! - A block that is marked as a whole manifest (```` ```toml manifest ````) is a valid one.
//! - A command in a `console` block is understood by its program, and its subcommand is one that a test runs.
//! - No page has a comment: what is still to be written is not left in one.
//! - A folder's `README.md` links every page of the folder.
//! - A translation (`X.ko.md` beside `X.md`) has the same headings and the same blocks.

mod code;
mod commands;
mod markdown;

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result};

use self::markdown::{Fence, Link, Page};
use crate::command::root;

/// What the docs show that does not exist.
pub fn violations() -> Result<Vec<String>> {
    let mut violations = Vec::new();
    let paths = pages()?;
    for path in &paths {
        let page = read(path)?;
        let shown = path.display();
        let mut report = |line: usize, what: String| violations.push(format!("{shown}:{line}: {what}"));
        for link in &page.links {
            broken(root(), path, link).into_iter().for_each(|what| report(link.line, what));
        }
        for fence in &page.fences {
            invented(root(), fence).into_iter().for_each(|what| report(fence.line, what));
        }
        for &line in &page.comments {
            report(line, "a comment: what readers are not shown is not part of a page".to_owned());
        }
        unlisted(path, &page, &paths).into_iter().for_each(|what| report(1, what));
        if let Some(original) = original(path) {
            differs(&read(&original)?, &page).into_iter().for_each(|what| report(1, what));
        }
    }
    Ok(violations)
}

/// Every page, relative to the root.
fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    let mut folders = ["docs", "shop"].map(PathBuf::from).to_vec();
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from));
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder)).context("failed to list the docs")?;
        for entry in entries {
            let entry = entry.context("failed to list the docs")?;
            let path = folder.join(entry.file_name());
            // What a running system keeps beside its manifest is not part of the docs.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

fn read(page: &Path) -> Result<Page> {
    let text = fs::read_to_string(root().join(page))
        .with_context(|| format!("failed to read {}", page.display()))?;
    Ok(Page::read(&text))
}

/// The pages of its folder that an index does not link. Translations are the translated index's part.
fn unlisted(index: &Path, page: &Page, pages: &[PathBuf]) -> Vec<String> {
    let Some(suffix) = ["README.md", "README.ko.md"].into_iter().find(|name| index.ends_with(name)) else {
        return Vec::new();
    };
    let suffix = suffix.trim_start_matches("README");
    let listed = |name: &str| page.links.iter().any(|link| link.target.split('#').next() == Some(name));
    let here = pages.iter().filter(|page| page.parent() == index.parent() && page.as_path() != index);
    let names = here.filter_map(|page| page.file_name()?.to_str());
    let ours =
        names.filter(|name| name.split_once('.').is_some_and(|(_, rest)| format!(".{rest}") == suffix));
    ours.filter(|name| !listed(name)).map(|name| format!("this index has no link to {name}")).collect()
}

/// Why a link leads nowhere, if so.
fn broken(root: &Path, page: &Path, link: &Link) -> Option<String> {
    let Link { text, target, .. } = link;
    if target.contains("://") {
        return None;
    }
    let (file, anchor) =
        target.split_once('#').map_or((target.as_str(), None), |(file, at)| (file, Some(at)));
    let relative = match file {
        "" => page.to_owned(),
        file => normal(&page.parent().unwrap_or(Path::new("")).join(file)),
    };
    let path = root.join(&relative);
    if !path.exists() {
        return Some(format!("the link to {target} leads to {}, which does not exist", relative.display()));
    }
    let content = fs::read_to_string(&path).unwrap_or_default();
    if let Some(anchor) = anchor.filter(|anchor| !Page::read(&content).has_anchor(anchor)) {
        return Some(format!("{} has no heading #{anchor}", relative.display()));
    }
    let word = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'))?;
    let names_the_file = relative.ends_with(word) || relative.file_stem().is_some_and(|stem| stem == word);
    let rust = relative.extension().is_some_and(|extension| extension == "rs");
    let has = |word| if rust { code::defines(&content, word) } else { content.contains(word) };
    let named = path.is_dir() || names_the_file || has(word);
    let lacks = if rust { "defines no" } else { "has no" };
    (!named).then(|| format!("{} {lacks} `{word}`", relative.display()))
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// What a fenced block shows that does not exist.
fn invented(root: &Path, fence: &Fence) -> Vec<String> {
    if fence.language == "console" {
        let commands = fence.lines.iter().filter_map(|line| line.strip_prefix("$ "));
        return commands.filter_map(commands::refused).collect();
    }
    let Some(file) = &fence.file else { return Vec::new() };
    if file == "manifest" {
        return refused(fence).into_iter().collect();
    }
    let Ok(content) = fs::read_to_string(root.join(file)) else {
        return vec![format!("{file}, of which this block is an excerpt, does not exist")];
    };
    let mut lines = content.lines().map(str::trim);
    let shown = fence.lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty() && *line != "…");
    let missing = shown.into_iter().find(|shown| !lines.any(|line| line == *shown));
    missing.map(|line| format!("{file} has no line `{line}` here")).into_iter().collect()
}

/// Why a manifest is refused, if so.
fn refused(fence: &Fence) -> Option<String> {
    let loaded = tempfile::tempdir().and_then(|folder| {
        let manifest = folder.path().join("madang.toml");
        fs::write(&manifest, fence.lines.join("\n"))?;
        Ok(madang_model::manifest::load(&manifest, &|_| None))
    });
    match loaded {
        Ok(Ok(_)) => None,
        Ok(Err(refused)) => Some(format!("this manifest is refused: {refused}")),
        Err(error) => Some(format!("this manifest could not be checked: {error}")),
    }
}

/// The page that this one translates.
fn original(page: &Path) -> Option<PathBuf> {
    page.to_str()?.strip_suffix(".ko.md").map(|stem| PathBuf::from(format!("{stem}.md")))
}

/// How a translation differs in shape from its original.
fn differs(original: &Page, translation: &Page) -> Vec<String> {
    let mut found = Vec::new();
    let levels = |page: &Page| page.headings.iter().map(|(level, _)| *level).collect::<Vec<_>>();
    if levels(original) != levels(translation) {
        found.push("its headings differ in number or level from those of the English page".to_owned());
    }
    let blocks = |page: &Page| page.fences.iter().map(|fence| fence.lines.clone()).collect::<Vec<_>>();
    if blocks(original) != blocks(translation) {
        found.push("its fenced blocks differ from those of the English page".to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_show_what_exists() {
        let violations = violations().unwrap();
        assert!(violations.is_empty(), "\n{}", violations.join("\n"));
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("docs")).unwrap();
        let code = "// four\nfn one() {}\nfn two() {}\nfn three() {}\n";
        fs::write(folder.path().join("code.rs"), code).unwrap();
        fs::write(folder.path().join("docs/b.md"), "# A heading\n").unwrap();
        folder
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let root = folder();
        let check = |text: &str, target: &str| {
            let link = Link { line: 1, text: text.to_owned(), target: target.to_owned() };
            broken(root.path(), Path::new("docs/a.md"), &link)
        };
        for (text, target) in
            [("b", "b.md"), ("b", "b.md#a-heading"), ("`two`", "../code.rs"), ("`code.rs`", "../code.rs")]
        {
            assert_eq!(check(text, target), None, "{target}");
        }
        for (text, target) in [("c", "c.md"), ("b", "b.md#another"), ("`four`", "../code.rs")] {
            assert!(check(text, target).is_some(), "{target}");
        }
    }

    #[test]
    fn an_excerpt_that_is_none_is_found() {
        let root = folder();
        let check = |text: &str| invented(root.path(), &Page::read(text).fences[0]);
        assert!(check("```rust code.rs\nfn one() {}\n…\nfn three() {}\n```").is_empty());
        assert_eq!(check("```rust code.rs\nfn three() {}\nfn one() {}\n```").len(), 1);
        assert_eq!(check("```rust gone.rs\n```").len(), 1);
        assert!(check("```toml manifest\n[services.a]\nrun = \"a\"\n```").is_empty());
        assert_eq!(check("```toml manifest\n[services.a]\nrum = \"a\"\n```").len(), 1);
        assert_eq!(check("```console\n$ madang frobnicate\n```").len(), 1);
    }

    #[test]
    fn an_index_that_leaves_out_a_page_is_found() {
        let pages = ["a/README.md", "a/README.ko.md", "a/x.md", "a/x.ko.md", "b/y.md"].map(PathBuf::from);
        let check = |index: &str, text: &str| unlisted(Path::new(index), &Page::read(text), &pages);
        assert!(check("a/README.md", "[x](x.md)").is_empty());
        assert!(check("a/README.ko.md", "[x](x.ko.md#part)").is_empty());
        assert_eq!(check("a/README.md", "[x](x.ko.md)"), ["this index has no link to x.md"]);
        assert_eq!(check("a/README.ko.md", "[x](x.md)"), ["this index has no link to x.ko.md"]);
        assert!(check("a/x.md", "").is_empty(), "only an index lists");
    }

    #[test]
    fn a_translation_of_another_shape_is_found() {
        let original = Page::read("# A\n## B\n```toml\na = 1\n```\n");
        assert!(differs(&original, &Page::read("# 가\n## 나\n```toml\na = 1\n```\n")).is_empty());
        assert_eq!(differs(&original, &Page::read("# 가\n```toml\na = 2\n```\n")).len(), 2);
    }
}
