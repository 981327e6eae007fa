//! What is said of databases.

use expect_test::expect;

use crate::manifest::tests::{refused, refused_files};

#[test]
fn shared_database() {
    refused_files(
        &[
            (
                "madang.toml",
                "system.include = [\"*/service.toml\"]\n[services.c]\nrun = \"c\"\ndatabase = \"postgres://a:x@DB:5432/shop\"\n[services.d]\nrun = \"d\"\ndatabase = \"postgresql://b@db/shop?sslmode=off\"\n",
            ),
            ("a/service.toml", "name = \"a\"\nrun = \"a\"\ndatabase = \"sqlite\"\n"),
            ("b/service.toml", "name = \"b\"\nrun = \"b\"\ndatabase = \"sqlite:../.madang/data/a.db\"\n"),
        ],
        expect![[r#"
            MDG-MF-022

              × c and d use the same database
               ╭─[madang.toml:7:12]
             3 │ run = "c"
             4 │ database = "postgres://a:x@DB:5432/shop"
               ·            ──────────────┬──────────────
               ·                          ╰── c's
             5 │ [services.d]
             6 │ run = "d"
             7 │ database = "postgresql://b@db/shop?sslmode=off"
               ·            ──────────────────┬─────────────────
               ·                              ╰── d's
               ╰────
              help: give each service its own and let one ask the other over its API: write "sqlite" or "postgres" and
                    Madang names it after the service
            MDG-MF-022

              × a and b use the same database
               ╭─[b/service.toml:3:12]
             2 │ run = "b"
             3 │ database = "sqlite:../.madang/data/a.db"
               ·            ──────────────┬──────────────
               ·                          ╰── b's
               ╰────
              help: give each service its own and let one ask the other over its API: write "sqlite" or "postgres" and
                    Madang names it after the service

            Advice:
              ☞ a's, at a/service.toml:3
               ╭─[a/service.toml:3:12]
             2 │ run = "a"
             3 │ database = "sqlite"
               ·            ────┬───
               ·                ╰── a's
               ╰────
        "#]],
    );
}

#[test]
fn no_postgres() {
    refused(
        "[services.a]\nrun = \"a\"\ndatabase = \"postgres\"\n",
        expect![[r#"
            MDG-MF-027

              × the database of "a" is on a server that nothing names
               ╭─[madang.toml:3:12]
             2 │ run = "a"
             3 │ database = "postgres"
               ·            ─────┬────
               ·                 ╰── on which server?
               ╰────
              help: add the server's URL to [system] of madang.toml: postgres = "postgres://user@127.0.0.1:5432"
        "#]],
    );
}
