use crate::fake::Fake;

#[tokio::test]
async fn writes_what_prometheus_and_grafana_read_without_a_node() {
    let fake = Fake::down();
    fake.write(
        "madang.toml",
        "[system]\nname = \"shop\"\n[telemetry]\nmetrics = 9999\n[services.users]\nrun = \"true\"\n",
    );
    let ran = fake.run("export prometheus --out made/here").await;
    assert_eq!((ran.code, &*ran.stderr), (0, ""));
    assert_eq!(ran.stdout, "made/here/prometheus.yml\nmade/here/madang-alerts.yml\n");
    let config = read(&fake, "made/here/prometheus.yml");
    assert!(
        config.contains("targets: [\"127.0.0.1:9999\"]") && config.contains("system: \"shop\""),
        "{config}"
    );
    let ran = fake.run("export grafana --out made").await;
    assert_eq!(ran.stdout, "made/madang-system.json\nmade/madang-service.json\n");
    let dashboard: serde_json::Value = serde_json::from_str(&read(&fake, "made/madang-system.json")).unwrap();
    assert_eq!(dashboard["title"], "Madang: shop");
}

#[tokio::test]
async fn says_what_the_manifest_lacks() {
    let fake = Fake::down();
    fake.write("madang.toml", "[services.users]\nrun = \"true\"\n");
    let ran = fake.run("export prometheus").await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("`metrics = \"127.0.0.1:9464\"`"), "{}", ran.stderr);
    assert!(read(&fake, "madang-alerts.yml").contains("MadangErrorsBurnFast"));
}

fn read(fake: &Fake, file: &str) -> String {
    std::fs::read_to_string(fake.root().join(file)).unwrap()
}
