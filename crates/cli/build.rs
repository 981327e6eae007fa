//! How the program is linked: smaller, where the linker is the one that this is known of.

use std::{env, process::Command};

/// Since this one glibc relocates what is packed.
const RELOCATES_PACKED: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if is_own_linker() && glibc().is_some_and(|version| version >= RELOCATES_PACKED) {
        // What is relocated at the start is told in 20 kB instead of 1.6 MB, all of which is read then.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether it is the linker that the compiler brings along for this machine: nobody asked for another.
fn is_own_linker() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let another = env::var_os("RUSTC_LINKER").is_some() || flags.contains("link");
    is("TARGET", "x86_64-unknown-linux-gnu") && is("HOST", "x86_64-unknown-linux-gnu") && !another
}

/// The version of the C library here.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
