//! Failures that somebody asked for: who meets them, until when, and who said so.
//!
//! They are kept in the state with the moment of their end, so that a restart of the node ends none and prolongs
//! none. Whoever calls gets the end too, and needs nobody to take them away.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    Json,
    extract::{ConnectInfo, Path, State},
};
use http::{Method, StatusCode};
use madang_calls::{Killer, Origin};
use madang_model::{
    InstanceId, ServiceName, System, format_duration,
    manifest::check_path,
    nearest, parse_duration,
    policy::{Fault, FaultEffect},
};
use madang_store::Store;
use madang_wire::{
    Code, Problem,
    admin::{Event, EventKind, FaultSpec, FaultView},
};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use crate::{
    http::Failure,
    node::{Shared, now},
    peer::Peer,
};

const SCHEMA: &[&str] =
    &["CREATE TABLE faults_injected (id INTEGER PRIMARY KEY AUTOINCREMENT, fault TEXT NOT NULL) STRICT"];

/// Who stands for the requests from outside.
const GATEWAY: &str = "gateway";
/// How long a fault lasts if nobody says.
const USUAL: Duration = Duration::from_secs(600);
/// The longest that a fault may last: nobody shall find a forgotten one after a week.
const LONGEST: Duration = Duration::from_secs(86_400);
/// How many there may be at once.
const MOST: usize = 100;
/// How often the clock is looked at although no end is due, because somebody may set it.
const LOOK: Duration = Duration::from_secs(60);

/// The faults in force. Cloning it is cheap and gives the same.
#[derive(Clone)]
pub(crate) struct Faults {
    state: Store,
    active: watch::Sender<Arc<Vec<FaultView>>>,
}

/// Has the supervisor kill instances. Weak, because what calls it belongs to the node itself.
pub(crate) struct Executioner(pub(crate) Weak<Shared>);

// === impl Faults ===

impl Faults {
    /// Those that have not ended meanwhile.
    pub(crate) async fn open(state: &Store) -> Result<Self, madang_store::Error> {
        state.migrate("faults", SCHEMA).await?;
        let kept = state.read(|conn| {
            let mut all = conn.prepare("SELECT id, fault FROM faults_injected ORDER BY id")?;
            all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        });
        let kept: Vec<(i64, String)> = kept.await?;
        let read = |(id, fault): (i64, String)| {
            let view: FaultView = serde_json::from_str(&fault).ok()?;
            Some(FaultView { id: name(id), ..view })
        };
        let active = kept.into_iter().filter_map(read).collect();
        Ok(Self { state: state.clone(), active: watch::Sender::new(Arc::new(active)) })
    }

    /// Those in force, in the order in which they were added.
    pub(crate) fn list(&self) -> Arc<Vec<FaultView>> {
        self.active.borrow().clone()
    }

    /// Sees every change.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Vec<FaultView>>> {
        self.active.subscribe()
    }

    /// Those that calls of a service, or else requests from outside, meet at a service.
    pub(crate) fn of(&self, caller: Option<&ServiceName>, callee: &ServiceName) -> Vec<Fault> {
        let caller = caller.map_or(GATEWAY, ServiceName::as_str);
        let list = self.active.borrow();
        let meets = |view: &&FaultView| view.caller == caller && view.callee == callee.as_str();
        list.iter().filter(meets).map(fault).collect()
    }

    /// Those that calls from there meet at a service. Whoever uses a service's own listener is nobody known.
    pub(crate) fn at(&self, origin: &Origin, callee: &ServiceName) -> Vec<Fault> {
        match origin {
            Origin::Caller(caller) => self.of(Some(caller), callee),
            Origin::Route(_) => self.of(None, callee),
            Origin::Listener => Vec::new(),
        }
    }

    /// Those that calls of a service meet at another, also those of the manifest.
    pub(crate) fn of_call(&self, system: &System, caller: &ServiceName, callee: &ServiceName) -> Vec<Fault> {
        let mut faults = system.policy_of_call(caller, callee).faults;
        faults.extend(self.of(Some(caller), callee));
        faults
    }

    pub(crate) async fn add(&self, mut view: FaultView) -> Result<FaultView, Failure> {
        if self.active.borrow().len() >= MOST {
            return Err(Failure::parameter("caller", &format!("remove one first: there are {MOST} faults")));
        }
        let text = serde_json::to_string(&view).unwrap_or_default();
        let kept = self.state.write(move |tx| {
            tx.execute("INSERT INTO faults_injected (fault) VALUES (?1)", [text])?;
            Ok(tx.last_insert_rowid())
        });
        let number = kept.await.map_err(|error| {
            warn!(%error, "failed to keep a fault");
            Problem::new(Code::INTERNAL)
                .detail(format!("the fault cannot be kept, and is not in force: {error}"))
        })?;
        view.id = name(number);
        self.active.send_modify(|active| Arc::make_mut(active).push(view.clone()));
        Ok(view)
    }

    /// Takes those out for which this holds.
    async fn remove(&self, goes: impl Fn(&FaultView) -> bool) -> Vec<FaultView> {
        let mut gone = Vec::new();
        self.active.send_if_modified(|active| {
            if active.iter().any(&goes) {
                gone = Arc::make_mut(active).extract_if(.., |view| goes(view)).collect();
            }
            !gone.is_empty()
        });
        let numbers: Vec<i64> = gone.iter().filter_map(|view| view.id[1..].parse().ok()).collect();
        if !numbers.is_empty() {
            let forget = self.state.write(move |tx| {
                let mut delete = tx.prepare("DELETE FROM faults_injected WHERE id = ?1")?;
                numbers.iter().try_for_each(|number| delete.execute([number]).map(drop))
            });
            if let Err(error) = forget.await {
                warn!(%error, "failed to forget faults: a restart finds them again until they end");
            }
        }
        gone
    }

    /// How long until the next one ends.
    fn next_end(&self) -> Duration {
        let next = self.active.borrow().iter().map(|view| view.until).min();
        next.map_or(LOOK, |until| Duration::from_millis(until.saturating_sub(now())).min(LOOK))
    }
}

fn name(number: i64) -> String {
    format!("f{number}")
}

fn fault(view: &FaultView) -> Fault {
    let FaultView { id, method, path, effect, percent, until, .. } = view.clone();
    Fault { id, method, path, effect, percent, until: Some(until) }
}

/// A fault in words: `orders -> payments POST /charges: delay 2s for 10%`.
fn in_words(view: &FaultView) -> String {
    let FaultView { id, caller, callee, effect, percent, .. } = view;
    let only = [&view.method, &view.path].into_iter().flatten().map(|only| format!(" {only}"));
    let only: String = only.collect();
    let share = if *percent == 100 { String::new() } else { format!(" for {percent}%") };
    format!("{id}: {caller} -> {callee}{only}: {effect}{share}")
}

/// Ends faults when their time has come, until told to stop.
pub(crate) async fn run(node: Arc<Shared>) {
    let mut changes = node.faults.watch();
    // Those that a node before left.
    node.follow_faults().await;
    loop {
        tokio::select! {
            () = node.stopped.cancelled() => return,
            // The sender lives as long as `node`.
            _ = changes.changed() => {}
            () = sleep(node.faults.next_end()) => {}
        }
        let moment = now();
        let ended = node.faults.remove(|view| view.until <= moment).await;
        if !ended.is_empty() {
            node.follow_faults().await;
            ended.iter().for_each(|view| node.say_of(view, EventKind::FaultExpired, "its time is over"));
        }
    }
}

impl Shared {
    fn say_of(&self, view: &FaultView, kind: EventKind, how: &str) {
        let message = format!("{}; {how}", in_words(view));
        info!(?kind, message, "fault");
        let unit = self.system.borrow().name.to_string();
        self.journal.record(Event { at: now(), unit, instance: None, release: None, kind, message });
    }
}

// === impl Executioner ===

impl Killer for Executioner {
    fn kill(&self, fault: &str, service: &ServiceName, instance: Option<&InstanceId>) {
        let (Some(node), Some(instance)) = (self.0.upgrade(), instance) else { return };
        if !node.supervisor.kill(instance) {
            return warn!(fault, %service, %instance, "a fault found nobody to kill");
        }
        let views = node.supervisor.instances();
        let view = views.into_iter().find(|view| view.name == *instance.0);
        let (unit, release) = view.map(|view| (view.unit, view.release)).unwrap_or_default();
        let message = format!("the fault {fault} killed it as {service} was called");
        let (instance, kind) = (Some(instance.to_string()), EventKind::FaultFired);
        node.journal.record(Event { at: now(), unit, instance, release, kind, message });
    }
}

// What the admin API answers.

/// The faults in force.
#[utoipa::path(get, path = "/v1/faults", responses((status = 200, body = Vec<FaultView>)))]
pub(crate) async fn list(State(node): State<Arc<Shared>>) -> Json<Vec<FaultView>> {
    Json(node.faults.list().to_vec())
}

/// Adds a fault. Requests from outside and through doors meet it once this is answered; calls of services with the
/// SDK once they have heard of it, which takes a moment.
#[utoipa::path(post, path = "/v1/faults", request_body = FaultSpec,
    responses((status = 201, body = FaultView), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)))]
pub(crate) async fn add(
    State(node): State<Arc<Shared>>,
    ConnectInfo(Peer(by)): ConnectInfo<Peer>,
    Json(asked): Json<FaultSpec>,
) -> Result<(StatusCode, Json<FaultView>), Failure> {
    let system = node.system.borrow().clone();
    let view = node.faults.add(checked(&system, asked, by)?).await?;
    node.follow_faults().await;
    node.say_of(&view, EventKind::FaultAdded, &format!("added by {}", view.by));
    Ok((StatusCode::CREATED, Json(view)))
}

/// Removes a fault.
#[utoipa::path(delete, path = "/v1/faults/{id}", params(("id" = String, Path)),
    responses((status = 200, body = FaultView), (status = 404, body = Problem)))]
pub(crate) async fn remove(
    State(node): State<Arc<Shared>>,
    ConnectInfo(Peer(by)): ConnectInfo<Peer>,
    Path(id): Path<String>,
) -> Result<Json<FaultView>, Failure> {
    let gone = removed(&node, |view| view.id == id, &by).await.pop();
    gone.map(Json).ok_or_else(|| {
        let known: Vec<_> = node.faults.list().iter().map(|view| view.id.clone()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Problem::new(Code::UNKNOWN_NAME)
            .detail(format!("there is no fault \"{id}\"; in force: {known}"))
            .into()
    })
}

/// Removes every fault.
#[utoipa::path(delete, path = "/v1/faults", responses((status = 200, body = Vec<FaultView>)))]
pub(crate) async fn remove_all(
    State(node): State<Arc<Shared>>,
    ConnectInfo(Peer(by)): ConnectInfo<Peer>,
) -> Json<Vec<FaultView>> {
    Json(removed(&node, |_| true, &by).await)
}

async fn removed(node: &Shared, goes: impl Fn(&FaultView) -> bool, by: &str) -> Vec<FaultView> {
    let gone = node.faults.remove(goes).await;
    if !gone.is_empty() {
        node.follow_faults().await;
    }
    gone.iter().for_each(|view| node.say_of(view, EventKind::FaultRemoved, &format!("removed by {by}")));
    gone
}

/// What is asked for, if it can be: everything is named, and the call is one that can happen.
fn checked(system: &System, asked: FaultSpec, by: String) -> Result<FaultView, Failure> {
    let FaultSpec { caller, callee, method, path, effect, percent, lasts } = asked;
    meets(system, &caller, &callee)?;
    if effect == FaultEffect::Kill && system.services[callee.as_str()].unit().is_none() {
        let detail = format!("{callee} does not run here: nobody can kill an instance of it");
        return Err(Problem::new(Code::BAD_PARAMETER).detail(detail).into());
    }
    let bad = |name: &str, expected: &str| Err(Failure::parameter(name, expected));
    let method = method.map(|method| method.to_ascii_uppercase());
    if method.as_ref().is_some_and(|method| Method::from_bytes(method.as_bytes()).is_err()) {
        return bad("method", "expected a method such as POST");
    }
    if let Some(Err(why)) = path.as_deref().map(check_path) {
        return bad("path", &why);
    }
    if !(1..=100).contains(&percent) {
        return bad("percent", "expected 1 to 100");
    }
    let lasts = match lasts.as_deref().map(parse_duration) {
        None => USUAL,
        Some(Ok(lasts)) if !lasts.is_zero() && lasts <= LONGEST => lasts,
        Some(Ok(_)) => {
            return bad("for", &format!("expected a time of up to {}", format_duration(LONGEST)));
        }
        Some(Err(error)) => return bad("for", &error.to_string()),
    };
    let since = now();
    let until = since + lasts.as_millis() as u64;
    let id = String::new();
    Ok(FaultView { id, caller, callee, method, path, effect, percent, since, until, by })
}

/// Whether calls of this caller to this callee can happen.
fn meets(system: &System, caller: &str, callee: &str) -> Result<(), Failure> {
    let services = || system.services.keys().map(ServiceName::as_str);
    let unknown = |what: &str, name: &str, near: Option<&str>| {
        let near = near.map_or(String::new(), |near| format!(": did you mean \"{near}\"?"));
        Failure::from(
            Problem::new(Code::UNKNOWN_NAME)
                .detail(format!("{} has no {what} \"{name}\"{near}", system.name)),
        )
    };
    let undeclared = |detail: String| Err(Problem::new(Code::UNDECLARED).detail(detail).into());
    if !system.services.contains_key(callee) {
        return Err(unknown("service", callee, nearest(callee, services())));
    }
    if caller == GATEWAY {
        let leads_there = |target: &madang_model::Target| target.service.as_str() == callee;
        if system.routes.iter().any(|route| route.to.iter().any(leads_there)) {
            return Ok(());
        }
        return undeclared(format!(
            "no route leads to {callee}: no request from outside could meet the fault"
        ));
    }
    let Some(callees) = system.callees(caller) else {
        let compositions = system.compositions.iter().map(|composition| composition.name.as_str());
        let known = services().chain(compositions).chain([GATEWAY]);
        return Err(unknown("service", caller, nearest(caller, known)));
    };
    if callees.iter().any(|declared| declared.as_str() == callee) {
        return Ok(());
    }
    let declared: Vec<_> = callees.iter().map(|name| name.as_str()).collect();
    let declared = if declared.is_empty() { "none".to_owned() } else { declared.join(", ") };
    undeclared(format!(
        "{caller} does not call {callee}: add {callee} to its `calls`; those declared: {declared}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        services.users = { run = "users", routes = ["/users/**"] }
        services.payments = { run = "payments" }
        services.mail = { url = "https://mail.example" }
        services.orders = { run = "orders", calls = { users = {}, mail = {} } }
        [[compositions]]
        name = "page"
        path = "/page"
        answer = "users"
        calls = { users = { path = "/users" } }
    "#;

    fn system() -> System {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("madang.toml"), MANIFEST).unwrap();
        madang_model::manifest::load(folder.path(), &|_| None).unwrap().system
    }

    fn spec(caller: &str, callee: &str) -> FaultSpec {
        FaultSpec {
            caller: caller.to_owned(),
            callee: callee.to_owned(),
            method: None,
            path: None,
            effect: FaultEffect::Hang,
            percent: 100,
            lasts: None,
        }
    }

    fn view(caller: &str, callee: &str) -> FaultView {
        checked(&system(), spec(caller, callee), "user 0".to_owned()).ok().unwrap()
    }

    #[test]
    fn what_cannot_happen_is_refused_with_what_can() {
        let system = system();
        let why = |asked: FaultSpec| {
            let Err(Failure(problem)) = checked(&system, asked, String::new()) else { panic!("accepted") };
            let fields = problem.errors.iter().map(|field| format!("{}: {}", field.field, field.message));
            let fields: Vec<_> = fields.collect();
            format!("{} {}", problem.status, problem.detail.clone().unwrap_or(fields.join(", ")))
                .replace(system.name.as_str(), "shop")
        };
        for (asked, expected) in [
            (spec("ordres", "users"), "404 shop has no service \"ordres\": did you mean \"orders\"?"),
            (spec("gatewy", "users"), "404 shop has no service \"gatewy\": did you mean \"gateway\"?"),
            (spec("orders", "user"), "404 shop has no service \"user\": did you mean \"users\"?"),
            (
                spec("orders", "payments"),
                "403 orders does not call payments: add payments to its `calls`; those declared: mail, users",
            ),
            (
                spec("page", "mail"),
                "403 page does not call mail: add mail to its `calls`; those declared: users",
            ),
            (
                spec("gateway", "payments"),
                "403 no route leads to payments: no request from outside could meet the fault",
            ),
            (
                FaultSpec { effect: FaultEffect::Kill, ..spec("orders", "mail") },
                "400 mail does not run here: nobody can kill an instance of it",
            ),
            (
                FaultSpec { method: Some("PO ST".into()), ..spec("orders", "users") },
                "400 method: expected a method such as POST",
            ),
            (
                FaultSpec { path: Some("charges".into()), ..spec("orders", "users") },
                "400 path: a path starts with `/`: write \"/charges\"",
            ),
            (FaultSpec { percent: 0, ..spec("orders", "users") }, "400 percent: expected 1 to 100"),
            (
                FaultSpec { lasts: Some("25h".into()), ..spec("orders", "users") },
                "400 for: expected a time of up to 1d",
            ),
        ] {
            assert_eq!(why(asked), expected);
        }
        assert!(checked(&system, spec("gateway", "users"), String::new()).is_ok());
        assert!(checked(&system, spec("page", "users"), String::new()).is_ok(), "a composition calls too");
        let posts = FaultSpec { method: Some("post".into()), ..spec("orders", "users") };
        assert_eq!(checked(&system, posts, String::new()).ok().unwrap().method.unwrap(), "POST");
    }

    #[tokio::test]
    async fn they_are_kept_until_their_end_and_their_ids_are_never_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = Store::open(&format!("sqlite:{}", folder.path().join("state.db").display())).unwrap();
        let faults = Faults::open(&state).await.unwrap();
        let ids = async |faults: &Faults| -> Vec<String> {
            faults.list().iter().map(|view| view.id.clone()).collect()
        };
        let first = faults.add(view("orders", "users")).await.ok().unwrap();
        let second = faults.add(view("gateway", "users")).await.ok().unwrap();
        assert_eq!(faults.remove(|view| view.id == second.id).await, [second]);
        assert_eq!(faults.remove(|view| view.id == "f99").await, []);

        let again = Faults::open(&state).await.unwrap();
        assert_eq!(*again.list(), std::slice::from_ref(&first));
        let third = again.add(view("gateway", "users")).await.ok().unwrap();
        assert_eq!(ids(&again).await, ["f1", "f3"]);

        let (orders, users) = ("orders".parse().unwrap(), "users".parse().unwrap());
        let met = again.of(Some(&orders), &users);
        assert_eq!((met.len(), &*met[0].id, met[0].until), (1, "f1", Some(first.until)));
        assert_eq!(again.of(None, &users)[0].id, third.id);
        assert_eq!(again.of(Some(&users), &orders), []);
    }

    #[test]
    fn a_fault_is_said_in_words() {
        let all = view("orders", "users");
        let some = FaultView {
            id: "f7".into(),
            method: Some("POST".into()),
            path: Some("/charges".into()),
            percent: 10,
            effect: FaultEffect::Delay(Duration::from_secs(2)),
            ..all.clone()
        };
        assert_eq!(in_words(&all), ": orders -> users: hang");
        assert_eq!(in_words(&some), "f7: orders -> users POST /charges: delay 2s for 10%");
    }
}
