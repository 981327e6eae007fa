//! What is said of `[telemetry]`.

use expect_test::expect;

use crate::manifest::tests::refused;

#[test]
fn each_value_says_what_it_takes() {
    refused(
        r#"
[telemetry]
kep = "7d"
size = "512MB"
spans_per_second = -1
slow = 2
log_lines_per_second = "100"
"#,
        expect![[r#"
            MDG-MF-004

              × `kep` is not a key of [telemetry]
               ╭─[madang.toml:3:1]
             2 │ [telemetry]
             3 │ kep = "7d"
               · ─┬─
               ·  ╰── unknown key
             4 │ size = "512MB"
               ╰────
              help: did you mean `keep`? The keys of [telemetry] are `keep`, `size`, `spans_per_second`, `slow`,
                    `log_lines_per_second`, `metrics`, `forward`
            MDG-MF-009

              × `size` cannot be "512MB"
               ╭─[madang.toml:4:8]
             3 │ kep = "7d"
             4 │ size = "512MB"
               ·        ───┬───
               ·           ╰── it is not a size
             5 │ spans_per_second = -1
               ╰────
              help: write a whole number and a unit, such as "512MiB" or "2GiB"
            MDG-MF-009

              × `spans_per_second` cannot be -1
               ╭─[madang.toml:5:20]
             4 │ size = "512MB"
             5 │ spans_per_second = -1
               ·                    ─┬
               ·                     ╰── not within 0 and 1000000
             6 │ slow = 2
               ╰────
              help: write a whole number from 0 to 1000000
            MDG-MF-006

              × `slow` takes a text
               ╭─[madang.toml:6:8]
             5 │ spans_per_second = -1
             6 │ slow = 2
               ·        ┬
               ·        ╰── this is a number
             7 │ log_lines_per_second = "100"
               ╰────
              help: write the unit too: slow = "2s"
            MDG-MF-006

              × `log_lines_per_second` takes a whole number
               ╭─[madang.toml:7:24]
             6 │ slow = 2
             7 │ log_lines_per_second = "100"
               ·                        ──┬──
               ·                          ╰── this is a text
               ╰────
              help: write the number without quotes: log_lines_per_second = 100
        "#]],
    );
    refused(
        "[telemetry]\nkeep = \"31d\"\nsize = 512\n",
        expect![[r#"
        MDG-MF-009

          × `keep` cannot be "31d"
           ╭─[madang.toml:2:8]
         1 │ [telemetry]
         2 │ keep = "31d"
           ·        ──┬──
           ·          ╰── it is longer than 30 days
         3 │ size = 512
           ╰────
          help: write a whole number and a unit, such as "250ms", "3s", "5m" or "1h"
        MDG-MF-006

          × `size` takes a text
           ╭─[madang.toml:3:8]
         2 │ keep = "31d"
         3 │ size = 512
           ·        ─┬─
           ·         ╰── this is a number
           ╰────
          help: write the unit too: size = "512MiB"
    "#]],
    );
    refused(
        "[telemetry]\nsize = \"1MiB\"\n",
        expect![[r#"
        MDG-MF-009

          × `size` cannot be "1MiB"
           ╭─[madang.toml:2:8]
         1 │ [telemetry]
         2 │ size = "1MiB"
           ·        ───┬──
           ·           ╰── it is less than 64MiB
           ╰────
          help: write a whole number and a unit, such as "512MiB" or "2GiB"
    "#]],
    );
    refused(
        "[telemetry]\nsize = \"17TiB\"\n",
        expect![[r#"
        MDG-MF-009

          × `size` cannot be "17TiB"
           ╭─[madang.toml:2:8]
         1 │ [telemetry]
         2 │ size = "17TiB"
           ·        ───┬───
           ·           ╰── it is more than 16TiB
           ╰────
          help: write a whole number and a unit, such as "512MiB" or "2GiB"
    "#]],
    );
}

#[test]
fn a_back_end_is_named_by_what_it_takes() {
    refused(
        r#"
[telemetry.forward]
url = "collector:4318"
protocol = "http"
headers = { "api key" = "x" }
"#,
        expect![[r#"
            MDG-MF-009

              × `url` cannot be "collector:4318"
               ╭─[madang.toml:3:7]
             2 │ [telemetry.forward]
             3 │ url = "collector:4318"
               ·       ────────┬───────
               ·               ╰── it begins with neither http:// nor https://
             4 │ protocol = "http"
               ╰────
              help: write the scheme and the host, such as "http://collector.example:4318"
            MDG-MF-009

              × `protocol` cannot be "http"
               ╭─[madang.toml:4:12]
             3 │ url = "collector:4318"
             4 │ protocol = "http"
               ·            ───┬──
               ·               ╰── not one of its values
             5 │ headers = { "api key" = "x" }
               ╰────
              help: `protocol` takes "http/protobuf" or "grpc"
            MDG-MF-013

              × `headers` cannot have "api key" for a name
               ╭─[madang.toml:5:13]
             4 │ protocol = "http"
             5 │ headers = { "api key" = "x" }
               ·             ────┬────
               ·                 ╰── it is not the name of a header
               ╰────
              help: write letters, digits and `-`, such as "x-beta"
        "#]],
    );
    refused(
        "[telemetry]\nforward = { protocol = \"grpc\" }\n",
        expect![[r#"
        MDG-MF-007

          × [telemetry.forward] needs the key `url`
           ╭─[madang.toml:2:11]
         1 │ [telemetry]
         2 │ forward = { protocol = "grpc" }
           ·           ──────────┬──────────
           ·                     ╰── `url` is missing
           ╰────
          help: add `url`: Where it takes OTLP, as `http://collector.example:4318`; over HTTP `/v1/traces` and its
                like follow
    "#]],
    );
    refused(
        "[telemetry]\nforward = { url = \"https://me:secret@telemetry.example/otlp?x=1\" }\n",
        expect![[r#"
            MDG-MF-009

              × `url` cannot be "https://me:secret@telemetry.example/otlp?x=1"
               ╭─[madang.toml:2:19]
             1 │ [telemetry]
             2 │ forward = { url = "https://me:secret@telemetry.example/otlp?x=1" }
               ·                   ───────────────────────┬──────────────────────
               ·                                          ╰── it holds a user or a password
               ╰────
              help: leave them out and write a header, such as headers = { authorization = "Bearer ${TOKEN}" }
        "#]],
    );
    refused(
        "[telemetry]\nforward = { url = \"https://telemetry.example/otlp\", protocol = \"grpc\" }\n",
        expect![[r#"
            MDG-MF-033

              × a back end that is spoken to over gRPC has no path
               ╭─[madang.toml:2:19]
             1 │ [telemetry]
             2 │ forward = { url = "https://telemetry.example/otlp", protocol = "grpc" }
               ·                   ────────────────┬───────────────             ───┬──
               ·                                   │                               ╰── gRPC has paths of its own
               ·                                   ╰── this one has
               ╰────
              help: write url = "https://telemetry.example", or leave the protocol out
        "#]],
    );
}
