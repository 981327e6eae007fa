//! What is said of policies.

use expect_test::expect;

use crate::manifest::tests::{refused, refused_files};

/// A system in which a calls b, with these keys of the call, and these lines of the policy of all calls.
fn refused_call(call: &str, policy: &str, expected: expect_test::Expect) {
    let manifest = format!(
        "[policy]\n{policy}\n[services.b]\nrun = \"b\"\n[services.a]\nrun = \"a\"\ncalls = {{ b = {{ {call} }} }}\n"
    );
    refused(&manifest, expected);
}

#[test]
fn said_twice() {
    refused_files(
        &[
            ("madang.toml", "system.include = [\"*/service.toml\"]\n"),
            (
                "a/service.toml",
                "name = \"a\"\nrun = \"a\"\ntimeout = \"1s\"\nroutes = [{ path = \"/a\", timeout = \"2s\", policy = { timeout = \"3s\" } }]\n[policy]\ntimeout = \"1s\"\n",
            ),
        ],
        expect![[r#"
            MDG-MF-032

              × `timeout` and `policy.timeout` are the same setting
               ╭─[a/service.toml:4:63]
             3 │ timeout = "1s"
             4 │ routes = [{ path = "/a", timeout = "2s", policy = { timeout = "3s" } }]
               ·                                    ──┬─                       ──┬─
               ·                                      │                          ╰── given again
               ·                                      ╰── given here
             5 │ [policy]
               ╰────
              help: keep one of them
            MDG-MF-032

              × `timeout` and `policy.timeout` are the same setting
               ╭─[a/service.toml:6:11]
             2 │ run = "a"
             3 │ timeout = "1s"
               ·           ──┬─
               ·             ╰── given here
             4 │ routes = [{ path = "/a", timeout = "2s", policy = { timeout = "3s" } }]
             5 │ [policy]
             6 │ timeout = "1s"
               ·           ──┬─
               ·             ╰── given again
               ╰────
              help: keep one of them
        "#]],
    );
}

#[test]
fn misspelt_and_misplaced() {
    refused(
        "[gateway]\nretries = 3\n[services.a]\nrun = \"a\"\nbreaker = true\npolicy = { retrys = 3, breaker = { failure = 3 } }\nroutes = [{ path = \"/a\", policy = { per_caller = 3 } }]\n",
        expect![[r#"
            MDG-MF-005

              × `retries` is not a key of [gateway]: it belongs to [policy] or the `policy` of a service or a route
               ╭─[madang.toml:2:1]
             1 │ [gateway]
             2 │ retries = 3
               · ───┬───
               ·    ╰── belongs to [policy] or the `policy` of a service or a route
             3 │ [services.a]
               ╰────
              help: in TOML a key belongs to the last table header above it, here [gateway] in line 1: move it to
                    [policy] or the `policy` of a service or a route
            MDG-MF-005

              × `breaker` is not a key of a service: it belongs to the `policy` of a service
               ╭─[madang.toml:5:1]
             4 │ run = "a"
             5 │ breaker = true
               · ───┬───
               ·    ╰── belongs to the `policy` of a service
             6 │ policy = { retrys = 3, breaker = { failure = 3 } }
               ╰────
              help: in TOML a key belongs to the last table header above it, here [services.a] in line 3: move it to the
                    `policy` of a service
            MDG-MF-004

              × `retrys` is not a key of a policy
               ╭─[madang.toml:6:12]
             5 │ breaker = true
             6 │ policy = { retrys = 3, breaker = { failure = 3 } }
               ·            ───┬──
               ·               ╰── unknown key
             7 │ routes = [{ path = "/a", policy = { per_caller = 3 } }]
               ╰────
              help: did you mean `retries`? The keys of a policy are `timeout`, `attempt_timeout`, `connect_timeout`,
                    `idle_timeout`, `retries`, `backoff`, `retry_budget`, `parked`, `hedge`, `ejection`, `breaker`,
                    `concurrency`, `priority`, `fallback`, `faults`, `per_caller`
            MDG-MF-004

              × `failure` is not a key of `breaker`
               ╭─[madang.toml:6:36]
             5 │ breaker = true
             6 │ policy = { retrys = 3, breaker = { failure = 3 } }
               ·                                    ───┬───
               ·                                       ╰── unknown key
             7 │ routes = [{ path = "/a", policy = { per_caller = 3 } }]
               ╰────
              help: did you mean `failures`? The keys of `breaker` are `failures`, `failure_rate`, `slow`, `slow_rate`,
                    `window`, `minimum`, `open`, `cap`, `probes`
            MDG-MF-004

              × `per_caller` is not a key of the policy of a route
               ╭─[madang.toml:7:37]
             6 │ policy = { retrys = 3, breaker = { failure = 3 } }
             7 │ routes = [{ path = "/a", policy = { per_caller = 3 } }]
               ·                                     ─────┬────
               ·                                          ╰── unknown key
               ╰────
              help: write `concurrency`: given for a route or a call, it is that one's own
        "#]],
    );
}

#[test]
fn values_that_mean_nothing() {
    refused(
        "[policy]\nretries = 11\npriority = \"high\"\nhedge = \"p100\"\nhedge_ = \"\"\nconcurrency = \"adaptative\"\nbreaker = \"on\"\nper_caller = 0\n[policy.ejection]\nsuccess_rate = 101\nfailures = 0\n",
        expect![[r#"
            MDG-MF-009

              × `retries` cannot be 11
               ╭─[madang.toml:2:11]
             1 │ [policy]
             2 │ retries = 11
               ·           ─┬
               ·            ╰── not within 0 and 10
             3 │ priority = "high"
               ╰────
              help: write a whole number from 0 to 10
            MDG-MF-009

              × `priority` cannot be "high"
               ╭─[madang.toml:3:12]
             2 │ retries = 11
             3 │ priority = "high"
               ·            ───┬──
               ·               ╰── not one of its values
             4 │ hedge = "p100"
               ╰────
              help: `priority` takes "critical" or "normal" or "best-effort"
            MDG-MF-009

              × `hedge` cannot be "p100"
               ╭─[madang.toml:4:9]
             3 │ priority = "high"
             4 │ hedge = "p100"
               ·         ───┬──
               ·            ╰── neither a duration nor a percentile
             5 │ hedge_ = ""
               ╰────
              help: write how long the first attempt is given, such as "50ms", or the share of recent calls that took
                    less, from "p50" to "p99"
            MDG-MF-004

              × `hedge_` is not a key of a policy
               ╭─[madang.toml:5:1]
             4 │ hedge = "p100"
             5 │ hedge_ = ""
               · ───┬──
               ·    ╰── unknown key
             6 │ concurrency = "adaptative"
               ╰────
              help: did you mean `hedge`? The keys of a policy are `timeout`, `attempt_timeout`, `connect_timeout`,
                    `idle_timeout`, `retries`, `backoff`, `retry_budget`, `parked`, `hedge`, `ejection`, `breaker`,
                    `concurrency`, `priority`, `fallback`, `faults`, `per_caller`
            MDG-MF-009

              × `concurrency` cannot be "adaptative"
               ╭─[madang.toml:6:15]
             5 │ hedge_ = ""
             6 │ concurrency = "adaptative"
               ·               ──────┬─────
               ·                     ╰── not one of its values
             7 │ breaker = "on"
               ╰────
              help: did you mean "adaptive"? `concurrency` takes "adaptive"
            MDG-MF-006

              × `breaker` takes `false` or `true` or a table
               ╭─[madang.toml:7:11]
             6 │ concurrency = "adaptative"
             7 │ breaker = "on"
               ·           ──┬─
               ·             ╰── this is a text
             8 │ per_caller = 0
               ╰────
              help: `breaker`: When a service as a whole is not called for a while. Given for a route or a call, the
                    state is that route's or caller's own. Default false
            MDG-MF-009

              × `per_caller` cannot be 0
               ╭─[madang.toml:8:14]
             7 │ breaker = "on"
             8 │ per_caller = 0
               ·              ┬
               ·              ╰── not within 1 and 100000
             9 │ [policy.ejection]
               ╰────
              help: write a whole number from 1 to 100000
            MDG-MF-009

              × `success_rate` cannot be 101
                ╭─[madang.toml:10:16]
              9 │ [policy.ejection]
             10 │ success_rate = 101
                ·                ─┬─
                ·                 ╰── not within 1 and 100
             11 │ failures = 0
                ╰────
              help: write a whole number from 1 to 100
            MDG-MF-009

              × `failures` cannot be 0
                ╭─[madang.toml:11:12]
             10 │ success_rate = 101
             11 │ failures = 0
                ·            ┬
                ·            ╰── not within 1 and 100000
                ╰────
              help: write a whole number from 1 to 100000
        "#]],
    );
}

#[test]
fn an_attempt_longer_than_the_call() {
    refused_call(
        "timeout = \"3s\", attempt_timeout = \"4s\"",
        "",
        expect![[r#"
        MDG-MF-033

          × `attempt_timeout` is more than `timeout`: "4s" and "3s"
           ╭─[madang.toml:7:51]
         6 │ run = "a"
         7 │ calls = { b = { timeout = "3s", attempt_timeout = "4s" } }
           ·                           ──┬─                    ──┬─
           ·                             │                       ╰── does not fit the other
           ·                             ╰── the other
           ╰────
          help: change one of them
    "#]],
    );
    refused_call(
        "attempt_timeout = \"16s\"",
        "",
        expect![[r#"
        MDG-MF-033

          × `attempt_timeout` is more than `timeout`: "16s" and "15s"
           ╭─[madang.toml:7:35]
         6 │ run = "a"
         7 │ calls = { b = { attempt_timeout = "16s" } }
           ·                                   ──┬──
           ·                                     ╰── does not fit the other
           ╰────
          help: `timeout` is not given and has its default: give it too, or change this
    "#]],
    );
    refused_call(
        "attempt_timeout = \"4s\"",
        "timeout = \"3s\"",
        expect![[r#"
        MDG-MF-033

          × `attempt_timeout` is more than `timeout`: "4s" and "3s"
           ╭─[madang.toml:2:11]
         1 │ [policy]
         2 │ timeout = "3s"
           ·           ──┬─
           ·             ╰── the other
         3 │ [services.b]
           ╰────
           ╭─[madang.toml:7:35]
         6 │ run = "a"
         7 │ calls = { b = { attempt_timeout = "4s" } }
           ·                                   ──┬─
           ·                                     ╰── does not fit the other
           ╰────
          help: change one of them
    "#]],
    );
}

#[test]
fn bounds_the_wrong_way_round() {
    refused_call(
        "backoff = { cap = \"10ms\" }, breaker = { open = \"2m\" }, concurrency = { limit = \"adaptive\", least = 5 }",
        "ejection = { base = \"2s\", cap = \"1s\" }\nper_caller = { limit = \"adaptive\", most = 4 }",
        expect![[r#"
            MDG-MF-033

              × `ejection.base` is more than `ejection.cap`: "2s" and "1s"
               ╭─[madang.toml:2:33]
             1 │ [policy]
             2 │ ejection = { base = "2s", cap = "1s" }
               ·                     ──┬─        ──┬─
               ·                       │           ╰── does not fit the other
               ·                       ╰── the other
             3 │ per_caller = { limit = "adaptive", most = 4 }
               ╰────
              help: change one of them
            MDG-MF-033

              × `backoff.base` is more than `backoff.cap`: "25ms" and "10ms"
               ╭─[madang.toml:8:35]
             7 │ run = "a"
             8 │ calls = { b = { backoff = { cap = "10ms" }, breaker = { open = "2m" }, concurrency = { limit = "adaptive", least = 5 } } }
               ·                                   ───┬──
               ·                                      ╰── does not fit the other
               ╰────
              help: `backoff.base` is not given and has its default: give it too, or change this
            MDG-MF-033

              × `breaker.open` is more than `breaker.cap`: "2m" and "1m"
               ╭─[madang.toml:8:64]
             7 │ run = "a"
             8 │ calls = { b = { backoff = { cap = "10ms" }, breaker = { open = "2m" }, concurrency = { limit = "adaptive", least = 5 } } }
               ·                                                                ──┬─
               ·                                                                  ╰── does not fit the other
               ╰────
              help: `breaker.cap` is not given and has its default: give it too, or change this
            MDG-MF-033

              × `concurrency.least` is more than `per_caller.most`: 5 and 4
               ╭─[madang.toml:3:43]
             2 │ ejection = { base = "2s", cap = "1s" }
             3 │ per_caller = { limit = "adaptive", most = 4 }
               ·                                           ┬
               ·                                           ╰── the other
             4 │ [services.b]
               ╰────
               ╭─[madang.toml:8:116]
             7 │ run = "a"
             8 │ calls = { b = { backoff = { cap = "10ms" }, breaker = { open = "2m" }, concurrency = { limit = "adaptive", least = 5 } } }
               ·                                                                                                                    ┬
               ·                                                                                                                    ╰── does not fit the other
               ╰────
              help: change one of them
        "#]],
    );
}

#[test]
fn halves_of_a_rule() {
    refused_call(
        "breaker = { slow_rate = 50 }, concurrency = { queue = 3 }",
        "ejection = { slow = \"1s\" }\nconcurrency = { limit = 5, least = 2 }",
        expect![[r#"
            MDG-MF-033

              × `ejection.slow` has no `ejection.slow_rate`
               ╭─[madang.toml:2:21]
             1 │ [policy]
             2 │ ejection = { slow = "1s" }
               ·                     ──┬─
               ·                       ╰── nobody is judged by it
             3 │ concurrency = { limit = 5, least = 2 }
               ╰────
              help: say how many may be slow, in percent: slow_rate = 50
            MDG-MF-033

              × `concurrency.least` is said of a limit that never changes
               ╭─[madang.toml:3:36]
             2 │ ejection = { slow = "1s" }
             3 │ concurrency = { limit = 5, least = 2 }
               ·                         ┬          ┬
               ·                         │          ╰── a bound of an adaptive limit
               ·                         ╰── this limit is fixed
             4 │ [services.b]
               ╰────
              help: write limit = "adaptive", or remove the bound
            MDG-MF-033

              × `breaker.slow_rate` has no `breaker.slow`
               ╭─[madang.toml:8:41]
             7 │ run = "a"
             8 │ calls = { b = { breaker = { slow_rate = 50 }, concurrency = { queue = 3 } } }
               ·                                         ─┬
               ·                                          ╰── how slow is slow?
               ╰────
              help: say from when on an answer is slow: slow = "500ms"
            MDG-MF-033

              × `concurrency.queue` is said of no limit
               ╭─[madang.toml:8:71]
             7 │ run = "a"
             8 │ calls = { b = { breaker = { slow_rate = 50 }, concurrency = { queue = 3 } } }
               ·                                                                       ┬
               ·                                                                       ╰── of which limit?
               ╰────
              help: add `limit`, a number or "adaptive"
        "#]],
    );
}

#[test]
fn more_out_of_use_than_can_be() {
    refused_call(
        "ejection = { at_most = 70 }",
        "",
        expect![[r#"
        MDG-MF-033

          × `ejection.at_most` is 70, but once more than 50 of 100 are out of use all are used again
           ╭─[madang.toml:7:40]
         6 │ run = "a"
         7 │ calls = { b = { ejection = { at_most = 70 } } }
           ·                                        ─┬
           ·                                         ╰── does not fit the other
           ╰────
          help: `ejection.panic` is not given and has its default: give it too, or change this
    "#]],
    );
}

#[test]
fn fallbacks_and_faults_of_no_form_or_of_two() {
    refused_call(
        "fallback = { last_good = \"5m\", status = 200 }, faults = [{ on = \"POST /a\" }, { hang = true, delay = \"1s\" }]",
        "fallback = {}",
        expect![[r#"
            MDG-MF-007

              × a fallback needs one of its forms
               ╭─[madang.toml:2:12]
             1 │ [policy]
             2 │ fallback = {}
               ·            ─┬
               ·             ╰── of no form
             3 │ [services.b]
               ╰────
              help: add one of `body`, `json`, `last_good`
            MDG-MF-033

              × a fallback cannot have both `last_good` and `status`
               ╭─[madang.toml:7:48]
             6 │ run = "a"
             7 │ calls = { b = { fallback = { last_good = "5m", status = 200 }, faults = [{ on = "POST /a" }, { hang = true, delay = "1s" }] } }
               ·                              ────┬────         ───┬──
               ·                                  │                ╰── means nothing beside `last_good`
               ·                                  ╰── this one decides
               ╰────
              help: beside `last_good` there can be: nothing
            MDG-MF-007

              × a fault needs one of its forms
               ╭─[madang.toml:7:74]
             6 │ run = "a"
             7 │ calls = { b = { fallback = { last_good = "5m", status = 200 }, faults = [{ on = "POST /a" }, { hang = true, delay = "1s" }] } }
               ·                                                                          ─────────┬────────
               ·                                                                                   ╰── of no form
               ╰────
              help: add one of `delay`, `status`, `hang`, `lose_reply`, `kill`
            MDG-MF-033

              × a fault cannot have both `hang` and `delay`
               ╭─[madang.toml:7:109]
             6 │ run = "a"
             7 │ calls = { b = { fallback = { last_good = "5m", status = 200 }, faults = [{ on = "POST /a" }, { hang = true, delay = "1s" }] } }
               ·                                                                                                ──┬─         ──┬──
               ·                                                                                                  │            ╰── means nothing beside `hang`
               ·                                                                                                  ╰── this one decides
               ╰────
              help: beside `hang` there can be: `on`, `percent`
        "#]],
    );
    refused_call(
        "fallback = { json = '{ items: [] }' }, faults = [{ on = \"PSOT /a\", hang = true }, { on = \"a/b\", hang = false }]",
        "fallback = { body = \"\", content_type = \"html\" }",
        expect![[r#"
            MDG-MF-009

              × `content_type` cannot be "html"
               ╭─[madang.toml:2:40]
             1 │ [policy]
             2 │ fallback = { body = "", content_type = "html" }
               ·                                        ───┬──
               ·                                           ╰── it is not a media type
             3 │ [services.b]
               ╰────
              help: write one such as "text/html; charset=utf-8"
            MDG-MF-009

              × `json` cannot be "{ items: [] }"
               ╭─[madang.toml:7:37]
             6 │ run = "a"
             7 │ calls = { b = { fallback = { json = '{ items: [] }' }, faults = [{ on = "PSOT /a", hang = true }, { on = "a/b", hang = false }] } }
               ·                                     ───────┬───────
               ·                                            ╰── it is not JSON: key must be a string at line 1 column 3
               ╰────
              help: write a JSON document as a text, in single quotes: json = '{ "items": [] }'
            MDG-MF-013

              × `on` cannot be "PSOT /a"
               ╭─[madang.toml:7:73]
             6 │ run = "a"
             7 │ calls = { b = { fallback = { json = '{ items: [] }' }, faults = [{ on = "PSOT /a", hang = true }, { on = "a/b", hang = false }] } }
               ·                                                                         ────┬────
               ·                                                                             ╰── it is not a method that a route can be for
               ╰────
              help: write "POST"
            MDG-MF-012

              × `on` cannot be "a/b"
               ╭─[madang.toml:7:106]
             6 │ run = "a"
             7 │ calls = { b = { fallback = { json = '{ items: [] }' }, faults = [{ on = "PSOT /a", hang = true }, { on = "a/b", hang = false }] } }
               ·                                                                                                          ──┬──
               ·                                                                                                            ╰── a path starts with `/`
               ╰────
              help: write "/a/b"
            MDG-MF-006

              × `hang` takes `true`
               ╭─[madang.toml:7:120]
             6 │ run = "a"
             7 │ calls = { b = { fallback = { json = '{ items: [] }' }, faults = [{ on = "PSOT /a", hang = true }, { on = "a/b", hang = false }] } }
               ·                                                                                                                        ──┬──
               ·                                                                                                                          ╰── this is `false`
               ╰────
              help: `hang`: Nothing is ever answered, and the service hears nothing
        "#]],
    );
}

#[test]
fn a_call_of_itself() {
    refused(
        "[services.a]\nrun = \"a\"\ncalls = [\"a\"]\n",
        expect![[r#"
        MDG-MF-034

          × "a" declares calls to itself
           ╭─[madang.toml:3:10]
         2 │ run = "a"
         3 │ calls = ["a"]
           ·          ─┬─
           ·           ╰── the same service
           ╰────
          help: remove it: what a service needs of itself it has in its own process, and other instances of it share
                its database
    "#]],
    );
}

#[test]
fn a_kill_of_what_runs_elsewhere() {
    refused(
        "[services.m]\nurl = \"https://mail.example\"\n[services.a]\nrun = \"a\"\ncalls.m.faults = [{ kill = true }]\n",
        expect![[r#"
            MDG-MF-031

              × "m" runs elsewhere and cannot be killed
               ╭─[madang.toml:5:21]
             4 │ run = "a"
             5 │ calls.m.faults = [{ kill = true }]
               ·                     ──┬─
               ·                       ╰── nothing to kill here
               ╰────
              help: write `hang = true` or `lose_reply = true`, which look the same to its callers
        "#]],
    );
}

/// The policy of all calls is told once, however many calls there are.
#[test]
fn one_line_is_wrong_once() {
    refused(
        "policy = { backoff = { cap = \"1ms\" } }\n[services.a]\nrun = \"a\"\ncalls = [\"b\", \"c\"]\nroutes = [\"/a\"]\n[services.b]\nrun = \"b\"\n[services.c]\nrun = \"c\"\n",
        expect![[r#"
            MDG-MF-033

              × `backoff.base` is more than `backoff.cap`: "25ms" and "1ms"
               ╭─[madang.toml:1:30]
             1 │ policy = { backoff = { cap = "1ms" } }
               ·                              ──┬──
               ·                                ╰── does not fit the other
             2 │ [services.a]
               ╰────
              help: `backoff.base` is not given and has its default: give it too, or change this
        "#]],
    );
}
