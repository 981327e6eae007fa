use std::sync::atomic::AtomicU64;

use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    task::{JoinHandle, yield_now},
    time::advance,
};

use super::*;
use crate::auth::testing::{Signer, Source, document, issuer};

/// A keyring that is followed, and who answers for its issuer.
struct Stage {
    keyring: Arc<Keyring>,
    source: Arc<Source>,
    generation: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Stage {
    fn new(answer: Result<Bytes, String>) -> Self {
        let (keyring, source) = (Keyring::new(issuer("https://id.example")), Source::new(answer));
        let generation = Arc::<AtomicU64>::default();
        let task =
            tokio::spawn(keyring.clone().follow(source.clone(), generation.clone(), Default::default()));
        Self { keyring, source, generation, task }
    }

    /// Has so many fetches answered.
    async fn settle(&self, answers: usize) {
        self.source.release(answers);
        for _ in 0..20 {
            yield_now().await;
        }
    }

    /// Lets time pass with all that is due in it.
    async fn pass(&self, time: Duration) {
        advance(time).await;
        for _ in 0..20 {
            yield_now().await;
        }
    }

    /// What becomes of a token at first.
    fn look(&self, signer: &Signer) -> Looked<bool> {
        let text = signer.token(&json!({}));
        let token = Unverified::read(&text).unwrap();
        self.keyring.look(&token, false, |key| Ok(key.signed(&token)))
    }

    /// What becomes of a token in the end.
    async fn verify(&self, signer: &Signer) -> Result<bool, Reason> {
        match self.look(signer) {
            Looked::Found(good) => Ok(good),
            Looked::Refused(reason) => Err(reason),
            Looked::Wait(waiting) => {
                if !waiting.ended(None).await {
                    return Err(Waiting::late());
                }
                let text = signer.token(&json!({}));
                let token = Unverified::read(&text).unwrap();
                match self.keyring.look(&token, true, |key| Ok(key.signed(&token))) {
                    Looked::Found(good) => Ok(good),
                    Looked::Refused(reason) => Err(reason),
                    Looked::Wait(_) => panic!("it has waited already"),
                }
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_unknown_keys_cause_one_fetch() {
    let (good, bad) = (Signer::new("good"), (0..1000).map(|n| Signer::new(&format!("bogus-{n}"))));
    let stage = Stage::new(Ok(document(&[&good])));
    stage.settle(1).await;
    assert_eq!((stage.source.asked(), stage.verify(&good).await), (1, Ok(true)));
    let bad: Vec<_> = bad.collect();
    let (outcomes, ()) = tokio::join!(join_all(bad.iter().map(|signer| stage.verify(signer))), async {
        yield_now().await;
        stage.settle(1).await;
    });
    assert_eq!(stage.source.asked(), 2, "one when the issuer became known, one for all of them");
    assert!(outcomes.iter().all(|outcome| *outcome == Err(Bad::UnknownKey.into())));
    for signer in &bad {
        assert!(matches!(stage.look(signer), Looked::Refused(Reason::Bad(Bad::UnknownKey))));
    }
    stage.settle(5).await;
    assert_eq!(stage.source.asked(), 2, "it cools down");
    stage.pass(COOL_DOWN).await;
    assert!(matches!(stage.look(&bad[0]), Looked::Wait(_)), "and may be asked again");
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_when_the_first_token_names_it_and_an_old_one_ends() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let stage = Stage::new(Ok(document(&[&old])));
    stage.settle(1).await;
    let before = stage.generation.load(Relaxed);
    stage.source.answer(Ok(document(&[&new])));
    let (verified, ()) = tokio::join!(stage.verify(&new), stage.settle(1));
    assert_eq!(verified, Ok(true));
    assert_eq!(stage.generation.load(Relaxed), before + 1, "what was verified before is verified again");
    assert!(matches!(stage.look(&old), Looked::Refused(Reason::Bad(Bad::UnknownKey))));
    stage.settle(1).await;
    stage.pass(PERIOD).await;
    assert_eq!(stage.generation.load(Relaxed), before + 1, "the same keys change nothing");
    assert_eq!(stage.source.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_the_first_keys_and_not_for_ever() {
    let signer = Signer::new("a");
    let stage = Stage::new(Ok(document(&[&signer])));
    let (first, ()) = tokio::join!(stage.verify(&signer), stage.settle(1));
    assert_eq!(first, Ok(true));

    let silent = Stage::new(Ok(document(&[&signer])));
    let due = Instant::now() + Duration::from_millis(700);
    let Looked::Wait(waiting) = silent.look(&signer) else { panic!("nothing is known yet") };
    assert!(!waiting.ended(Some(due)).await);
    assert_eq!(Instant::now(), due, "its own deadline");
    let began = Instant::now();
    assert_eq!(silent.verify(&signer).await, Err(Waiting::late()));
    assert_eq!(began.elapsed(), WAIT);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_wait() {
    let signer = Signer::new("a");
    let stage = Stage::new(Err("away".to_owned()));
    let waiting: Vec<_> = (0..WAITING).map(|_| stage.look(&signer)).collect();
    assert!(waiting.iter().all(|looked| matches!(looked, Looked::Wait(_))));
    assert!(matches!(stage.look(&signer), Looked::Refused(Reason::NoKeys { .. })));
    drop(waiting);
    assert!(matches!(stage.look(&signer), Looked::Wait(_)), "a place is free again");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_comes_late_is_asked_when_a_token_comes() {
    let signer = Signer::new("a");
    let stage = Stage::new(Err("away".to_owned()));
    stage.settle(1).await;
    let (first, ()) = tokio::join!(stage.verify(&signer), stage.settle(1));
    assert!(matches!(first, Err(Reason::NoKeys { .. })));
    assert_eq!(stage.source.asked(), 2);
    assert!(matches!(stage.look(&signer), Looked::Refused(Reason::NoKeys { .. })), "it was asked just now");
    // Until it is asked once in a minute only, of itself.
    for _ in 0..10 {
        stage.settle(1).await;
        stage.pass(AGAIN_AT_MOST).await;
    }
    stage.settle(1).await;
    stage.source.answer(Ok(document(&[&signer])));
    stage.pass(AGAIN).await;
    let (verified, ()) = tokio::join!(stage.verify(&signer), stage.settle(1));
    assert_eq!(verified, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn keys_stay_good_while_the_issuer_is_away_and_not_for_ever() {
    let signer = Signer::new("a");
    let stage = Stage::new(Ok(document(&[&signer])));
    stage.settle(100_000).await;
    stage.source.answer(Err("away".to_owned()));
    stage.pass(STALE - Duration::from_secs(1)).await;
    assert_eq!(stage.verify(&signer).await, Ok(true));
    let tried = stage.source.asked();
    stage.pass(Duration::from_secs(1)).await;
    assert!(matches!(stage.verify(&signer).await, Err(Reason::NoKeys { .. })));
    stage.source.answer(Ok("{}".into()));
    stage.pass(AGAIN_AT_MOST).await;
    assert!(stage.source.asked() > tried, "it is tried again and again");
    assert!(
        matches!(stage.verify(&signer).await, Err(Reason::NoKeys { .. })),
        "what is no document changes nothing"
    );
    stage.source.answer(Ok(document(&[&signer])));
    stage.pass(AGAIN_AT_MOST).await;
    assert_eq!(stage.verify(&signer).await, Ok(true));
}
