//! What cargo's test programs say: how many tests passed and failed, and what those printed that failed.

use std::fmt;

/// A count of tests.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Count {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that were not run.
    pub skipped: u64,
    /// What the tests printed that failed, each under its heading: of the first failures, and of each its first lines.
    pub failures: Vec<String>,
    /// Lines of the failure that is being read; absent outside of one.
    reading: Option<usize>,
}

/// So much is shown again of failures, and so many lines of each. Their whole output has gone by already.
const FAILURES: usize = 20;
const LINES: usize = 60;

impl Count {
    /// Adds what the next line says: a part of a failure's output, or the closing line of a test program.
    pub fn read(&mut self, line: &str) {
        self.follow(line);
        let Some((_, results)) = line.split_once("test result: ").and_then(|(_, rest)| rest.split_once(". "))
        else {
            return;
        };
        for result in results.split("; ") {
            let Some((number, kind)) = result.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Keeps what a failed test printed: what stands between its heading and the next, or the list of names.
    fn follow(&mut self, line: &str) {
        if line.starts_with("---- ") && (line.ends_with(" stdout ----") || line.ends_with(" stderr ----")) {
            self.reading = (self.failures.len() < FAILURES).then_some(0);
            if self.reading.is_some() {
                self.failures.push(line.to_owned());
            }
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.reading = None;
        } else if let (Some(lines), Some(failure)) = (&mut self.reading, self.failures.last_mut()) {
            *lines += 1;
            if *lines <= LINES && !line.is_empty() {
                failure.push('\n');
                failure.push_str(line);
            }
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_closing_lines_and_nothing_else() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test router::tests::3 passed; 4 failed ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ] {
            count.read(line);
        }
        assert_eq!(count, Count { passed: 14, failed: 5, skipped: 1, ..Count::default() });
        assert_eq!(count.to_string(), "14 passed, 5 failed, 1 skipped");
    }

    #[test]
    fn keeps_what_failed_tests_printed() {
        let output = "\
test a ... FAILED
test b ... FAILED

failures:

---- a stdout ----

thread 'a' panicked at src/lib.rs:1:1:
left and right

---- b stdout ----
b's

failures:
    a
    b

test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `--lib`";
        let mut count = Count::default();
        output.lines().for_each(|line| count.read(line));
        let a = "---- a stdout ----\nthread 'a' panicked at src/lib.rs:1:1:\nleft and right";
        assert_eq!(count.failures, [a, "---- b stdout ----\nb's"]);

        let long = |number| format!("---- t{number} stdout ----\n{}", "line\n".repeat(2 * LINES));
        let mut count = Count::default();
        (0..2 * FAILURES).for_each(|number| long(number).lines().for_each(|line| count.read(line)));
        assert_eq!(count.failures.len(), FAILURES);
        assert!(count.failures.iter().all(|failure| failure.lines().count() == 1 + LINES));
    }
}
