//! A reader of HTTP/1.1 that takes nothing but one form of everything (RFC 9112): whatever it reads, every server reads so.

/// A request as a service gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The fields after the last chunk.
    pub trailers: Vec<(String, String)>,
}

/// The bytes of a body with the fields after it, and what follows it.
type Body<'a> = (Vec<u8>, Vec<(String, String)>, &'a [u8]);

/// All that came over a connection, to its last byte; or what could be read in another way too. The last request may be
/// cut off, which no server takes for a whole one.
pub fn requests(mut bytes: &[u8]) -> Result<Vec<Read>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        match request(bytes)? {
            Some((read, rest)) => {
                all.push(read);
                bytes = rest;
            }
            None => break,
        }
    }
    Ok(all)
}

/// The first request, and what follows it. Nothing if it is cut off.
pub fn request(bytes: &[u8]) -> Result<Option<(Read, &[u8])>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return clean(bytes).map(|()| None) };
    let head = &bytes[..end];
    clean(head)?;
    let head = text(head);
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return Err(format!("a request line {line:?}")) };
    if method.is_empty()
        || !method.bytes().all(|byte| is_token(byte) || byte == b'_')
        || !target.starts_with(['/', '*'])
        || !target.is_ascii()
    {
        return Err(format!("a request line {line:?}"));
    }
    let fields = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    let of =
        |name: &str| fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();
    if of("host").len() != 1 {
        return Err(format!("hosts {:?}", of("host")));
    }
    let rest = &bytes[end + 4..];
    let (lengths, codings) = (of("content-length"), of("transfer-encoding"));
    let body = match (&lengths[..], &codings[..]) {
        ([], []) => Some((Vec::new(), Vec::new(), rest)),
        ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| format!("a length {length}"))?;
            (rest.len() >= length).then(|| (rest[..length].to_vec(), Vec::new(), &rest[length..]))
        }
        ([], [coding]) if coding == "chunked" => chunks(rest)?,
        _ => return Err(format!("lengths {lengths:?} and codings {codings:?}")),
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(body.map(|(body, trailers, rest)| (Read { method, target, fields, body, trailers }, rest)))
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line
        .split_once(": ")
        .or_else(|| Some((line.strip_suffix(':')?, "")))
        .ok_or_else(|| format!("a field {line:?}"))?;
    if name.is_empty() || !name.bytes().all(is_token) || value.trim_matches([' ', '\t']) != value {
        return Err(format!("a field {line:?}"));
    }
    Ok((name.to_ascii_lowercase(), value.to_owned()))
}

/// Line ends are CR and LF together, and there is nothing else that could be one. What is cut off may end in CR.
fn clean(head: &[u8]) -> Result<(), String> {
    let is_lone = |(at, byte): (usize, &u8)| match byte {
        b'\r' => head.get(at + 1).is_some_and(|next| *next != b'\n'),
        b'\n' => at == 0 || head[at - 1] != b'\r',
        0..=8 | 11 | 12 | 14..=31 | 127 => true,
        b' ' | b'\t' => at > 0 && head[at - 1] == b'\n',
        _ => false,
    };
    match head.iter().enumerate().any(is_lone) {
        true => Err(format!("a head {:?}", String::from_utf8_lossy(head))),
        false => Ok(()),
    }
}

/// Sizes in digits of sixteen and nothing else.
fn chunks(mut rest: &[u8]) -> Result<Option<Body<'_>>, String> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..end]).unwrap_or("?");
        if size.is_empty() || size.len() > 8 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("a chunk's size {size:?}"));
        }
        let size = usize::from_str_radix(size, 16).unwrap_or_default();
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(trailers(rest)?.map(|(trailers, rest)| (body, trailers, rest)));
        }
        if rest.len() < size + 2 {
            return Ok(None);
        }
        if rest[size..size + 2] != *b"\r\n" {
            return Err(format!("{:?} after a chunk", String::from_utf8_lossy(&rest[size..size + 2])));
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// The fields after the last chunk, to the empty line, and what follows it.
#[expect(clippy::type_complexity)]
fn trailers(mut rest: &[u8]) -> Result<Option<(Vec<(String, String)>, &[u8])>, String> {
    let mut trailers = Vec::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else { return clean(rest).map(|()| None) };
        let (line, after) = (&rest[..end], &rest[end + 2..]);
        if line.is_empty() {
            return Ok(Some((trailers, after)));
        }
        clean(line)?;
        trailers.push(field(&text(line))?);
        rest = after;
    }
}

/// RFC 9110, section 5.6.2, without `_`, which some take for `-`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(&byte)
}

/// Values may have any byte from 128 on (RFC 9110, section 5.5), which stands for itself.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_of_everything_is_read_and_no_other() {
        let read = |text: &str| requests(text.as_bytes());
        let two =
            "GET /a HTTP/1.1\r\nhost: a\r\n\r\nPOST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(read(two).unwrap().iter().map(|it| &*it.target).collect::<Vec<_>>(), ["/a", "/b"]);
        let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        assert_eq!(read(chunked).unwrap()[0].body, b"ok");
        assert_eq!(read(&chunked[..chunked.len() - 2]).unwrap(), [], "it is cut off");
        let with_trailer = chunked.replace("0\r\n\r\n", "0\r\nX: y\r\n\r\n");
        assert_eq!(read(&with_trailer).unwrap()[0].trailers, [("x".to_owned(), "y".to_owned())]);
        for bad in [
            "GET / HTTP/1.1\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n x\r\n\r\n",
            "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +2\r\n\r\nok",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokx0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx : y\r\n\r\n",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
