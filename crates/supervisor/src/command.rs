//! A command as the manifest has it, and how it is run.
//!
//! The rule: plain words are split at white space and run directly; a command with anything in it that a shell
//! would treat specially (quotes, pipes, variables, patterns, `NAME=value` in front …) is given to `sh -c` as
//! it is. A program with a `/` in it is a path from the unit's folder, any other is looked up in `PATH`.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::io::Errno;

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

/// Why a command that failed to start with this error cannot be run, unless the machine was at fault.
pub(crate) fn never_runs(text: &str, folder: &Path, error: &io::Error) -> Option<String> {
    let program = plain_words(text).and_then(|words| words.first().copied()).unwrap_or("/bin/sh");
    let file = program_file(text, folder);
    let why = match error.kind() {
        io::ErrorKind::NotFound if !folder.is_dir() => {
            return Some(format!("`{text}`: its folder {} does not exist", folder.display()));
        }
        io::ErrorKind::NotFound => match file {
            Some(file) if file.exists() => "the interpreter that it asks for does not exist",
            Some(_) => "no such program",
            None => "no such program in PATH",
        },
        io::ErrorKind::PermissionDenied => "it may not be executed",
        _ if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => "it is no program",
        _ => return None,
    };
    Some(format!("`{program}`: {why}"))
}

/// Why a command that exited with this code cannot be run, if it was given to a shell that says so by it.
pub(crate) fn never_ran(text: &str, code: i32) -> Option<&'static str> {
    match code {
        126 if plain_words(text).is_none() => Some("its shell may not execute what it names"),
        127 if plain_words(text).is_none() => Some("its shell found no such program"),
        _ => None,
    }
}

/// Takes out of the environment what is meant for this process and no other: its own `PORT`, whatever a node above this
/// one said of it, and which package it is of, if cargo runs it: build scripts that look at that would run again in each
/// build here, and all that stands on them. `names` are those of the environment that it would inherit.
pub(crate) fn without_ours(command: &mut Command, names: impl Iterator<Item = OsString>) {
    let ours = |name: &OsString| {
        let begins = |with: &&str| name.as_encoded_bytes().starts_with(with.as_bytes());
        name == "PORT" || ["MADANG_", "CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(begins)
    };
    for name in names.filter(ours) {
        command.env_remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

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
    fn says_why_a_command_cannot_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode| {
            std::fs::write(folder.path().join(name), text).unwrap();
            std::fs::set_permissions(folder.path().join(name), Permissions::from_mode(mode)).unwrap();
        };
        write("plain", "", 0o644);
        write("script", "#!/no/such/interpreter\n", 0o755);
        write("text", "some text", 0o755);
        for (text, folder, expected) in [
            ("./nope --serve", folder.path(), "`./nope`: no such program"),
            ("no-such-program", folder.path(), "`no-such-program`: no such program in PATH"),
            ("./script", folder.path(), "`./script`: the interpreter that it asks for does not exist"),
            ("./plain", folder.path(), "`./plain`: it may not be executed"),
            ("./text", folder.path(), "`./text`: it is no program"),
            ("sleep 1", Path::new("/no/such"), "`sleep 1`: its folder /no/such does not exist"),
        ] {
            let error = command(text, folder).spawn().unwrap_err();
            assert_eq!(never_runs(text, folder, &error).as_deref(), Some(expected));
        }
        let busy = io::Error::from(io::ErrorKind::WouldBlock);
        assert_eq!(never_runs("./nope", folder.path(), &busy), None, "that may pass");
    }

    #[test]
    fn only_a_shell_says_by_its_code_that_it_found_nothing() {
        for (text, code, says) in [
            ("A=1 nope", 127, true),
            ("cd x && ./plain", 126, true),
            ("A=1 nope", 1, false),
            ("./nope", 127, false),
        ] {
            assert_eq!(never_ran(text, code).is_some(), says, "{text} {code}");
        }
    }

    #[test]
    fn what_is_meant_for_the_node_alone_is_not_passed_on() {
        let mut command = command("true", Path::new("/"));
        let names = ["PATH", "PORT", "MADANG_TOKEN", "EXPORT", "MADANG", "CARGO_PKG_NAME", "CARGO_HOME"];
        let names = names.map(OsString::from);
        without_ours(&mut command, names.into_iter());
        let removed: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_str().unwrap(), value)).collect();
        assert_eq!(removed, [("CARGO_PKG_NAME", None), ("MADANG_TOKEN", None), ("PORT", None)]);
    }
}
