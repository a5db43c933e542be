//! Reads pass-phrases from a file, the environment or a prompt, never from the command line.

use std::io::{self, BufRead, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lastmile_cli_support::{AskSecret, World};
use lastmile_client::text::printable_path;
use lastmile_keys::Zeroizing;

use crate::Error;
use crate::files::links::{self, Links};
use crate::pass_phrases::PassPhrases;

/// The number of additional attempts after a wrong pass-phrase.
const ATTEMPTS: u32 = 3;
pub(super) const STDIN: &str = "-";
/// The maximum length of a pass-phrase file, in bytes.
const MAX_LENGTH: u64 = 1 << 20;
const VARIABLE: &str = "LASTMILE_PASS_PHRASE";

type Phrase = Zeroizing<Vec<u8>>;

pub(super) struct Phrases {
    file: Option<PathBuf>,
    /// Standard input, or an empty reader if the pass-phrase is not read from standard input.
    stdin: Mutex<Box<dyn BufRead + Send>>,
    /// The pass-phrase from the file. The file may be a pipe, so it is read only once.
    read: Mutex<Option<Phrase>>,
    variable: Option<Phrase>,
    /// `None` if there is no terminal.
    ask: Option<AskSecret>,
    /// The pass-phrase that was typed last. It is tried for the next key, because most people use the same pass-phrase
    /// for all keys.
    typed: Mutex<Option<Phrase>>,
}

impl Phrases {
    pub(super) fn new(file: Option<PathBuf>, world: &mut World) -> Self {
        let variable = (world.env)(VARIABLE).map(|phrase| Zeroizing::new(phrase.into_vec()));
        let ask = world.stdin_is_terminal.then(|| world.take_ask_secret());
        let is_stdin = file.as_deref() == Some(Path::new(STDIN));
        let stdin = if is_stdin { world.take_stdin() } else { Box::new(io::empty()) };
        Self { file, stdin: Mutex::new(stdin), read: Mutex::default(), variable, ask, typed: Mutex::new(None) }
    }

    /// The file has priority over the environment.
    fn given(&self) -> Result<Option<Phrase>, Error> {
        let Some(path) = &self.file else { return Ok(self.variable.clone()) };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.is_none() {
            *read = Some(self.read_file(path)?);
        }
        Ok(read.clone())
    }

    /// Reads only the first line. The path `-` means standard input.
    fn read_file(&self, path: &Path) -> Result<Phrase, Error> {
        let bytes = if path == Path::new(STDIN) {
            let mut line = Vec::new();
            let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
            let read = stdin.by_ref().take(MAX_LENGTH).read_until(b'\n', &mut line);
            read.map_err(|error| Error::file("read", Path::new("standard input"), error))?;
            Zeroizing::new(line)
        } else {
            links::read_secret(path, Links::Follow, MAX_LENGTH)?
                .ok_or_else(|| Error::Absent(format!("the pass-phrase file {} does not exist", printable_path(path))))?
        };
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let phrase = line.strip_suffix(b"\r").unwrap_or(line);
        if phrase.is_empty() {
            let empty = io::Error::new(io::ErrorKind::InvalidData, "its first line is empty");
            return Err(Error::file("read the pass-phrase in", path, empty));
        }
        Ok(Zeroizing::new(phrase.to_vec()))
    }

    fn prompt(&self, question: &str) -> Result<Phrase, Error> {
        let Some(ask) = &self.ask else {
            return Err(Error::Usage(format!(
                "{question}: there is no terminal; use --pass-phrase-file FILE or the environment variable {VARIABLE}"
            )));
        };
        let typed = ask(&format!("{question}: "));
        let typed = typed.map_err(|error| Error::Usage(format!("cannot read a pass-phrase: {error}")))?;
        Ok(Zeroizing::new(typed.into_bytes()))
    }
}

impl PassPhrases for Phrases {
    fn pass_phrase(&self, key: &str, attempt: u32) -> Result<Phrase, Error> {
        let wrong = || Error::key(key, lastmile_keys::PemError::WrongPassPhrase);
        if let Some(phrase) = self.given()? {
            return if attempt == 0 { Ok(phrase) } else { Err(wrong()) };
        }
        // Ask one question at a time, even if several keys are opened in parallel.
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if attempt == 0
            && let Some(phrase) = typed.as_ref()
        {
            return Ok(phrase.clone());
        }
        if attempt > ATTEMPTS {
            return Err(wrong());
        }
        let phrase = self.prompt(&format!("Pass-phrase of {key}"))?;
        *typed = Some(phrase.clone());
        Ok(phrase)
    }

    fn new_pass_phrase(&self) -> Result<Phrase, Error> {
        let phrase = match self.given()? {
            Some(phrase) => phrase,
            None => {
                let phrase = self.prompt("Pass-phrase for the new keys")?;
                if self.prompt("Repeat the pass-phrase")? != phrase {
                    return Err(Error::Usage("the two pass-phrases differ".into()));
                }
                *self.typed.lock().unwrap_or_else(PoisonError::into_inner) = Some(phrase.clone());
                phrase
            }
        };
        if phrase.is_empty() {
            return Err(Error::Usage(
                "the pass-phrase is empty; to leave keys unencrypted, see the options in --help".into(),
            ));
        }
        Ok(phrase)
    }
}
