//! Who talks to the store: one task, whatever the number of limits, workers and requests.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::BoxFuture;
use madang_model::edge::LimitStore;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout},
};

use super::{
    Store,
    resp::{Unanswered, Wire, command},
};
use crate::{
    Handle,
    policies::limit::{Limiter, table::Spent},
};

/// How long counts wait until they are told.
const EACH: Duration = Duration::from_millis(100);

/// How long the store may take over an answer, or over a connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long nothing is said before it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(1);

/// How long is waited after a failure, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How many clients of a limit are told of at once, and in one command. The others' turn is the next.
const AT_ONCE: usize = 4096;
const IN_ONE: usize = 256;

/// What a client owes is no more than so many bursts: a longer debt comes from a clock that was set back.
const MOST: u64 = 64;

/// For each key adds to the time at which all is paid, which is not before the spending began, and answers how much is
/// owed, in microseconds: `most, age, amount…`.
const SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local most, age = tonumber(ARGV[1]), tonumber(ARGV[2])
local owed = {}
for i, key in ipairs(KEYS) do
  local paid = tonumber(redis.call('GET', key)) or 0
  if not (paid > now - age) then paid = now - age end
  paid = math.min(paid + tonumber(ARGV[i + 2]), now + most)
  owed[i] = math.max(paid - now, 0)
  if owed[i] > 0 then
    redis.call('SET', key, string.format('%.0f', paid), 'PX', math.ceil(owed[i] / 1000) + 1000)
  end
end
return owed";

/// How stores are reached, which is not the gateway's to know.
pub trait LimitConnector: Send + Sync {
    /// A new connection to a store, over TLS if its URL says so.
    fn connect<'a>(&'a self, store: &'a LimitStore) -> BoxFuture<'a, io::Result<Connected>>;
}

/// A connection to a store, and what proves to it who the gateway is.
pub struct Connected {
    /// The connection.
    pub stream: Box<dyn Stream>,
    /// The password, if it wants one.
    pub password: Option<String>,
}

/// A stream of bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection over which the store has taken what it is to do.
struct Line {
    wire: Wire<Box<dyn Stream>>,
    /// By which the store knows the script.
    script: String,
    spoke: Instant,
}

/// What one store is told, turn by turn.
struct Talk {
    store: Arc<Store>,
    line: Option<Line>,
    failures: u32,
    not_before: Instant,
    /// When it was last looked at what was spent.
    looked: Instant,
}

/// Tells the store of the manifest in force what is spent, for as long as it is polled.
pub(crate) async fn run(handle: Handle, connector: Arc<dyn LimitConnector>) {
    let mut talk: Option<Talk> = None;
    loop {
        let kept = handle.kept();
        match kept.store() {
            None => {
                talk = None;
                handle.changed().await;
            }
            Some(store) => {
                let same = talk.take().filter(|talk| Arc::ptr_eq(&talk.store, store));
                let talk = talk.insert(same.unwrap_or_else(|| Talk::new(store.clone())));
                talk.turn(&kept.shared_limiters(), &*connector).await;
                sleep(EACH).await;
            }
        }
    }
}

// === impl Talk ===

impl Talk {
    fn new(store: Arc<Store>) -> Self {
        let now = Instant::now();
        Self { store, line: None, failures: 0, not_before: now, looked: now }
    }

    async fn turn(&mut self, limiters: &[Arc<Limiter>], connector: &dyn LimitConnector) {
        let (now, age) = (Instant::now(), self.looked.elapsed().min(PATIENCE));
        self.looked = now;
        let spent: Vec<_> = limiters.iter().map(|limiter| (limiter, limiter.spent(AT_ONCE))).collect();
        let told = match self.is_quiet(&spent, now) {
            true => Ok(()),
            false => timeout(PATIENCE, self.tell(&spent, age, connector))
                .await
                .unwrap_or_else(|_| Err("it has not answered within a second".to_owned())),
        };
        if let Err(why) = told {
            self.line = None;
            self.failures += 1;
            let wait = AGAIN.0.saturating_mul(1 << self.failures.min(16)).min(AGAIN.1);
            // Gateways that lost one store come back one by one.
            self.not_before = Instant::now() + wait.mul_f64(rand::random_range(0.5..1.0));
            self.store.failed(why);
        }
        // What was told is none of its business any more, and neither is what could not be.
        let mut count = 0;
        for (limiter, spent) in &spent {
            count += spent.iter().map(|it| limiter.forget(it)).sum::<u64>();
        }
        if self.line.is_none() {
            self.store.untold.fetch_add(count, Relaxed);
        }
    }

    /// Whether there is nothing to say, or nobody to say it to yet.
    fn is_quiet(&self, spent: &[(&Arc<Limiter>, Vec<Spent>)], now: Instant) -> bool {
        match &self.line {
            None => now < self.not_before,
            Some(line) => spent.iter().all(|(_, spent)| spent.is_empty()) && now < line.spoke + SILENCE,
        }
    }

    async fn tell(
        &mut self,
        spent: &[(&Arc<Limiter>, Vec<Spent>)],
        age: Duration,
        connector: &dyn LimitConnector,
    ) -> Result<(), String> {
        let line = match &mut self.line {
            Some(line) => line,
            none => none.insert(Line::open(&self.store, connector).await?),
        };
        let sent = Instant::now();
        line.spoke = sent;
        let mut chunks: Vec<(&Limiter, &[Spent])> = Vec::new();
        for (limiter, spent) in spent {
            chunks.extend(spent.chunks(IN_ONE).map(|chunk| (&***limiter, chunk)));
        }
        let mut commands = Vec::new();
        for (limiter, chunk) in &chunks {
            line.of_chunk(&self.store.prefix, limiter, chunk, age, &mut commands);
        }
        if commands.is_empty() {
            command(&["PING"], &mut commands);
            line.wire.send(&commands).await.map_err(in_words)?;
            line.wire.text().await.map_err(in_words)?;
        } else {
            line.wire.send(&commands).await.map_err(in_words)?;
            for (limiter, chunk) in chunks {
                let owed = line.wire.numbers(chunk.len()).await.map_err(in_words)?;
                for (spent, owed) in chunk.iter().zip(owed) {
                    limiter.settle(spent, sent, Duration::from_micros(owed.max(0) as u64), MOST);
                }
            }
        }
        self.failures = 0;
        self.store.answered();
        Ok(())
    }
}

// === impl Line ===

impl Line {
    async fn open(store: &Store, connector: &dyn LimitConnector) -> Result<Self, String> {
        let Connected { stream, password } =
            connector.connect(&store.rules).await.map_err(|error| error.to_string())?;
        let mut wire = Wire::new(stream);
        let mut commands = Vec::new();
        if let Some(password) = password {
            let words = ["AUTH", store.rules.user.as_deref().unwrap_or("default"), &password];
            // Without a user it is the form that every version knows.
            let words = if store.rules.user.is_some() { &words[..] } else { &[words[0], words[2]] };
            command(words, &mut commands);
            wire.send(&commands).await.map_err(in_words)?;
            wire.text().await.map_err(|error| match error {
                // What it says may have the password in it.
                Unanswered::Refused(why) => {
                    format!("it refuses the password: {}", why.split(' ').next().unwrap_or_default())
                }
                other => in_words(other),
            })?;
            commands.clear();
        }
        let database = store.rules.url.database();
        if database > 0 {
            command(&["SELECT", &database.to_string()], &mut commands);
        }
        command(&["SCRIPT", "LOAD", SCRIPT], &mut commands);
        wire.send(&commands).await.map_err(in_words)?;
        if database > 0 {
            wire.text().await.map_err(in_words)?;
        }
        let script = wire.text().await.map_err(in_words)?;
        // Who can be read and not be written is no store.
        let mut probe = Vec::new();
        let key = format!("{}:probe", store.prefix);
        command(&["EVALSHA", &script, "1", &key, "1000", "0", "1"], &mut probe);
        wire.send(&probe).await.map_err(in_words)?;
        wire.numbers(1).await.map_err(in_words)?;
        Ok(Self { wire, script, spoke: Instant::now() })
    }

    fn of_chunk(&self, prefix: &str, limiter: &Limiter, chunk: &[Spent], age: Duration, into: &mut Vec<u8>) {
        let mut words = Vec::with_capacity(2 * chunk.len() + 5);
        words.extend(["EVALSHA".to_owned(), self.script.clone(), chunk.len().to_string()]);
        words.extend(chunk.iter().map(|it| format!("{prefix}:{}:{:016x}", limiter.key(), it.name)));
        words.extend([limiter.most_owed(MOST).as_micros().to_string(), age.as_micros().to_string()]);
        words.extend(chunk.iter().map(|it| limiter.amount(it).as_micros().to_string()));
        command(&words, into);
    }
}

fn in_words(error: Unanswered) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::HeaderMap;
    use madang_model::{Scope, edge::WhenDown};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::advance,
    };

    use super::*;
    use crate::policies::limit::{Asking, Limits, Stopped};

    /// What a store says once it is connected to, before anything was asked of it, and whether it stays.
    #[derive(Clone)]
    struct Says(&'static str, bool);

    /// Stores one after another, the last for ever, and what each was told.
    struct Script {
        says: Mutex<Vec<Says>>,
        told: Mutex<Vec<DuplexStream>>,
        connected: Mutex<u32>,
        password: Option<&'static str>,
    }

    impl Script {
        fn new(says: &[Says]) -> Self {
            let says = Mutex::new(says.iter().rev().cloned().collect());
            Self { says, told: Mutex::default(), connected: Mutex::default(), password: None }
        }
    }

    impl LimitConnector for Script {
        fn connect<'a>(&'a self, _: &'a LimitStore) -> BoxFuture<'a, io::Result<Connected>> {
            *self.connected.lock().unwrap() += 1;
            let mut says = self.says.lock().unwrap();
            let Says(text, stays) = if says.len() > 1 { says.pop().unwrap() } else { says[0].clone() };
            let (own, mut store) = duplex(1 << 20);
            Box::pin(async move {
                store.write_all(text.as_bytes()).await?;
                if !stays {
                    store.shutdown().await?;
                }
                self.told.lock().unwrap().push(store);
                let password = self.password.map(str::to_owned);
                Ok(Connected { stream: Box::new(own), password })
            })
        }
    }

    const GREETING: &str = "$4\r\nabcd\r\n*1\r\n:1\r\n";

    /// A limit of three, of which one comes back each second.
    fn world(when_down: WhenDown) -> (Talk, Arc<Limiter>) {
        let limit = madang_model::edge::RateLimit {
            name: "all".to_owned(),
            rate: "1/s".parse().unwrap(),
            burst: 3,
            per: "all".parse().unwrap(),
            shared: Some(when_down),
        };
        let limiter = Arc::new(Limiter::new(Scope::Gateway, "", &limit));
        let url = "redis://limits".parse().unwrap();
        let store = Arc::new(Store::at(LimitStore { url, user: None, password: None }, "shop"));
        limiter.adopt(None);
        limiter.share(&store);
        (Talk::new(store), limiter)
    }

    fn ask(limiter: &Arc<Limiter>) -> Result<(), Stopped> {
        let headers = HeaderMap::new();
        let asking = Asking { address: [192, 0, 2, 1].into(), who: None, headers: &headers };
        Limits::new([limiter.clone()]).unwrap().take(asking).map(drop)
    }

    fn is_refused(asked: Result<(), Stopped>) -> bool {
        matches!(asked, Err(Stopped::TooMany(_)))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_spent_is_told_and_what_others_spent_is_owed() {
        let (mut talk, limiter) = world(WhenDown::Local);
        let script = Script::new(&[Says(concat!("$4\r\nabcd\r\n*1\r\n:1\r\n", "*1\r\n:3000000\r\n"), true)]);
        ask(&limiter).unwrap();
        talk.turn(std::slice::from_ref(&limiter), &script).await;
        assert_eq!(talk.store.stats().down, None);
        assert!(is_refused(ask(&limiter)), "two of the three are gone at other gateways");
        let mut told = vec![0; 4096];
        let mut store = script.told.lock().unwrap().remove(0);
        let count = store.read(&mut told).await.unwrap();
        let told = String::from_utf8_lossy(&told[..count]).into_owned();
        let key = format!("madang:{{shop}}:limit:{}:", limiter.key());
        assert!(
            told.contains(&key) && told.contains("\r\n192000000\r\n") && told.ends_with("\r\n1000000\r\n"),
            "{told}"
        );
        advance(Duration::from_secs(1)).await;
        ask(&limiter).unwrap();
        // There is no answer to this one, and it is not told again.
        talk.turn(std::slice::from_ref(&limiter), &script).await;
        assert_eq!(talk.store.stats().untold, 1);
        assert!(limiter.spent(9).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_says_nothing_or_anything_is_down_until_it_answers() {
        let no = "it does not speak as Redis does: ";
        for (says, why) in [
            (Says("", true), "it has not answered within a second".to_owned()),
            (Says("", false), "it has closed the connection".to_owned()),
            (Says("HTTP/1.1 400 Bad Request\r\n\r\n", true), format!("{no}a text was expected")),
            (
                Says("-NOAUTH Authentication required.\r\n", true),
                "it says: NOAUTH Authentication required.".to_owned(),
            ),
            (
                Says("$4\r\nabcd\r\n-READONLY You can't write against a read only replica.\r\n", true),
                "it says: READONLY You can't write against a read only replica.".to_owned(),
            ),
            (Says(GREETING, true), "it has not answered within a second".to_owned()),
            (
                Says(concat!("$4\r\nabcd\r\n*1\r\n:1\r\n", "*7\r\n"), true),
                format!("{no}a list of numbers was expected, one for each key"),
            ),
        ] {
            let script = Script::new(&[says, Says(concat!("$4\r\nabcd\r\n*1\r\n:1\r\n", "+PONG\r\n"), true)]);
            for when_down in WhenDown::ALL {
                let script =
                    Script::new(&script.says.lock().unwrap().iter().rev().cloned().collect::<Vec<_>>());
                let (mut talk, limiter) = world(when_down);
                let limiters = [limiter.clone()];
                ask(&limiter).unwrap();
                talk.turn(&limiters, &script).await;
                assert_eq!(talk.store.stats().down.as_deref(), Some(&*why));
                let asked = ask(&limiter);
                match when_down {
                    WhenDown::Local => assert_eq!(asked, Ok(())),
                    WhenDown::Refuse => assert!(matches!(asked, Err(Stopped::Blind(_))), "{asked:?}"),
                }
                assert_eq!(limiter.stats().blind, u64::from(when_down == WhenDown::Refuse));
                // What was spent meanwhile is not told, and keeps no place.
                talk.turn(&limiters, &script).await;
                assert_eq!(talk.store.stats().untold, 1 + u64::from(when_down == WhenDown::Local));
                assert!(limiter.spent(9).is_empty());
                advance(AGAIN.1).await;
                talk.turn(&limiters, &script).await;
                assert_eq!(talk.store.stats().down, None, "after {why}");
                ask(&limiter).unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_tried_for_ever_and_not_all_the_time() {
        let (mut talk, limiter) = world(WhenDown::Local);
        let script = Script::new(&[Says("", false)]);
        for _ in 0..600 {
            talk.turn(std::slice::from_ref(&limiter), &script).await;
            advance(EACH).await;
        }
        let connected = *script.connected.lock().unwrap();
        assert!((12..=40).contains(&connected), "{connected} in a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_says_the_password_again_is_not_repeated() {
        let (mut talk, limiter) = world(WhenDown::Local);
        let said = "-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n";
        let script = Script { password: Some("hunter2"), ..Script::new(&[Says(said, true)]) };
        talk.turn(std::slice::from_ref(&limiter), &script).await;
        assert_eq!(talk.store.stats().down.as_deref(), Some("it refuses the password: ERR"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_store_is_asked_now_and_then_whether_it_is_there() {
        let (mut talk, limiter) = world(WhenDown::Local);
        let script =
            Script::new(&[Says(concat!("$4\r\nabcd\r\n*1\r\n:1\r\n", "+PONG\r\n+PONG\r\n+PONG\r\n"), true)]);
        for _ in 0..25 {
            talk.turn(std::slice::from_ref(&limiter), &script).await;
            advance(EACH).await;
        }
        assert_eq!(talk.store.stats().exchanged, 3);
    }
}
