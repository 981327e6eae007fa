//! A command as the manifest has it, and how it is run.
//!
//! The rule: plain words are split at white space and run directly; a command with anything in it that a shell
//! would treat specially (quotes, pipes, variables, patterns, `NAME=value` in front …) is given to `sh -c` as
//! it is. A program with a `/` in it is a path from the unit's folder, any other is looked up in `PATH`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// Characters that mean something to a shell.
const SPECIAL: &[char] = &[
    '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', ']', '{', '}', '#', '~',
    '!', '\n', '\r',
];

/// The words of a command that needs no shell.
pub(crate) fn plain_words(command: &str) -> Option<Vec<&str>> {
    if command.contains(SPECIAL) {
        return None;
    }
    let words: Vec<&str> = command.split_whitespace().collect();
    let assigns = words.first().is_none_or(|first| first.contains('='));
    (!assigns).then_some(words)
}

/// The file that a command runs, if it names one by a path.
pub(crate) fn program_file(command: &str, folder: &Path) -> Option<PathBuf> {
    let words = plain_words(command)?;
    let program = words.first()?;
    program.contains('/').then(|| folder.join(program))
}

/// The process to be: the command, in its folder.
pub(crate) fn command(text: &str, folder: &Path) -> Command {
    let mut command = match plain_words(text).as_deref() {
        Some([program, arguments @ ..]) => {
            let mut command = match program_file(text, folder) {
                Some(file) => Command::new(file),
                None => Command::new(program),
            };
            command.args(arguments);
            command
        }
        _ => {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(text);
            shell
        }
    };
    command.current_dir(folder);
    command
}

/// Takes out of the environment what is meant for this process and no other: its own `PORT`, and whatever a
/// node above this one said of it. `names` are those of the environment that it would inherit.
pub(crate) fn without_ours(command: &mut Command, names: impl Iterator<Item = OsString>) {
    for name in names.filter(|name| name == "PORT" || name.as_encoded_bytes().starts_with(b"MADANG_")) {
        command.env_remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(text: &str) -> Vec<String> {
        let command = command(text, Path::new("/shop/users"));
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn plain_words_run_directly() {
        assert_eq!(argv("node users.js  --port 3001"), ["node", "users.js", "--port", "3001"]);
        assert_eq!(argv("../target/release/users serve"), ["/shop/users/../target/release/users", "serve"]);
        assert_eq!(argv("/usr/bin/users"), ["/usr/bin/users"]);
    }

    #[test]
    fn what_a_shell_would_treat_specially_is_given_to_one() {
        for text in ["node 'a b.js'", "a | b", "A=1 node a.js", "echo $HOME", "cd x && ./y", "rm *.tmp"] {
            assert_eq!(argv(text), ["/bin/sh", "-c", text]);
        }
    }

    #[test]
    fn what_is_meant_for_the_node_alone_is_not_passed_on() {
        let mut command = command("true", Path::new("/"));
        let names = ["PATH", "PORT", "MADANG_TOKEN", "EXPORT", "MADANG"].map(OsString::from);
        without_ours(&mut command, names.into_iter());
        let removed: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_str().unwrap(), value)).collect();
        assert_eq!(removed, [("MADANG_TOKEN", None), ("PORT", None)]);
    }
}
