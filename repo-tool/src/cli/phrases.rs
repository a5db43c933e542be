//! Pass-phrases: from a file, the environment or a prompt, never from the command line.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use lastmile_cli_support::{AskSecret, World};
use lastmile_keys::Zeroizing;

use crate::Error;
use crate::files::layout;
use crate::key_store::PassPhrases;

/// How often a person may mistype.
const ATTEMPTS: u32 = 3;
const VARIABLE: &str = "LASTMILE_PASS_PHRASE";

type Phrase = Zeroizing<Vec<u8>>;

pub(super) struct Phrases {
    file: Option<PathBuf>,
    /// What the environment says.
    variable: Option<Phrase>,
    /// Asks a person, if there is one.
    ask: Option<AskSecret>,
    /// What was typed last: most keys of a person have one pass-phrase.
    typed: Mutex<Option<Phrase>>,
}

impl Phrases {
    /// Takes the means of `world` to ask a person.
    pub(super) fn new(file: Option<PathBuf>, world: &mut World) -> Self {
        let variable = (world.env)(VARIABLE).map(|phrase| Zeroizing::new(phrase.into_vec()));
        let ask = world.stdin_is_terminal.then(|| world.take_ask_secret());
        Self { file, variable, ask, typed: Mutex::new(None) }
    }

    /// A pass-phrase that needs no person.
    fn given(&self) -> Result<Option<Phrase>, Error> {
        if let Some(path) = &self.file {
            let bytes = layout::read_if_there(path)?
                .ok_or_else(|| Error::Absent(format!("the pass-phrase file {} is not there", path.display())))?;
            let bytes = Zeroizing::new(bytes);
            let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
            return Ok(Some(Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())));
        }
        Ok(self.variable.clone())
    }

    fn prompt(&self, question: &str) -> Result<Phrase, Error> {
        let Some(ask) = &self.ask else {
            return Err(Error::Usage(format!(
                "{question}: no terminal to ask; use --pass-phrase-file FILE or the environment variable \
                 {VARIABLE}"
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
        // One question at a time, also when several keys are opened at once.
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(phrase) = typed.as_ref().filter(|_| attempt == 0) {
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
                if self.prompt("The same again")? != phrase {
                    return Err(Error::Usage("the two pass-phrases differ".into()));
                }
                *self.typed.lock().unwrap_or_else(PoisonError::into_inner) = Some(phrase.clone());
                phrase
            }
        };
        if phrase.is_empty() {
            return Err(Error::Usage(
                "an empty pass-phrase protects nothing; --help shows how to leave keys unencrypted on purpose".into(),
            ));
        }
        Ok(phrase)
    }
}
