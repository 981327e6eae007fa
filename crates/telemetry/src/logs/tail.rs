//! The last lines of many files in the order of time.
//!
//! Two passes, so that memory does not depend on how many lines are asked for: backwards over each file for
//! where its last lines begin, then forwards over all of them at once, leaving out the first too many.

use std::{cmp::Reverse, collections::BinaryHeap, io, ops::ControlFlow, path::Path};

use super::{
    Sink, date,
    files::{Files, LogFile},
    lines::LONGEST,
    send,
    window::Window,
};
use crate::Error;

/// A file in the merge, with the line that it stands at.
struct Source<'a> {
    path: &'a Path,
    file: &'a mut LogFile,
    window: Window,
    /// When the line was written.
    at: u64,
    line: String,
}

/// Sends the last lines, and leaves each file where its last whole line ends.
pub(super) fn send_last(files: &mut Files, sink: &Sink) -> ControlFlow<()> {
    let query = files.query.clone();
    let mut sources = Vec::new();
    let mut lines = 0;
    for (path, file) in &mut files.open {
        match Source::open(path, file, &query) {
            Ok((count, source)) => {
                lines += count;
                sources.extend(source);
            }
            Err(error) => send(sink, Err(Error::read(path)(error)))?,
        }
    }
    let mut too_many = lines.saturating_sub(query.last);
    let mut next: BinaryHeap<_> =
        sources.iter().enumerate().map(|(index, source)| Reverse((source.at, index))).collect();
    while let Some(Reverse((at, index))) = next.pop() {
        let source = &mut sources[index];
        let line = std::mem::take(&mut source.line);
        if too_many > 0 {
            too_many -= 1;
        } else if query.since.is_none_or(|since| at >= since) {
            send(sink, Ok(source.file.line(at, line)))?;
        }
        match source.advance() {
            Ok(true) => next.push(Reverse((source.at, index))),
            Ok(false) => {}
            Err(error) => send(sink, Err(Error::read(source.path)(error)))?,
        }
    }
    ControlFlow::Continue(())
}

// === impl Source ===

impl<'a> Source<'a> {
    /// The last lines of a file, how many they are, and the first of them if there is one.
    fn open(
        path: &'a Path,
        file: &'a mut LogFile,
        query: &super::LogQuery,
    ) -> io::Result<(usize, Option<Self>)> {
        let changed = file.changed()?;
        let too_old = query.since.is_some_and(|since| changed < since);
        let last = if too_old { 0 } else { query.last };
        let window = Window::last(file.lines.file(), last, query.follow)?;
        let at = first_date(file, window)?.unwrap_or(changed);
        file.lines.seek(window.start);
        let mut source = Self { path, file, window, at, line: String::new() };
        let any = source.advance()?;
        Ok((window.lines, any.then_some(source)))
    }

    /// Goes to the next line; a line without a time of its own takes that of the line before it.
    fn advance(&mut self) -> io::Result<bool> {
        let lines = &mut self.file.lines;
        let next = lines.next(self.window.end)?;
        let Some(line) = next.or_else(|| lines.rest()) else { return Ok(false) };
        self.at = date::of(&line).unwrap_or(self.at);
        self.line = line;
        Ok(true)
    }
}

/// The time for lines before the first that carries one: that of the first, if it comes soon.
fn first_date(file: &mut LogFile, window: Window) -> io::Result<Option<u64>> {
    file.lines.seek(window.start);
    let soon = window.end.min(window.start + LONGEST as u64);
    while let Some(line) = file.lines.next(soon)? {
        if let Some(at) = date::of(&line) {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
