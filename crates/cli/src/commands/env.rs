//! `madang env`: a unit as a person runs it.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use madang_model::manifest::{Placeholder, placeholders};
use madang_node::secrets::{Keys, Secrets};
use madang_wire::admin::EnvironmentView;

use crate::{
    args::Env,
    client::Client,
    failure::Failure,
    output::Output,
    style::{Paint, Style},
};

/// Prints the environment of a unit for a shell, or becomes a command that has it.
pub async fn run(client: &Client, output: &Output, env: &Env) -> Result<(), Failure> {
    let mut view: EnvironmentView = client.get(&format!("/v1/units/{}/environment", env.name)).await?;
    if !view.by_hand {
        let head = Style::of(&std::io::stderr()).paint(Paint::Busy, "note:").into_owned();
        eprintln!(
            "{head} madang runs {} itself: what you start beside it gets no traffic, unless you start madang with \
             `madang up --except {}`",
            view.unit, view.unit
        );
    }
    fill_in(&mut view)?;
    match env.command.as_slice() {
        [program, arguments @ ..] => Err(become_it(&view, program, arguments)),
        [] if output.is_json() => output.json(&view),
        [] => output.text(&for_a_shell(&view)),
    }
}

/// Opens the secrets with the keys of whoever asks: the node tells none.
fn fill_in(view: &mut EnvironmentView) -> Result<(), Failure> {
    let Some(file) = view.secrets.take() else { return Ok(()) };
    let secrets = Secrets::at(Path::new(&file), Keys::of_process());
    let value = |placeholder: &Placeholder| match placeholder {
        Placeholder::Secret(name) => secrets.reveal(name).map_err(|error| error.to_string()),
        other => Err(format!("{other:?} is not a secret")),
    };
    for (name, text) in std::mem::take(&mut view.sealed) {
        let filled = placeholders(&text, value).map_err(anyhow::Error::from)?;
        view.variables.insert(name, filled);
    }
    Ok(())
}

/// Becomes the command; comes back only if that fails.
fn become_it(view: &EnvironmentView, program: &OsString, arguments: &[OsString]) -> Failure {
    // A program with a `/` in it is looked for in the folder that it runs in, as Madang does.
    let by_path = program.as_encoded_bytes().contains(&b'/');
    let file = if by_path { Path::new(&view.folder).join(program) } else { PathBuf::from(program) };
    let mut command = Command::new(file);
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name == "PORT" || name.as_encoded_bytes().starts_with(b"MADANG_")) {
        command.env_remove(name);
    }
    let error = command.args(arguments).envs(&view.variables).current_dir(&view.folder).exec();
    let what = format!("failed to run `{}` in {}", program.display(), view.folder);
    Failure::Failed(anyhow::Error::new(error).context(what))
}

/// Lines that any POSIX shell reads, and what it needs to know besides as comments.
fn for_a_shell(view: &EnvironmentView) -> String {
    let plain = |text: &str| text.replace(char::is_control, " ");
    let mut text = format!("# {}, in {}: {}\n", view.unit, plain(&view.folder), plain(&view.run));
    for (name, value) in &view.variables {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit()) {
            true => text.push_str(&format!("export {name}={}\n", quoted(value))),
            false => text.push_str(&format!(
                "# no shell sets {}, `madang env {} -- …` does\n",
                plain(name),
                view.unit
            )),
        }
    }
    text
}

/// In single quotes, in which nothing means anything but the quote itself.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_every_value() {
        let values = ["", "a b", "it's", "$HOME `id` \\ \"", "a\nb", "주문", "'"];
        for value in values {
            let script = format!("A={}; printf '%s.' \"$A\"", quoted(value));
            let read = Command::new("sh").arg("-c").arg(script).output().unwrap().stdout;
            assert_eq!(String::from_utf8(read).unwrap(), format!("{value}."));
        }
    }
}
