//! The few words of Redis' protocol (RESP2) that a store of limits is spoken to by. A peer may say anything: what is read is
//! no longer than what was asked for.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// The longest line, in bytes: an error, or a number.
const LINE: u64 = 1024;

/// How much of what a store says is repeated, in characters.
const REPEATED: usize = 200;

/// A connection to a store.
pub(super) struct Wire<S>(BufReader<S>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it has closed the connection")]
    Closed,
    #[error("it says: {0}")]
    Refused(String),
    #[error("it does not speak as Redis does: {0}")]
    Form(&'static str),
}

/// Appends a command.
pub(super) fn command<A: AsRef<[u8]>>(words: &[A], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        let word = word.as_ref();
        into.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        into.extend_from_slice(word);
        into.extend_from_slice(b"\r\n");
    }
}

// === impl Wire ===

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub(super) async fn send(&mut self, commands: &[u8]) -> Result<(), Unanswered> {
        self.0.get_mut().write_all(commands).await?;
        Ok(self.0.get_mut().flush().await?)
    }

    /// A short text, whether it comes with its length or without.
    pub(super) async fn text(&mut self) -> Result<String, Unanswered> {
        let line = self.line().await?;
        match line.split_at_checked(1) {
            Some(("+", text)) => Ok(text.to_owned()),
            Some(("$", _)) => self.line().await,
            _ => Err(Unanswered::Form("a text was expected")),
        }
    }

    /// So many numbers, in one list.
    pub(super) async fn numbers(&mut self, count: usize) -> Result<Vec<i64>, Unanswered> {
        if self.line().await?.strip_prefix('*').and_then(|it| it.parse().ok()) != Some(count) {
            return Err(Unanswered::Form("a list of numbers was expected, one for each key"));
        }
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            let number = self.line().await?.strip_prefix(':').and_then(|it| it.parse().ok());
            numbers.push(number.ok_or(Unanswered::Form("a number was expected"))?);
        }
        Ok(numbers)
    }

    /// A line without its end, unless it is an error.
    async fn line(&mut self) -> Result<String, Unanswered> {
        let mut line = Vec::new();
        (&mut self.0).take(LINE).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(Unanswered::Closed);
        }
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(Unanswered::Form("a line that does not end"));
        };
        let line = String::from_utf8_lossy(line);
        match line.strip_prefix('-') {
            Some(error) => {
                let printable = error.chars().map(|c| if c.is_control() { ' ' } else { c });
                Err(Unanswered::Refused(printable.take(REPEATED).collect()))
            }
            None => Ok(line.into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What is made of these bytes.
    async fn read(bytes: &[u8], count: usize) -> Result<Vec<i64>, String> {
        let (mut store, own) = duplex(1 << 20);
        store.write_all(bytes).await.unwrap();
        drop(store);
        Wire::new(own).numbers(count).await.map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_says_how_long_its_words_are() {
        let mut bytes = Vec::new();
        command(&["AUTH", "a b\r\n"], &mut bytes);
        assert_eq!(bytes, b"*2\r\n$4\r\nAUTH\r\n$5\r\na b\r\n\r\n");
    }

    #[tokio::test]
    async fn as_many_numbers_are_read_as_were_asked_for() {
        assert_eq!(read(b"*2\r\n:7\r\n:-1\r\n", 2).await, Ok(vec![7, -1]));
        assert_eq!(read(b"*0\r\n", 0).await, Ok(vec![]));
        let form = "it does not speak as Redis does: ";
        for (bytes, count, why) in [
            (&b"*1\r\n:7\r\n"[..], 2, "a list of numbers was expected, one for each key"),
            (b"*1000000000\r\n", 1, "a list of numbers was expected, one for each key"),
            (b"*-1\r\n", 0, "a list of numbers was expected, one for each key"),
            (b"HTTP/1.1 400 Bad Request\r\n", 1, "a list of numbers was expected, one for each key"),
            (b"\xff\xfe\x00", 1, "a line that does not end"),
            (b"*1\r\n+7\r\n", 1, "a number was expected"),
            (b"*1\r\n:99999999999999999999\r\n", 1, "a number was expected"),
            (b"*1\r\n:7\n", 1, "a line that does not end"),
        ] {
            assert_eq!(read(bytes, count).await, Err(format!("{form}{why}")), "{bytes:?}");
        }
        let endless = [b'1'; 4096];
        assert_eq!(read(&endless, 1).await, Err(format!("{form}a line that does not end")));
        assert_eq!(read(b"", 1).await, Err("it has closed the connection".to_owned()));
        assert_eq!(read(b"*1\r\n", 1).await, Err("it has closed the connection".to_owned()));
        let said = format!("-OOM {}\u{7}\r\n", "x".repeat(500));
        let told = read(said.as_bytes(), 1).await.unwrap_err();
        assert!(told.starts_with("it says: OOM xxx") && told.len() < 220, "{told}");
    }
}
