//! `lastmile completions` and `lastmile man`: generate shell completions and manual pages from the command-line
//! definition.

use clap::Command;
use clap_complete::Shell;

use super::{App, ExitStatus, Failure, scope};

impl App<'_> {
    pub(super) fn completions(&self, shell: Shell) -> Result<ExitStatus, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut scope::command(), "lastmile", &mut script);
        self.output.raw(&script)?;
        Ok(ExitStatus::Done)
    }

    pub(super) fn manual(&self, command: &[String]) -> Result<ExitStatus, Failure> {
        let mut all = scope::command();
        all.build();
        let mut found = &all;
        for name in command {
            found = found
                .find_subcommand(name)
                .ok_or_else(|| Failure::usage(format!("there is no command `{}`", command.join(" "))))?;
        }
        let title = found.get_bin_name().unwrap_or("lastmile").replace(' ', "-");
        let page: Command = found.clone().name(title).version(env!("CARGO_PKG_VERSION"));
        let mut manual = Vec::new();
        clap_mangen::Man::new(page)
            .render(&mut manual)
            .map_err(|error| Failure::failed(format!("cannot write the manual page: {error}")))?;
        self.output.raw(&manual)?;
        Ok(ExitStatus::Done)
    }
}
