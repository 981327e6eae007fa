use axum::Router;
use expect_test::expect;

use crate::fake::{Fake, always};

#[tokio::test]
async fn what_does_not_run_is_said_with_the_way_to_start_it() {
    let fake = Fake::down();
    for command in ["ps", "down", "routes", "open", "logs", "describe users", "restart users"] {
        let ran = fake.run(command).await;
        assert_eq!((ran.code, &*ran.stdout), (4, ""), "{command}");
        assert_eq!(ran.stderr, "error: no system runs from this folder: start it with `madang up`\n");
    }
}

#[tokio::test]
async fn a_system_elsewhere_is_named_as_it_was_given() {
    let fake = Fake::down();
    std::fs::create_dir(fake.root().join("shop")).unwrap();
    for command in ["ps shop", "ps -C shop"] {
        let ran = fake.run(command).await;
        assert_eq!(ran.stderr, "error: no system runs from shop: start it with `madang up shop`\n");
    }
}

#[tokio::test]
async fn a_socket_that_a_killed_node_left_is_no_running_system() {
    let fake = Fake::down();
    fake.leave_socket();
    assert_eq!(fake.run("ps").await.code, 4);
}

#[tokio::test]
async fn a_node_that_does_not_know_the_question_is_another_failure() {
    Fake::up(Router::new())
        .check(
            "ps",
            expect![[r#"
        exit 1
        --- stderr
        error: the node answered 404 Not Found to /v1/instances
    "#]],
        )
        .await;
}

#[tokio::test]
async fn an_answer_of_another_shape_is_named() {
    let fake = Fake::up(Router::new().route("/v1/routes", always("what?")));
    fake.check("routes", expect![[r#"
        exit 1
        --- stderr
        error: the node's answer to /v1/routes was not understood: invalid type: string "what?", expected a sequence at line 1 column 7; is it of another version than this command?
    "#]]).await;
}

#[tokio::test]
async fn a_bad_command_line_is_refused_by_code_2() {
    let fake = Fake::down();
    for bad in
        ["", "fly", "logs Bad_Name", "logs --since yesterday", "wait --timeout 5", "check --schema --explain"]
    {
        assert_eq!(fake.run(bad).await.code, 2, "{bad}");
    }
}

#[tokio::test]
async fn help_says_what_there_is() {
    Fake::down()
        .check(
            "--help",
            expect![[r#"
                exit 0
                Runs a system of services, connects them and shows what they do

                Usage: madang [OPTIONS] <COMMAND>

                Commands:
                  up           Build and run the system until Ctrl-C, or in the background
                  down         Stop the system: every unit in reverse order of dependence, each with time to end its
                               work
                  ps           List the instances
                  logs         Show the logs of services, in the order of time
                  events       Show what happened to units and to the calls between services: releases, starts,
                               exits, breakers, faults, edits
                  traces       List the newest traces: the ways of requests through the system
                  trace        Show the way of one request: who called whom, how long it took, what went wrong
                  top          Show what each service does now: calls a second, failures, times, processor and
                               memory
                  map          Show which service calls which: how often, how well and how fast
                  export       Write files that Prometheus and Grafana take as they are
                  why          Tell why a request went as it did: who failed first or took the time, and what says
                               so
                  systems      List the systems that run on this machine, from whichever folder
                  describe     Show all that is known of a service
                  restart      Build a unit again and replace its instances, and wait until they are ready
                  stop         Stop a unit, and have it stay so until it is started or restarted, or the system is
                               stopped
                  start        Start a unit that was stopped, and wait until its instances are ready
                  token        Print a token by which a program that you start yourself joins a service
                  key          Make, list and revoke the API keys by which programs outside speak to the gateway,
                               and change the issuer's key
                  env          Print the environment in which to run a unit yourself, or run a command in it
                  wait         Wait until every unit is ready, also of a system that is yet to be started, or until
                               the system is gone
                  routes       List the routes of the gateway in the order of precedence
                  cache        Show or forget what the gateway keeps of answers
                  fault        Make calls fail on purpose, for a while
                  secret       Keep what programs are to know and nobody else, sealed in a file beside the manifest
                  check        Check the manifest and say what is wrong with it
                  policy       Show what holds for calls, and which line of the manifest says so
                  open         Open the dashboard in a browser, logged in; or print its URL where nothing can open
                               it
                  audit        List who asked the node for what that changes something
                  completions  Print the completions for a shell
                  help         Print this message or the help of the given subcommand(s)

                Options:
                  -C, --in <PATH>          A folder with a madang.toml, or a manifest file [default: this folder]
                      --env <NAME>         The environment: the files named after it are laid over the others
                                           [default: $MADANG_ENV]
                      --isolated[=<NAME>]  Not the system of the folder itself but one that runs isolated beside it:
                                           `up` starts one with ports and state of its own, which are gone with it;
                                           all else speaks to it, by name where there are several
                      --format <FORMAT>    How to answer: `table` for people, `json` for scripts; what follows is
                                           one JSON document a line. `map` also as `dot` or `mermaid` [default:
                                           table]
                  -h, --help               Print help
                  -V, --version            Print version

                Examples:
                  madang up                     run the system of the madang.toml in this folder
                  madang up shop -d             run the one in shop/ in the background
                  madang ps shop                see what runs
                  madang logs -f -C shop users  follow the log of one service
                  madang down shop              stop it
                  madang up shop --isolated     run it a second time, beside the first

                Exit codes:
                  0  done
                  1  failed; stderr says why
                  2  the command line was not understood
                  3  the manifest is refused
                  4  the system does not run
                  5  it took longer than --timeout
            "#]],
        )
        .await;
}

#[tokio::test]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Fake::down().run(&format!("completions {shell}")).await;
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("describe"), "{shell}");
    }
}
