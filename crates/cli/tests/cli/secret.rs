use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};

use tokio::io::AsyncWriteExt;

use crate::fake::{Fake, Ran};

const MANIFEST: &str = "[services.payments]\nrun = \"payments\"\nenv = { KEY = \"${secret.pay}\" }\n";

fn system() -> Fake {
    let fake = Fake::down();
    fake.write("madang.toml", MANIFEST);
    fake
}

/// Runs it as a user whose home is in the system's folder, with this on stdin.
async fn run(fake: &Fake, args: &str, stdin: &str, key: Option<&str>) -> Ran {
    let mut command = fake.command(args.split_whitespace());
    command.env("HOME", fake.root().join("home")).env_remove("XDG_CONFIG_HOME");
    match key {
        Some(key) => command.env("MADANG_SECRETS_KEY", key),
        None => command.env_remove("MADANG_SECRETS_KEY"),
    };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whoever does not read it has ended.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes()).await;
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[tokio::test]
async fn a_secret_is_set_listed_and_removed_and_never_shown() {
    let fake = system();
    let refused = run(&fake, "check", "", None).await;
    assert_eq!(refused.code, 3, "{refused}");
    assert!(
        refused.stderr.contains("MDG-MF-038") && refused.stderr.contains("madang secret set pay"),
        "{refused}"
    );

    let set = run(&fake, "secret set pay", "hunter2\n", None).await;
    assert_eq!((set.code, &*set.stdout), (0, ""), "{set}");
    assert!(set.stderr.contains("its key is in ") && set.stderr.contains("keep a copy"), "{set}");
    assert!(set.stderr.contains("payments is told at its next start: `madang restart payments`"), "{set}");
    let text = fs::read_to_string(fake.root().join("madang-secrets.toml")).unwrap();
    assert!(text.contains("\npay = ") && !text.contains("hunter2"), "{text}");
    assert_eq!(run(&fake, "check", "", None).await.code, 0);

    let again = run(&fake, "secret set mail --from madang.toml", "", None).await;
    assert!(again.code == 0 && !again.stderr.contains("its key is in"), "{again}");
    let listed = run(&fake, "secret list", "", None).await;
    assert_eq!(listed.stdout, "NAME  UNITS\nmail\npay   payments\n", "{listed}");
    let listed = run(&fake, "secret list --format json", "", None).await;
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[1], serde_json::json!({"name": "pay", "units": ["payments"]}));

    let removed = run(&fake, "secret rm pay", "", None).await;
    assert!(removed.code == 0 && removed.stderr.contains("payments asks for it"), "{removed}");
    let gone = run(&fake, "secret rm pay", "", None).await;
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains("there is no secret \"pay\""), "{gone}");
}

#[tokio::test]
async fn a_key_is_handed_on_changed_and_asked_for() {
    let fake = system();
    run(&fake, "secret set pay", "hunter2", None).await;
    let id = run(&fake, "secret key", "", None).await.stdout.trim().to_owned();
    let key = run(&fake, "secret key --show", "", None).await.stdout.trim().to_owned();
    assert_eq!((id.len(), key.len()), (12, 64));
    let file = fake.root().join(format!("home/.config/madang/keys/{id}.key"));
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), key);

    // A machine without the file.
    fs::rename(&file, file.with_extension("away")).unwrap();
    let missing = run(&fake, "secret set pay", "x", None).await;
    assert_eq!(missing.code, 1, "{missing}");
    assert!(missing.stderr.contains(&format!("the key {id}, which is not here")), "{missing}");
    assert_eq!(run(&fake, "secret set pay", "x", Some(&key)).await.code, 0);

    fs::rename(file.with_extension("away"), &file).unwrap();
    let new = run(&fake, "secret key --new", "", None).await;
    assert!(new.code == 0 && new.stdout.trim() != id, "{new}");
    assert!(new.stderr.contains("change the secrets themselves"), "{new}");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let other = run(&fake, "secret set pay", "x", Some(&key)).await;
    assert!(
        other.code == 1 && other.stderr.contains("which is not here: MADANG_SECRETS_KEY is the key"),
        "{other}"
    );
}

#[tokio::test]
async fn what_can_be_no_secret_is_refused() {
    let fake = system();
    for (args, stdin, said) in [
        ("secret set a.b", "x", "cannot be the name of a secret"),
        ("secret set pay", "\n", "the value of a secret cannot be empty"),
        ("secret set pay", &*"x".repeat(70_000), "of 64 KiB at most"),
        ("secret set pay --from nowhere", "", "failed to read nowhere"),
        ("secret key", "", "nothing is sealed in"),
    ] {
        let ran = run(&fake, args, stdin, None).await;
        assert!(ran.code == 1 && ran.stderr.contains(said), "{args}: {ran}");
    }
    assert!(!fake.root().join("madang-secrets.toml").exists());
}
