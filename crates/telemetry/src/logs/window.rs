//! Where the last lines of a file begin, found from its end without reading what comes before them.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::{fs::SeekFrom, io::Errno};

/// How much is read at once.
const CHUNK: u64 = 16 * 1024;

/// The last lines of a file: from `start` to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) lines: usize,
}

impl Window {
    /// The last `n` lines; one without an end is among them unless only whole lines are wanted.
    ///
    /// Where the head of the file was freed, the piece of a line that is left of it is not shown.
    pub(super) fn last(file: &File, n: usize, whole: bool) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let head = first_data(file, size)?;
        let mut line_ends = LineEnds { file, head, start: size, chunk: Vec::new() };
        let ended = match line_ends.next_back()? {
            Some(at) => at + 1,
            None if head == 0 => 0,
            None => size,
        };
        let end = if whole { ended } else { size };
        let mut window = Self { start: end, end, lines: 0 };
        if n > 0 && ended < end {
            (window.start, window.lines) = (ended, 1);
        }
        while window.lines < n && window.start > head {
            window.start = match line_ends.next_back()? {
                Some(at) => at + 1,
                None if head == 0 => 0,
                None => break,
            };
            window.lines += 1;
        }
        Ok(window)
    }
}

/// The first byte of a file that is not in a hole at its beginning.
pub(super) fn first_data(file: &File, size: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(0)) {
        Ok(offset) => Ok(offset.min(size)),
        Err(Errno::NXIO) => Ok(size),
        // A file system that knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// The offsets of a file's line ends, from its end to its head.
struct LineEnds<'a> {
    file: &'a File,
    head: u64,
    /// Where the chunk begins in the file.
    start: u64,
    /// What is not searched yet.
    chunk: Vec<u8>,
}

impl LineEnds<'_> {
    fn next_back(&mut self) -> io::Result<Option<u64>> {
        loop {
            if let Some(at) = self.chunk.iter().rposition(|&byte| byte == b'\n') {
                self.chunk.truncate(at);
                return Ok(Some(self.start + at as u64));
            }
            if self.start <= self.head {
                return Ok(None);
            }
            let start = self.start.saturating_sub(CHUNK).max(self.head);
            self.chunk.resize((self.start - start) as usize, 0);
            self.file.read_exact_at(&mut self.chunk, start)?;
            self.start = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::fs::{FallocateFlags, fallocate};

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn shown(file: &File, n: usize, whole: bool) -> (String, usize) {
        let window = Window::last(file, n, whole).unwrap();
        let mut content = vec![0; (window.end - window.start) as usize];
        file.read_exact_at(&mut content, window.start).unwrap();
        (String::from_utf8(content).unwrap(), window.lines)
    }

    #[test]
    fn finds_the_last_lines() {
        let file = file(b"a\nb\n\nc\npart");
        for (n, whole, content, lines) in [
            (0, false, "", 0),
            (1, false, "part", 1),
            (2, false, "c\npart", 2),
            (9, false, "a\nb\n\nc\npart", 5),
            (0, true, "", 0),
            (1, true, "c\n", 1),
            (2, true, "\nc\n", 2),
            (9, true, "a\nb\n\nc\n", 4),
        ] {
            assert_eq!(shown(&file, n, whole), (content.to_owned(), lines), "n = {n}, whole = {whole}");
        }
    }

    #[test]
    fn a_file_without_lines_has_an_empty_window() {
        assert_eq!(shown(&file(b""), 3, false), (String::new(), 0));
        assert_eq!(shown(&file(b"part"), 3, true), (String::new(), 0));
        assert_eq!(shown(&file(b"part"), 3, false), ("part".to_owned(), 1));
    }

    #[test]
    fn lines_longer_than_a_chunk_are_found() {
        let long = "x".repeat(CHUNK as usize * 2 + 5);
        let file = file(format!("before\n{long}\nafter\n").as_bytes());
        assert_eq!(shown(&file, 2, true), (format!("{long}\nafter\n"), 2));
    }

    #[test]
    fn a_freed_head_is_skipped_with_the_piece_of_a_line_after_it() {
        let line = format!("{}\n", "x".repeat(99));
        let file = file(line.repeat(200).as_bytes());
        let block = file.metadata().map(|found| std::os::unix::fs::MetadataExt::blksize(&found)).unwrap();
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, punch, 0, block * 2).unwrap();
        assert_eq!(first_data(&file, 20_000).unwrap(), block * 2);

        let (content, lines) = shown(&file, 1000, true);
        assert_eq!(content, line.repeat(lines));
        assert_eq!(lines as u64, (20_000 - block * 2) / 100);

        fallocate(&file, punch, 0, 20_000).unwrap();
        assert_eq!(shown(&file, 1000, false).1, 0, "a file freed whole has no lines");
    }
}
