//! One log file, forwards, line by line, within fixed memory.

use std::{fs::File, io, os::unix::fs::FileExt};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// The longest line shown whole, in bytes.
pub(super) const LONGEST: usize = 64 * 1024;

/// The lines of a file from an offset on.
pub(super) struct Lines {
    file: File,
    /// Where the next chunk begins.
    offset: u64,
    chunk: Vec<u8>,
    /// How much of the chunk is used up.
    used: usize,
    /// The line whose end has not been read yet, at most [`LONGEST`] of it.
    held: Vec<u8>,
    /// How much of that line did not fit.
    cut: usize,
    /// Where the last line ended that was given.
    ended: u64,
}

impl Lines {
    pub(super) fn new(file: File) -> Self {
        Self { file, offset: 0, chunk: Vec::new(), used: 0, held: Vec::new(), cut: 0, ended: 0 }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Goes on from an offset; what was held is forgotten.
    pub(super) fn seek(&mut self, offset: u64) {
        (self.offset, self.ended, self.used, self.cut) = (offset, offset, 0, 0);
        self.chunk.clear();
        self.held.clear();
    }

    /// Where the last line ended that was given: whoever goes on from there misses nothing.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    /// The next line whose end lies before `end`; what has no end yet is held.
    pub(super) fn next(&mut self, end: u64) -> io::Result<Option<String>> {
        loop {
            let rest = &self.chunk[self.used..];
            if rest.is_empty() {
                if self.fill(end)? {
                    continue;
                }
                return Ok(None);
            }
            let line_end = rest.iter().position(|&byte| byte == b'\n');
            let length = line_end.unwrap_or(rest.len());
            hold(&mut self.held, &mut self.cut, &rest[..length]);
            self.used += length + usize::from(line_end.is_some());
            if line_end.is_some() {
                self.ended = self.offset - (self.chunk.len() - self.used) as u64;
                return Ok(Some(self.take()));
            }
        }
    }

    /// What is held, as a line; for a file that will not be read further.
    pub(super) fn rest(&mut self) -> Option<String> {
        self.ended = self.offset;
        (!self.held.is_empty()).then(|| self.take())
    }

    /// What is held, and goes on being held.
    pub(super) fn held(&self) -> Option<String> {
        (!self.held.is_empty()).then(|| String::from_utf8_lossy(&self.held).into_owned())
    }

    /// Reads the next chunk; false at the end. Memory is given back then, since most files are quiet.
    fn fill(&mut self, end: u64) -> io::Result<bool> {
        let wanted = end.saturating_sub(self.offset).min(CHUNK as u64);
        self.used = 0;
        self.chunk.resize(wanted as usize, 0);
        let read = self.file.read_at(&mut self.chunk, self.offset);
        self.chunk.truncate(*read.as_ref().unwrap_or(&0));
        self.offset += read? as u64;
        if self.chunk.is_empty() {
            self.chunk = Vec::new();
        }
        Ok(!self.chunk.is_empty())
    }

    fn take(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        let mut line = String::from_utf8_lossy(held.strip_suffix(b"\r").unwrap_or(&held)).into_owned();
        if self.cut > 0 {
            line.push_str(&format!(" … [{} bytes cut]", self.cut));
            self.cut = 0;
        }
        line
    }
}

/// Appends what fits. A freed head of a file reads as NULs: none are kept at the beginning of a line.
fn hold(held: &mut Vec<u8>, cut: &mut usize, mut bytes: &[u8]) {
    if held.is_empty() {
        bytes = &bytes[bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len())..];
    }
    let fits = bytes.len().min(LONGEST - held.len());
    held.extend_from_slice(&bytes[..fits]);
    *cut += bytes.len() - fits;
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(content: &[u8]) -> Vec<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let mut lines = Lines::new(file);
        let mut found: Vec<_> = std::iter::from_fn(|| lines.next(u64::MAX).unwrap()).collect();
        found.extend(lines.rest());
        found
    }

    #[test]
    fn splits_at_line_ends_whatever_the_bytes() {
        assert_eq!(lines(b""), [""; 0]);
        assert_eq!(lines(b"one\r\n\ntwo \xff\nthree"), ["one", "", "two \u{fffd}", "three"]);
        assert_eq!(lines("주문 1\n주문 2\n".as_bytes()), ["주문 1", "주문 2"]);
        assert_eq!(lines(b"\0\0\0after a hole\n"), ["after a hole"]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let mut content = vec![b'a'; LONGEST + 7];
        content.extend_from_slice(b"\nnext\n");
        let found = lines(&content);
        assert_eq!(found[0].len(), LONGEST + " … [7 bytes cut]".len());
        assert!(found[0].ends_with("a … [7 bytes cut]"));
        assert_eq!(found[1..], ["next"]);
        assert!(!lines(&content[7..])[0].contains("cut"), "a line of exactly the limit is whole");
    }

    #[test]
    fn a_line_without_an_end_is_held_until_it_comes() {
        let mut file = tempfile::tempfile().unwrap();
        let mut lines = Lines::new(file.try_clone().unwrap());
        file.write_all(b"first\nsec").unwrap();
        assert_eq!(lines.next(u64::MAX).unwrap().as_deref(), Some("first"));
        assert_eq!(lines.next(u64::MAX).unwrap(), None);
        file.write_all(b"ond\n").unwrap();
        assert_eq!(lines.next(u64::MAX).unwrap().as_deref(), Some("second"));
    }
}
