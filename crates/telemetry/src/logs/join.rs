//! Lines that belong to the one before: a stack trace is one line of the log, whichever language it comes from.
//!
//! What continues a line is told from its beginning, since nobody ends a stack trace. The first line that does not
//! continue it ends it, and otherwise a moment without one ([`PATIENCE`]), so that nothing is held back for longer.

use std::time::Duration;

use super::recognise::{self, begins_trace};

/// How long a line waits for one that continues it.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// The longest text of joined lines, in bytes; what continues it beyond is cut, and said so.
const LONGEST: usize = 64 * 1024;

/// What follows a line, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing that is not indented, or known by its beginning.
    Any,
    /// A structured line, which is whole.
    Whole,
    /// A Python trace: indented lines, then the exception.
    Python,
    /// A Rust panic whose message is on the next line.
    Rust,
    /// What Go says as it dies: goroutines.
    Go,
}

/// A line with those that continue it.
#[derive(Debug)]
pub(super) struct Joined {
    text: String,
    mode: Mode,
    /// Whether it tells of trouble, so that a trace that begins anew belongs to it.
    trouble: bool,
    cut: usize,
}

// === impl Joined ===

impl Joined {
    /// A line that continues none.
    pub(super) fn new(line: String) -> Self {
        let mode = match &*line {
            text if text.starts_with('{') => Mode::Whole,
            text if text.starts_with("Traceback (most recent call last)") => Mode::Python,
            text if text.starts_with("thread '") && text.contains(" panicked at ") => Mode::Rust,
            text if text.starts_with("panic: ") || text.starts_with("fatal error: ") => Mode::Go,
            _ => Mode::Any,
        };
        let trouble = mode != Mode::Whole
            && recognise::of(&line).level.is_some_and(|level| level >= madang_wire::log::LogLevel::Warn);
        Self { text: line, mode, trouble, cut: 0 }
    }

    /// Whether a line continues it.
    pub(super) fn continues(&self, line: &str) -> bool {
        if self.mode == Mode::Whole || line.starts_with('{') {
            return false;
        }
        let closes = matches!(line, "}" | "]" | ")" | "};" | "});") && self.text.contains('\n');
        let indented = line.starts_with([' ', '\t']);
        let known = ["Caused by:", "Suppressed: ", "stack backtrace:", "note: ", "goroutine ", "... "];
        if indented || closes || known.iter().any(|start| line.starts_with(start)) {
            return true;
        }
        let again = line.starts_with("Traceback (most recent call last)")
            || line.starts_with("During handling of the above exception")
            || line.starts_with("The above exception was the direct cause");
        match self.mode {
            Mode::Python => again || line.is_empty() || !self.ended_python(),
            Mode::Rust => line.is_empty() || self.text.ends_with(':') && !self.text.contains('\n'),
            Mode::Go => line.is_empty() || go(line),
            // A logger that writes the failure below its own line.
            Mode::Any => self.trouble && (again || dotted_failure(line)),
            Mode::Whole => false,
        }
    }

    /// Adds a line that continues it.
    pub(super) fn add(&mut self, line: &str) {
        if line.starts_with("Traceback (most recent call last)") {
            self.mode = Mode::Python;
        }
        if self.text.len() + line.len() < LONGEST {
            self.text.push('\n');
            self.text.push_str(line);
        } else {
            self.cut += line.len() + 1;
        }
    }

    /// The whole.
    pub(super) fn into_text(mut self) -> String {
        self.text.truncate(self.text.trim_end_matches('\n').len());
        if self.cut > 0 {
            self.text.push_str(&format!("\n… [{} bytes cut]", self.cut));
        }
        self.text
    }

    /// The same while it may go on.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the exception has been named that a Python trace ends with.
    fn ended_python(&self) -> bool {
        let last = self.text.lines().next_back().unwrap_or_default();
        !last.is_empty()
            && !last.starts_with([' ', '\t'])
            && !last.starts_with("Traceback ")
            && !last.starts_with("During handling ")
            && !last.starts_with("The above exception ")
    }
}

/// `java.lang.IllegalStateException: closed`: with its package, as Java writes it below a logger's line.
fn dotted_failure(line: &str) -> bool {
    begins_trace(line) && line.split([':', ' ']).next().is_some_and(|name| name.contains('.'))
}

/// `main.main()`, `created by main.run`, `[signal SIGSEGV: …]`, `exit status 2`.
fn go(line: &str) -> bool {
    let name = line.split('(').next().unwrap_or_default();
    let called = line.ends_with(')') && !name.is_empty() && !name.contains(' ');
    called
        || ["created by ", "[signal ", "exit status ", "panic: "].iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of lines that come at once: how many lines each of the log has.
    fn sizes(text: &str) -> Vec<usize> {
        let mut joined: Vec<Joined> = Vec::new();
        for line in text.lines() {
            match joined.last_mut() {
                Some(last) if last.continues(line) => last.add(line),
                _ if line.is_empty() => {}
                _ => joined.push(Joined::new(line.to_owned())),
            }
        }
        joined.into_iter().map(|one| one.into_text().lines().count()).collect()
    }

    #[test]
    fn a_stack_trace_of_each_language_is_one_line() {
        let java = "2026-01-01 00:00:01 ERROR shop.Orders - failed\njava.lang.IllegalStateException: closed\n\tat shop.Orders.place(Orders.java:12)\n\t... 2 more\nCaused by: java.io.IOException: refused\n\tat java.net.Socket.connect(Socket.java:1)\n2026-01-01 00:00:02 INFO next";
        assert_eq!(sizes(java), [6, 1]);
        let uncaught = "Exception in thread \"main\" java.lang.Error: x\n\tat A.main(A.java:1)\nhello";
        assert_eq!(sizes(uncaught), [2, 1]);
        let python = "listening\nTraceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nValueError: no\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"a.py\", line 3, in <module>\nKeyError: 'x'\nnext";
        assert_eq!(sizes(python), [1, 10, 1]);
        let logged = "ERROR:root:failed\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\nValueError: no\nINFO:root:next";
        assert_eq!(sizes(logged), [4, 1]);
        let node = "TypeError: x is not a function\n    at place (/app/orders.js:3:5)\n    at process.next (node:internal:1) {\n  code: 'E'\n}\n\nNode.js v22.1.0";
        assert_eq!(sizes(node), [5, 1]);
        let rust = "thread 'main' panicked at src/main.rs:2:5:\nindex out of bounds\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/x\nnote: run with `RUST_BACKTRACE=full`\nafter";
        assert_eq!(sizes(rust), [6, 1]);
        let anyhow = "Error: failed to start\n\nCaused by:\n    0: no\n    1: none\nafter";
        assert_eq!(sizes(anyhow), [4, 1]);
        let go = "panic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/main.go:5 +0x1d\nexit status 2\nlistening on 1";
        assert_eq!(sizes(go), [6, 1]);
    }

    #[test]
    fn what_only_looks_alike_stays_apart() {
        assert_eq!(sizes("one\ntwo\nthree"), [1, 1, 1]);
        assert_eq!(sizes("{\"msg\":\"a\"}\n{\"msg\":\"b\"}\n  indented"), [1, 1, 1]);
        assert_eq!(sizes("INFO ok\nTraceback (most recent call last):\n  File\nKeyError: 1"), [1, 3]);
        assert_eq!(sizes("INFO ok\nValueError: no\nValueError: no"), [1, 1, 1]);
        assert_eq!(sizes("}\n]\n"), [1, 1]);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let mut joined = Joined::new("Error: x".to_owned());
        for _ in 0..3000 {
            joined.add(&format!("    at {}", "f".repeat(40)));
        }
        let text = joined.into_text();
        assert!(text.len() < LONGEST + 100, "{}", text.len());
        assert!(text.ends_with("bytes cut]"));
    }
}
