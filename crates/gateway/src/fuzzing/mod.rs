//! What must hold for whatever comes, as functions that take bytes and panic where it does not hold.
//!
//! The targets of the workspace `fuzz` call them with what a fuzzer makes up, the tests here with what is kept of that.
//! `path` is about the one form of paths, `token` about who is let in, `expression` about what the manifest has services
//! asked, and `wire` about a whole connection, with a service that reads what reaches it by `strict`, a parser of its own.

mod expression;
mod path;
#[cfg_attr(not(test), allow(dead_code))] // tests read whole connections, too
pub(crate) mod strict;
mod token;
mod wire;

pub use expression::expression;
pub use path::path;
pub use token::token;
pub use wire::wire;

/// Reads a manifest, which is there for as long as it is read.
fn system(manifest: &str) -> madang_model::System {
    let name = format!("madang-fuzzing-{}-{:?}", std::process::id(), std::thread::current().id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    std::fs::write(folder.join("madang.toml"), manifest).expect("the temporary folder can be written");
    let loaded = madang_model::manifest::load(&folder, &|_| None);
    let _ = std::fs::remove_dir_all(&folder);
    loaded.expect("the manifest is right").system
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Whatever is kept of one target, whether it was made up by a person or was found to break something.
    fn replay(target: &str, holds: fn(&[u8])) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let mut count = 0;
        for entry in std::fs::read_dir(&root).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            // So that a panic is seen with what caused it.
            println!("{}", path.display());
            holds(&bytes);
            count += 1;
        }
        assert!(count > 0, "there is nothing in {}", root.display());
    }

    #[test]
    fn paths() {
        replay("path", super::path);
    }

    #[test]
    fn tokens() {
        replay("token", super::token);
    }

    #[test]
    fn expressions() {
        replay("expression", super::expression);
    }

    #[test]
    fn connections() {
        replay("wire", super::wire);
    }
}
