//! The binary against an admin API that says what each test needs: what is asked, what is shown, how it exits.

mod check;
mod describe;
mod down;
mod env;
mod events;
mod export;
mod fake;
mod fault;
mod key;
mod logs;
mod map;
mod open;
mod policy;
mod ps;
mod restart;
mod routes;
mod secret;
mod stop;
mod systems;
mod top;
mod trace;
mod traces;
mod up;
mod usage;
mod wait;
mod why;
