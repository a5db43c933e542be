//! Formats the commands that messages propose, so that a user can paste them into a POSIX shell.

use lastmile_client::text::printable;

pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) && !word.starts_with('-') {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns names from metadata as the last arguments of a command. If a name begins with a dash, the arguments begin
/// with `--`, so that no program takes the name for an option.
pub(crate) fn arguments<N: ToString>(names: impl IntoIterator<Item = N>) -> String {
    let mut words: Vec<String> = names.into_iter().map(|name| quoted(&printable(&name.to_string()))).collect();
    if words.iter().any(|word| word.starts_with("'-")) {
        words.insert(0, "--".to_string());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_neither_a_shell_command_nor_an_option() {
        assert_eq!(arguments(["team", "x;touch y;echo"]), "team 'x;touch y;echo'");
        assert_eq!(arguments(["--skip-served-check", "team"]), "-- '--skip-served-check' team");
        assert_eq!(arguments(["it's $(id)\u{1b}"]), r"'it'\''s $(id)\u{1b}'");
    }
}
