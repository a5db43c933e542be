//! Signs with a key that the main thread cannot read. Only another thread, the agent, has the key. In a real program,
//! the agent would be a hardware token or a key service.
//!
//! ```console
//! $ cargo run -p lastmile-keys --features sign --example own_signer -- "signed text"
//! keytype   ed25519
//! scheme    ed25519
//! public    ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c
//! signature …
//! ```

#![expect(clippy::disallowed_methods, reason = "an example is a program and may read its arguments")]
#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use lastmile_keys::{PrivateKey, PublicKey, Scheme, SignError, Signer};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(message) = std::env::args().nth(1) else {
        return Err("usage: own_signer MESSAGE".into());
    };
    let signer = AgentKey::start()?;
    let key = signer.public_key();
    let signature = signer.sign(message.as_bytes())?;
    // A device may fail silently, so verify every signature before using it.
    if !key.verify(message.as_bytes(), &signature) {
        return Err("the agent returned an invalid signature".into());
    }
    println!("keytype   {}\nscheme    {}\npublic    {}", key.keytype(), key.scheme(), key.public());
    println!("signature {}", hex::encode(signature));
    Ok(())
}

/// A message to sign, and the channel on which the agent returns the signature.
type Request = (Vec<u8>, Sender<Result<Vec<u8>, SignError>>);

/// A handle to a key that the agent holds.
struct AgentKey {
    requests: Sender<Request>,
    public: PublicKey,
}

impl AgentKey {
    /// Starts the agent in a new thread, and receives its public key as text.
    fn start() -> Result<AgentKey, Box<dyn Error>> {
        let (requests, received) = channel();
        let (sender, public) = channel();
        thread::spawn(move || run_agent(&received, &sender));
        let public = PublicKey::from_tuf("ed25519", "ed25519", &public.recv()?)?;
        Ok(AgentKey { requests, public })
    }
}

impl Signer for AgentKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let (sender, signature) = channel();
        self.requests.send((message.to_vec(), sender)).map_err(SignError::failed)?;
        signature.recv().map_err(SignError::failed)?
    }
}

/// Runs the agent, the only code with access to the private key. A real agent would keep the key in hardware.
fn run_agent(requests: &Receiver<Request>, public: &Sender<String>) {
    let Ok(key) = PrivateKey::from_seed(Scheme::Ed25519, &[7; 32]) else { return };
    // Sending fails only if the main thread has ended, and then nobody needs the key.
    let _ = public.send(key.public_key().public());
    for (message, answer) in requests {
        let _ = answer.send(key.sign(&message));
    }
}
