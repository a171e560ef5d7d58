//! The command `glip`: what the libraries `glip` and `glip_tools` do, from a terminal.

mod evaluate;
mod ground;
mod label;
mod model;
mod output;
mod pictures;
mod remedies;
mod signals;

use std::process::{ExitCode, exit};

use clap::{CommandFactory, Parser, Subcommand};
use glip_tools::{Error, Result, causes, say};
use output::Outcome;

/// Says what is in pictures, in your own words: grounds, measures and labels with GLIP models.
///
/// A model is a folder that `python -m glip_torch.export` makes of a checkpoint; without --model, it is
/// glip-nano, which is in this program and finds COCO's 80 kinds of things in photographs.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "`glip COMMAND --help` explains a command and shows examples.",
    after_long_help = EXIT_CODES
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  everything was done
  1  it was done, but some inputs could not be used; they are named on the standard error
  2  the command line makes no sense
  3  it could not be done; the reason is on the standard error
  130, 143  Ctrl-C or SIGINT, or SIGTERM, stopped it: `label --out` and `evaluate` go on if they are given again
  141  nobody reads the standard output any more, as after `| head`

Examples:
  glip ground photo.jpg \"person . dog . bicycle\" --draw boxes.png
  glip evaluate coco val.json --images val --model models/glip-t --out results
  glip label photos --category person --model models/glip-t --out labels --format coco,yolo
  glip completions bash > ~/.local/share/bash-completion/completions/glip";

#[derive(Subcommand)]
enum Command {
    Ground(Box<ground::Ground>),
    Evaluate(evaluate::Evaluate),
    Label(Box<label::Label>),
    Completions(Completions),
}

/// Prints a script that completes this command's arguments in a shell.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  glip completions bash > ~/.local/share/bash-completion/completions/glip
  glip completions zsh > ~/.zfunc/_glip
  glip completions fish > ~/.config/fish/completions/glip.fish")]
struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

impl Completions {
    fn run(self) -> Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "glip", &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(Outcome::Complete)
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Ground(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Label(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    match result {
        Ok(outcome) => outcome.into(),
        Err(Error::Stopped) => exit(signals::stopped()),
        // As a program that does not ask ends: silently, by SIGPIPE.
        Err(error) if output::has_no_reader(&error) => ExitCode::from(141),
        Err(error) => {
            report(&error);
            ExitCode::from(3)
        }
    }
}

/// Prints an error with what caused it.
fn report(error: &Error) {
    match remedies::in_options(error) {
        Some(message) => say(format_args!("error: {message}")),
        None => say(format_args!("error: {error}")),
    }
    for cause in causes(error) {
        say(format_args!("  because: {cause}"));
    }
}

#[cfg(test)]
mod tests {
    use glip_tools::label::LabelOptions;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_states_the_default_batch() {
        let mut command = Arguments::command();
        let label = command.find_subcommand_mut("label").unwrap();
        let help = label.render_long_help().to_string();
        let stated = format!("1 on a CPU, else {}]", LabelOptions::BATCH);
        assert!(help.contains(&stated), "{help}");
    }
}
