//! What is said of files, and of very many problems.

use std::{fs, io, path::Path};

use expect_test::expect;
use miette::Diagnostic;

use crate::manifest::{
    files::Files,
    find, load_from,
    tests::{Memory, ROOT, env, refused, rendered},
};

#[test]
fn no_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    // Without a frame, since the folder's name is as long as the machine likes.
    let told = |path: &Path| {
        let errors = find(path).unwrap_err();
        let error = errors.iter().next().unwrap();
        let told = format!("{}: {error}\nhelp: {}\n", error.kind().id, error.help().unwrap());
        told.replace(&*root.to_string_lossy(), "/tmp/shop")
    };
    expect![[r#"
        MDG-MF-001: there is no madang.toml in /tmp/shop
        help: name a folder with a madang.toml, or a manifest file; the smallest one is

        [services.hello]
        run = "node hello.js"
        routes = ["/**"]
    "#]]
    .assert_eq(&told(&root));
    fs::create_dir(root.join("orders")).unwrap();
    fs::write(root.join("madang.toml"), "").unwrap();
    expect![[r#"
        MDG-MF-001: there is no madang.toml in /tmp/shop/orders
        help: did you mean /tmp/shop/madang.toml?
    "#]]
    .assert_eq(&told(&root.join("orders")));
    fs::write(root.join("madang.production.toml"), "").unwrap();
    expect![[r#"
        MDG-MF-001: there is no manifest at /tmp/shop/madang.prodution.toml
        help: did you mean /tmp/shop/madang.production.toml?
    "#]]
    .assert_eq(&told(&root.join("madang.prodution.toml")));
}

#[test]
fn unreadable() {
    struct Locked(Memory);
    impl Files for Locked {
        fn read(&self, path: &Path) -> io::Result<String> {
            if path.ends_with("service.toml") {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.0.read(path)
        }
        fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
            self.0.list(folder)
        }
    }
    let files = [("madang.toml", "system.include = [\"*/service.toml\"]\n"), ("orders/service.toml", "")];
    let manifest = Path::new(ROOT).join("madang.toml");
    let errors = load_from(&manifest, None, &env, &Locked(Memory::new(files))).unwrap_err();
    expect![[r#"
        MDG-MF-002

          × failed to read /shop/orders/service.toml: permission denied
           ╭─[madang.toml:1:19]
         1 │ system.include = ["*/service.toml"]
           ·                   ────────┬───────
           ·                           ╰── included here
           ╰────
          help: a manifest's files are UTF-8 text of at most 1 MiB that the user of `madang` may read
    "#]]
    .assert_eq(&rendered(&errors));
    let errors = load_from(&manifest, None, &env, &Memory::default()).unwrap_err();
    expect![[r#"
        MDG-MF-002

          × failed to read /shop/madang.toml: entity not found
          help: a manifest's files are UTF-8 text of at most 1 MiB that the user of `madang` may read
    "#]]
    .assert_eq(&rendered(&errors));
}

#[test]
fn syntax() {
    refused(
        "[services.users]\nrun = node users.js\n",
        expect![[r#"
            MDG-MF-003

              × madang.toml is not TOML: string values must be quoted
               ╭─[madang.toml:2:7]
             1 │ [services.users]
             2 │ run = node users.js
               ·       ──────┬──────
               ·             ╰── a text without quotes
               ╰────
              help: write it in quotes: "node users.js"
        "#]],
    );
    refused(
        "[services.users]\nrun = \"a\"\nrun = \"b\"\n",
        expect![[r#"
            MDG-MF-003

              × madang.toml is not TOML: duplicate key
               ╭─[madang.toml:3:1]
             2 │ run = "a"
             3 │ run = "b"
               · ─┬─
               ·  ╰── written before
               ╰────
              help: each key and each table is written once: rename one, or merge what is below them
        "#]],
    );
    refused(
        "[services.users\nrun = \"a\"\nport = \n",
        expect![[r#"
            MDG-MF-003

              × madang.toml is not TOML: unclosed table
               ╭─[madang.toml:1:15]
             1 │ [services.users
               ·               ┬
               ·               ╰── expected `]`
             2 │ run = "a"
               ╰────
              help: a manifest is TOML: `key = "text"`, `key = 3`, `[table]`; see https://toml.io
        "#]],
    );
    refused(
        "[services.users]\nrun = \"a\"\n[services.users]\nrun = \"b\"\n",
        expect![[r#"
            MDG-MF-003

              × madang.toml is not TOML: duplicate key
               ╭─[madang.toml:3:11]
             2 │ run = "a"
             3 │ [services.users]
               ·           ──┬──
               ·             ╰── written before
             4 │ run = "b"
               ╰────
              help: each key and each table is written once: rename one, or merge what is below them
            MDG-MF-003

              × madang.toml is not TOML: duplicate key
               ╭─[madang.toml:4:1]
             3 │ [services.users]
             4 │ run = "b"
               · ─┬─
               ·  ╰── written before
               ╰────
              help: each key and each table is written once: rename one, or merge what is below them
        "#]],
    );
}

#[test]
fn include_nothing() {
    refused(
        "[system]\ninclude = [\"*/service.toml\", \"services.toml\"]\n",
        expect![[r#"
            MDG-MF-026

              × no file matches "*/service.toml"
               ╭─[madang.toml:2:12]
             1 │ [system]
             2 │ include = ["*/service.toml", "services.toml"]
               ·            ────────┬───────
               ·                    ╰── matches nothing
               ╰────
              help: it is looked for in /shop; `*` stands for any part of one name, such as "*/service.toml"
            MDG-MF-026

              × no file matches "services.toml"
               ╭─[madang.toml:2:30]
             1 │ [system]
             2 │ include = ["*/service.toml", "services.toml"]
               ·                              ───────┬───────
               ·                                     ╰── matches nothing
               ╰────
              help: it is looked for in /shop; `*` stands for any part of one name, such as "*/service.toml"
        "#]],
    );
}

#[test]
fn very_many_problems_are_counted_and_the_first_are_shown() {
    let manifest: String = (0..500).map(|n| format!("key-{n} = {n}\n")).collect();
    let errors = Memory::new([("madang.toml", manifest.as_str())]).load().unwrap_err();
    assert_eq!(errors.iter().count(), 100);
    assert_eq!(errors.to_string(), "the manifest has 500 problems; the first 100 are");
}
