//! The answer to a head that hyper cannot read: a problem, where hyper would send a bare status.
//!
//! Hyper refuses such a head before there is a request, so that no service and no layer sees it. What it writes
//! then is known by when it writes it: while no answer is on its way, nothing else is ever written.

use bytes::Bytes;
use http::StatusCode;
use madang_calls::Context;
use madang_wire::{Code, PROBLEM_JSON, Problem};

/// The status and the answer to send in place of the head that hyper wrote.
pub(crate) fn answer(bare: &[u8]) -> (StatusCode, Bytes) {
    let text = String::from_utf8_lossy(bare);
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(StatusCode::BAD_REQUEST);
    let date = text.lines().find(|line| line.starts_with("date: ")).unwrap_or_default();
    (status, problem(status, date))
}

/// The answer to a head whose end does not come in time.
pub(crate) fn late() -> Bytes {
    problem(StatusCode::REQUEST_TIMEOUT, "")
}

/// The answer to a request that came in plain where TLS is spoken.
pub(crate) fn plain() -> Bytes {
    said(StatusCode::BAD_REQUEST, "", "TLS is spoken here: ask for https://")
}

fn problem(status: StatusCode, date: &str) -> Bytes {
    said(status, date, why(status))
}

fn said(status: StatusCode, date: &str, why: &str) -> Bytes {
    let date = if date.is_empty() { String::new() } else { format!("{date}\r\n") };
    let context = Context::root();
    let request_id = String::from_utf8_lossy(context.request_id.0.as_bytes()).into_owned();
    let mut problem = Problem::new(Code::BAD_REQUEST).with_status(status).detail(why);
    problem.request_id = Some(request_id.clone());
    problem.trace_id = Some(format!("{:032x}", context.trace.trace_id));
    let body = problem.to_json();
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\nconnection: close\r\n\
         x-request-id: {request_id}\r\n{date}\r\n",
        body.len(),
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer.into()
}

fn why(status: StatusCode) -> &'static str {
    match status {
        StatusCode::REQUEST_TIMEOUT => "the head of the request did not come to its end in time",
        StatusCode::URI_TOO_LONG => "the request line is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the head has too many fields or too many bytes",
        StatusCode::HTTP_VERSION_NOT_SUPPORTED => "the version of HTTP is not 1.0, 1.1 or 2",
        _ => "the head of the request is not valid HTTP/1.1, or could be read in more than one way",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_a_problem_with_the_same_status_and_date() {
        let bare =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: today\r\n\r\n";
        let (status, answer) = answer(bare);
        assert_eq!(status, 431);
        let text = String::from_utf8(answer.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        assert!(head.contains("\r\ndate: today"), "{head}");
        assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!((problem.status, &*problem.code), (431, "MDG-GW-003"));
        assert!(problem.request_id.is_some() && problem.trace_id.is_some());
    }
}
