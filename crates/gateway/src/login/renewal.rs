//! A session whose token has ended is had anew, once for all requests that come with it: a refresh token is good once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tracing::warn;

use super::{Login, Session, answers::NoTokens};

/// For how long requests that still come with the session of before get the new one: those under way when it changed.
const AFTER: Duration = Duration::from_secs(60);

/// How many are under way or were lately.
const MOST: usize = 1024;

/// How long a request waits, if its own deadline does not end before.
const WAIT: Duration = Duration::from_secs(10);

/// What came of one.
#[derive(Debug, Clone)]
pub(crate) enum Renewed {
    /// The session goes on: what the browser is to keep, and what it would send then.
    Goes { keep: Arc<[HeaderValue]>, cookie: HeaderValue },
    /// It has ended: what the browser is to forget.
    Ended { forget: Arc<[HeaderValue]> },
    /// The issuer cannot be asked.
    Trouble,
}

/// A request's wait for it.
pub(crate) struct Renewing {
    outcome: watch::Receiver<Option<Renewed>>,
}

/// One that was begun, and when.
type Begun = (watch::Receiver<Option<Renewed>>, Instant);

/// Those under way, and those of lately, by the text of the session of before.
#[derive(Default)]
pub(crate) struct Renewals {
    by_text: Mutex<HashMap<String, Begun>>,
}

// === impl Login ===

impl Login {
    /// Has a session anew, or waits for whoever does already; nothing if too many are under way. Runs in a task of its own:
    /// the request that began it may be gone before it ends.
    pub(crate) fn renew(self: &Arc<Self>, text: &str, session: Session) -> Option<Renewing> {
        let mut renewals = self.lasting.renewals.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((outcome, _)) = renewals.get(text) {
            return Some(Renewing { outcome: outcome.clone() });
        }
        if renewals.len() >= MOST {
            renewals.retain(|_, (outcome, at)| outcome.borrow().is_none() || at.elapsed() < AFTER);
        }
        if renewals.len() >= MOST {
            return None;
        }
        let (tell, outcome) = watch::channel(None);
        renewals.insert(text.to_owned(), (outcome.clone(), Instant::now()));
        drop(renewals);
        let (login, text) = (self.clone(), text.to_owned());
        tokio::spawn(async move {
            let renewed = login.follow(&session).await;
            let again = matches!(renewed, Renewed::Trouble);
            tell.send_replace(Some(renewed));
            if !again {
                tokio::time::sleep(AFTER).await;
            }
            let mut renewals = login.lasting.renewals.by_text.lock().unwrap_or_else(PoisonError::into_inner);
            renewals.remove(&text);
        });
        Some(Renewing { outcome })
    }

    async fn follow(&self, session: &Session) -> Renewed {
        let ended = || Renewed::Ended { forget: self.forget(&self.session_cookie()).into() };
        let Some(refresh) = &session.refresh else { return ended() };
        let tokens = match self.tokens(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await {
            Ok(tokens) => tokens,
            Err(NoTokens::Refused(_)) => return ended(),
            Err(NoTokens::Trouble(why)) => {
                warn!(issuer = self.declared.issuer, why, "a session cannot be had anew");
                return Renewed::Trouble;
            }
        };
        let session = match self.session_of(tokens, None, Some(session)).await {
            Ok(session) => session,
            Err(reason) => {
                warn!(issuer = self.declared.issuer, %reason, "a session ends: its new tokens are not good");
                return ended();
            }
        };
        let Some(keep) = self.keep(&session) else { return ended() };
        let pairs: Vec<&str> = keep
            .iter()
            .filter_map(|field| field.to_str().ok())
            .filter(|field| !field.contains("Max-Age=0;"))
            .filter_map(|field| field.split(';').next())
            .collect();
        match HeaderValue::try_from(pairs.join("; ")) {
            Ok(cookie) => Renewed::Goes { keep: keep.into(), cookie },
            Err(_) => ended(),
        }
    }
}

// === impl Renewing ===

impl Renewing {
    /// Waits until it is known.
    pub(crate) async fn ended(mut self, due: Option<Instant>) -> Renewed {
        let limit = Instant::now() + WAIT;
        let due = due.map_or(limit, |due| due.min(limit));
        match timeout_at(due, self.outcome.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Renewed::Trouble),
            _ => Renewed::Trouble,
        }
    }
}

// === impl Renewed ===

impl Renewed {
    /// Has a request go on as if it had come with the new session.
    pub(crate) fn put_into(&self, headers: &mut HeaderMap, login: &Login) {
        login.strip(headers);
        if let Self::Goes { cookie, .. } = self {
            headers.append(header::COOKIE, cookie.clone());
        }
    }

    /// What a browser is told to keep or to forget.
    pub(crate) fn fields(&self) -> &[HeaderValue] {
        match self {
            Self::Goes { keep, .. } => keep,
            Self::Ended { forget } => forget,
            Self::Trouble => &[],
        }
    }
}
