//! Global options that some commands do not use. These commands refuse the options, and do not list them in their help.

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

/// The names of commands, each with the IDs of the global options that the command and its subcommands do not use.
pub type Unused<'a> = [(&'a str, &'a [&'a str])];

/// Hides global options in the help and the manual pages of the commands that do not use them.
#[must_use]
pub fn hide_unused(program: Command, unused: &Unused<'_>) -> Command {
    unused.iter().fold(program, |program, (command, ids)| {
        let options = program.get_arguments().filter(|option| ids.contains(&option.get_id().as_str()));
        // A command's own option replaces the global option with the same ID. So a hidden copy of the option hides the
        // global option for this command.
        let hidden: Vec<_> = options.map(|option| option.clone().hide(true)).collect();
        program.mut_subcommand(command, |command| command.args(hidden))
    })
}

/// Refuses a global option that was given to a command that does not use it.
///
/// # Errors
/// A usage error that names the option and the command.
pub fn refuse_unused(program: &mut Command, matches: &ArgMatches, unused: &Unused<'_>) -> Result<(), clap::Error> {
    let Some((name, of_command)) = matches.subcommand() else { return Ok(()) };
    let ids = unused.iter().filter(|(command, _)| *command == name).flat_map(|(_, ids)| ids.iter());
    let is_given = |id: &str| {
        let source = of_command.try_contains_id(id).is_ok_and(|is_known| is_known).then(|| of_command.value_source(id));
        source.flatten() == Some(clap::parser::ValueSource::CommandLine)
    };
    let given = ids.copied().find(|id| is_given(id));
    let Some(given) = given else { return Ok(()) };
    let long = program.get_arguments().find(|option| option.get_id() == given).and_then(|option| option.get_long());
    let option = long.map_or_else(|| given.to_owned(), |long| format!("--{long}"));
    let problem = format!("'{option}' cannot be used with the command '{name}'");
    Err(program.error(ErrorKind::ArgumentConflict, problem))
}

/// Returns the commands and options that have no description in the help, as `COMMAND` and `COMMAND: OPTION`. Only
/// tests use this function.
#[must_use]
pub fn undescribed(command: &Command) -> Vec<String> {
    let name = command.get_name();
    let options = command.get_arguments().filter(|option| option.get_help().is_none() && !option.is_hide_set());
    let mut found: Vec<String> = options.map(|option| format!("{name}: {}", option.get_id())).collect();
    for command in command.get_subcommands() {
        if command.get_about().is_none() {
            found.push(command.get_name().to_owned());
        }
        found.extend(undescribed(command));
    }
    found
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    const UNUSED: &Unused<'_> = &[("trust", &["proxy", "loud"])];

    fn program() -> Command {
        let option = |name: &'static str| Arg::new(name).long(name).global(true).help("Helps");
        let program = Command::new("program").arg(option("proxy")).arg(option("loud").action(ArgAction::SetTrue));
        let trust = Command::new("trust").about("Trusts").subcommand(Command::new("add").about("Adds"));
        hide_unused(program.subcommand(trust).subcommand(Command::new("get")), UNUSED)
    }

    fn parsed(args: &[&str]) -> Result<ArgMatches, clap::Error> {
        let mut program = program();
        let matches = program.try_get_matches_from_mut([&["program"], args].concat())?;
        refuse_unused(&mut program, &matches, UNUSED)?;
        Ok(matches)
    }

    #[test]
    fn an_unused_option_is_refused_at_any_position() {
        for args in [
            &["trust", "--proxy", "x"][..],
            &["trust", "add", "--proxy", "x"],
            &["--proxy", "x", "trust", "add"],
            &["trust", "add", "--loud"],
        ] {
            let error = parsed(args).unwrap_err();
            assert!(error.to_string().contains("' cannot be used with the command 'trust'"), "{args:?}: {error}");
        }
        assert!(parsed(&["trust", "add"]).is_ok());
        for args in [&["get", "--proxy", "x"][..], &["--proxy", "x", "get"]] {
            let matches = parsed(args).unwrap();
            assert_eq!(matches.get_one::<String>("proxy").map(String::as_str), Some("x"));
        }
    }

    #[test]
    fn an_unused_option_is_hidden() {
        let mut program = program();
        let help = |program: &mut Command, path: &[&str]| {
            program.try_get_matches_from_mut([&["program"], path, &["--help"]].concat()).unwrap_err().to_string()
        };
        assert!(help(&mut program, &["get"]).contains("--proxy"));
        for path in [&["trust"][..], &["trust", "add"]] {
            let help = help(&mut program, path);
            assert!(!help.contains("--proxy") && !help.contains("--loud"), "{help}");
        }
        assert_eq!(undescribed(&program), ["get"]);
    }
}
