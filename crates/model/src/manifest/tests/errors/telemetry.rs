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
                    `log_lines_per_second`
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
