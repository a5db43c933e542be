//! Starts an SSH server for the tests, with its own keys and its own configuration.
//!
//! `cargo xtask setup` installs the server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::child::{Running, start, text};
use super::site::succeed;

/// sshd must be started with its absolute path.
const SSHD: &str = "/usr/sbin/sshd";

/// A running SSH server, and the configuration of a user who can log in.
pub(crate) struct Server {
    running: Running,
    folder: PathBuf,
}

impl Server {
    /// Starts a server with its files in `folder`, which must not exist. `settings` are lines at the end of its
    /// configuration.
    pub(crate) fn new(folder: &Path, settings: &str) -> Server {
        fs::create_dir(folder).unwrap();
        // If root starts the server, this folder must exist.
        drop(fs::create_dir("/run/sshd"));
        for key in ["host", "user"] {
            succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(key)));
        }
        fs::copy(folder.join("user.pub"), folder.join("authorized")).unwrap();
        let printed = folder.join("printed");
        let command = |[port]: [u16; 1]| {
            let place = folder.display();
            let config = format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {place}/host\nAuthorizedKeysFile {place}/authorized\n\
                 StrictModes no\nPidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nMaxStartups 100\nSubsystem sftp internal-sftp\n{settings}\n"
            );
            fs::write(folder.join("sshd_config"), config).unwrap();
            let mut command = Command::new(SSHD);
            command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
            command
        };
        let (running, [port]) = start(&printed, command, || text(&printed).contains("Server listening on"));
        let key = fs::read_to_string(folder.join("host.pub")).unwrap();
        fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {key}")).unwrap();
        let server = Server { running, folder: folder.to_path_buf() };
        let place = folder.display();
        let user = succeed(Command::new("id").arg("-un"));
        let config = format!(
            "Host www\nHostName 127.0.0.1\nPort {port}\nUser {}\nIdentityFile {place}/user\nIdentitiesOnly yes\n\
             IdentityAgent none\nUserKnownHostsFile {place}/known_hosts\nGlobalKnownHostsFile /dev/null\n\
             UpdateHostKeys no\n",
            String::from_utf8(user.stdout).unwrap().trim()
        );
        fs::write(folder.join("ssh_config"), config).unwrap();
        fs::write(server.program(), format!("#!/bin/sh\nexec ssh -F {place}/ssh_config \"$@\"\n")).unwrap();
        fs::set_permissions(server.program(), fs::Permissions::from_mode(0o755)).unwrap();
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the path of a program that runs `ssh` with the user's configuration.
    pub(crate) fn program(&self) -> PathBuf {
        self.path("ssh")
    }

    pub(crate) fn id(&self) -> u32 {
        self.running.id()
    }
}
