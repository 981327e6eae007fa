use proptest::prelude::*;

use super::*;

fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

fn instance(id: &str, services: &[&str]) -> Instance {
    Instance {
        id: InstanceId(id.into()),
        services: services.iter().map(|name| service(name)).collect(),
        address: "127.0.0.1:20001".parse().unwrap(),
        protocol: Protocol::Http,
        release: None,
    }
}

fn in_rotation(endpoints: &Endpoints, name: &str) -> Vec<String> {
    let entry = &endpoints.services[&service(name)];
    entry.instances.iter().map(|endpoint| endpoint.instance.to_string()).collect()
}

#[test]
fn an_instance_of_several_services_comes_and_goes_as_one() {
    let registry = Registry::starting_at(7, Held::new());
    registry.declare([service("users"), service("orders")]);
    let both = registry.register(&instance("shop-a", &["users", "orders"]));
    assert_eq!(in_rotation(&both, "users"), ["shop-a"]);
    assert_eq!(in_rotation(&both, "orders"), ["shop-a"]);

    let none = registry.deregister(&InstanceId("shop-a".into()));
    assert_eq!(in_rotation(&none, "users"), [""; 0]);
    assert_eq!(none.services.len(), 2, "a declared service without an instance is still listed");
    assert_eq!(none.version, 10);
}

#[test]
fn what_changes_nothing_makes_no_version() {
    let registry = Registry::starting_at(0, Held::new());
    let first = registry.register(&instance("users-a", &["users"]));
    assert_eq!(registry.register(&instance("users-a", &["users"])).version, first.version);
    assert_eq!(registry.deregister(&InstanceId("unknown".into())).version, first.version);
}

#[tokio::test]
async fn a_watch_begins_with_what_is_known_and_skips_to_the_last() {
    let registry = Registry::starting_at(0, Held::new());
    registry.register(&instance("users-a", &["users"]));
    let mut watch = registry.watch();
    assert_eq!(watch.next().await.unwrap().version, 1);
    registry.register(&instance("users-b", &["users"]));
    registry.deregister(&InstanceId("users-a".into()));
    let last = watch.next().await.unwrap();
    assert_eq!(in_rotation(&last, "users"), ["users-b"]);
    drop(registry);
    assert!(watch.next().await.is_none());
}

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn joined(id: &str, port: u16) -> Endpoint {
    let address = ([127, 0, 0, 1], port).into();
    Endpoint { instance: InstanceId(id.into()), address, protocol: Protocol::Http, release: None }
}

#[derive(Debug, Clone)]
enum Step {
    Join(usize, u64),
    Renew(usize),
    Leave(usize),
    Wait(u64),
    /// One that is run here comes and goes meanwhile, which touches no lease.
    Runs(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..IDS.len(), 1_000u64..20_000).prop_map(|(id, length)| Step::Join(id, length)),
        (0..IDS.len()).prop_map(Step::Renew),
        (0..IDS.len()).prop_map(Step::Leave),
        (0u64..15_000).prop_map(Step::Wait),
        any::<bool>().prop_map(Step::Runs),
    ]
}

proptest! {
    /// Whatever happens: who has a lease that has not ended is in rotation, and who has none is out of it at
    /// most two milliseconds later, the step of the timer and its rounding.
    #[test]
    fn is_in_rotation_as_long_as_the_lease(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let registry = Registry::starting_at(0, Held::new());
            registry.declare([service("users")]);
            let expiring = tokio::spawn({
                let registry = registry.clone();
                async move {
                    loop {
                        registry.lease_ended().await;
                        registry.expire();
                    }
                }
            });
            let mut model: BTreeMap<&str, (Instant, Duration)> = BTreeMap::new();
            for step in steps {
                tokio::task::yield_now().await;
                let now = Instant::now();
                model.retain(|_, (ends, _)| *ends > now);
                match step {
                    Step::Join(id, length) => {
                        let length = Duration::from_millis(length);
                        let (lease, new) =
                            registry.join(&service("users"), joined(IDS[id], 1), length).unwrap();
                        assert_eq!(lease.ends, now + length);
                        let before = model.insert(IDS[id], (now + length, length));
                        assert_eq!(new, before.is_none());
                    }
                    Step::Renew(id) => {
                        let renewed = registry.renew(&service("users"), &InstanceId(IDS[id].into()));
                        let expected = model.get_mut(IDS[id]);
                        assert_eq!(renewed.is_some(), expected.is_some());
                        if let Some((ends, length)) = expected {
                            *ends = now + *length;
                        }
                    }
                    Step::Leave(id) => {
                        let left = registry.leave(&service("users"), &InstanceId(IDS[id].into()));
                        assert_eq!(left.is_some(), model.remove(IDS[id]).is_some());
                    }
                    Step::Runs(true) => _ = registry.register(&instance("users-x", &["users"])),
                    Step::Runs(false) => _ = registry.deregister(&InstanceId("users-x".into())),
                    Step::Wait(time) => {
                        let end = now + Duration::from_millis(time);
                        // To each end of a lease on the way, and what is past it by no more than a step.
                        while let Some(next) = model.values().map(|(ends, _)| *ends).min().filter(|next| *next <= end) {
                            tokio::time::sleep_until(next + Duration::from_millis(2)).await;
                            model.retain(|_, (ends, _)| *ends > next);
                            let listed = in_rotation(&registry.snapshot(), "users");
                            let ended = |id: &String| id != "users-x" && !model.contains_key(id.as_str());
                            assert!(!listed.iter().any(ended), "{listed:?} {model:?}");
                        }
                        tokio::time::sleep_until(end).await;
                    }
                }
                let now = Instant::now();
                let listed = in_rotation(&registry.snapshot(), "users");
                for (id, _) in model.iter().filter(|(_, (ends, _))| *ends > now) {
                    assert!(listed.iter().any(|listed| listed == id), "{id} has a lease: {listed:?}");
                }
            }
            expiring.abort();
        });
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_with_a_lease_and_one_without_are_never_the_same() {
    let registry = Registry::starting_at(0, Held::new());
    registry.declare([service("users"), service("orders")]);
    registry.register(&instance("users-a", &["users"]));
    let length = Duration::from_secs(10);
    let join = |name: &str, id: &str| registry.join(&service(name), joined(id, 4001), length);
    assert_eq!(join("users", "users-a").unwrap_err(), Refused::Taken);
    assert_eq!(join("orders", "users-a").unwrap_err(), Refused::Taken);

    // One id for two services is two instances.
    join("users", "mine").unwrap();
    join("orders", "mine").unwrap();
    registry.deregister(&InstanceId("mine".into()));
    assert!(registry.leave(&service("orders"), &InstanceId("mine".into())).is_some());
    assert_eq!(in_rotation(&registry.snapshot(), "users"), ["mine", "users-a"]);

    // Who is run here has the id, and no lease takes it out.
    let now = registry.register(&instance("mine", &["users"]));
    assert_eq!(in_rotation(&now, "users"), ["mine", "users-a"]);
    tokio::time::advance(length * 2).await;
    assert_eq!(registry.expire(), []);
    assert_eq!(in_rotation(&registry.snapshot(), "users"), ["mine", "users-a"]);
}

#[tokio::test(start_paused = true)]
async fn leases_end_with_their_service_and_are_bounded() {
    let registry = Registry::starting_at(0, Held::new());
    registry.declare([service("users"), service("orders")]);
    let join = |id: usize| {
        registry.join(&service("users"), joined(&format!("u{id}"), 4001), Duration::from_secs(10))
    };
    (0..MOST_JOINED).for_each(|id| drop(join(id).unwrap()));
    assert_eq!(join(MOST_JOINED).unwrap_err(), Refused::Full);
    assert!(!join(7).unwrap().1, "who is there may renew");
    registry.declare([service("orders")]);
    assert_eq!(registry.leases(), []);
    assert!(!registry.snapshot().services.contains_key(&service("users")));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_runs_elsewhere_is_where_it_was_found_last() {
    let registry = Registry::starting_at(0, Held::new());
    registry.declare([service("users")]);
    registry.join(&service("users"), joined("old", 1), Duration::from_secs(10)).unwrap();
    registry.replace(&service("users"), &[joined("x", 1), joined("y", 2)]);
    let now = registry.replace(&service("users"), &[joined("y", 2)]);
    assert_eq!(in_rotation(&now, "users"), ["y"]);
    assert_eq!(registry.leases(), []);
}

proptest! {
    /// Whatever the order of changes: versions grow by one with each that changes something, and what is
    /// listed is what was registered last and not taken out since.
    #[test]
    fn is_the_set_of_what_was_registered(steps in prop::collection::vec((0u8..5, any::<bool>()), 0..60)) {
        let registry = Registry::starting_at(0, Held::new());
        registry.declare([service("users")]);
        let mut expected = BTreeSet::new();
        let mut version = registry.snapshot().version;
        for (id, comes) in steps {
            let id = format!("users-{id}");
            let changed = if comes { expected.insert(id.clone()) } else { expected.remove(&id) };
            let now = if comes {
                registry.register(&instance(&id, &["users"]))
            } else {
                registry.deregister(&InstanceId(id.as_str().into()))
            };
            version += u64::from(changed);
            prop_assert_eq!(now.version, version);
            prop_assert_eq!(in_rotation(&now, "users"), expected.iter().cloned().collect::<Vec<_>>());
        }
    }
}
