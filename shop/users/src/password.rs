//! Passwords: kept as hashes of argon2id, which cost whoever guesses as much as whoever checks.

use std::sync::{Arc, LazyLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use madang::{Error, Result};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// How many are looked at at a time: each takes 19 MiB and a core for a while (OWASP's parameters, the crate's own).
const AT_ONCE: usize = 4;

static PERMITS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// Of which nobody has the password: checked where there is nobody, so that it takes as long.
static NOBODY: LazyLock<String> = LazyLock::new(|| hashed("nobody has this one").unwrap_or_default());

/// A password that is fit to be kept: 8 to 256 characters.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// A password out of what somebody typed, or what is wrong with it.
    pub fn parse(typed: &str) -> Result<Self, &'static str> {
        match typed.chars().count() {
            0..8 => Err("must have at least 8 characters"),
            257.. => Err("must have at most 256 characters"),
            _ => Ok(Self(typed.to_owned())),
        }
    }

    /// Its hash, with a salt of its own, in PHC form.
    pub async fn hash(self) -> Result<String> {
        aside(move || hashed(&self.0)).await?.ok_or_else(|| Error::internal("a password cannot be hashed"))
    }
}

/// Whether a password is the one of a hash; with no hash it is not, and takes as long.
pub async fn is(password: String, hash: Option<String>) -> Result<bool> {
    aside(move || {
        let of = hash.as_deref().unwrap_or(&NOBODY);
        let same = PasswordHash::new(of)
            .is_ok_and(|of| Argon2::default().verify_password(password.as_bytes(), &of).is_ok());
        same && hash.is_some()
    })
    .await
}

fn hashed(password: &str) -> Option<String> {
    Some(Argon2::default().hash_password(password.as_bytes()).ok()?.to_string())
}

/// Off the threads that answer requests, and no more at once than the machine can bear.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let _permit = PERMITS.acquire().await.map_err(Error::internal)?;
    spawn_blocking(work).await.map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_its_own_and_nobody_has_none() {
        let kept = Password::parse("correct horse").unwrap().hash().await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(
            kept,
            Password::parse("correct horse").unwrap().hash().await.unwrap(),
            "each has its salt"
        );
        assert!(is("correct horse".to_owned(), Some(kept.clone())).await.unwrap());
        assert!(!is("correct hors".to_owned(), Some(kept)).await.unwrap());
        assert!(!is("nobody has this one".to_owned(), None).await.unwrap());
        assert!(!is("x".to_owned(), Some("no hash".to_owned())).await.unwrap());
    }

    #[test]
    fn short_and_endless_ones_are_refused() {
        assert!(Password::parse("1234567").is_err() && Password::parse(&"x".repeat(257)).is_err());
        assert!(Password::parse("비밀번호여덟글자").is_ok());
    }
}
