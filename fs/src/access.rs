//! Checks which users other than the owner can change or read a file. The checks apply to all files that affect trust:
//! shipped roots, settings, the state of clients, configurations and private keys.

use std::io;
use std::os::fd::AsFd;

use rustix::fs;
use rustix::process;

/// The owner, the group and the permissions of an open file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    owner: u32,
    group: u32,
    mode: u32,
}

/// The reason why a file is not safe to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exposure {
    /// The file belongs neither to the user who runs this process nor to root.
    #[error("it belongs to user {owner}, but the current user is {user}")]
    Owner {
        /// The ID of the user who owns the file.
        owner: u32,
        /// The ID of the user who runs this process.
        user: u32,
    },
    /// Other users can change the file.
    #[error("other users can change it (mode {mode:o})")]
    Writable {
        /// The permissions of the file.
        mode: u32,
    },
    /// The file is a secret, and other users can read or change it.
    #[error("it is a secret that other users can read or change (mode {mode:o})")]
    Readable {
        /// The permissions of the file.
        mode: u32,
    },
}

impl Exposure {
    /// Returns a hint on how to make the file safe to use. The hint does not end in a full stop. `path` is the file's
    /// path as shown to the user.
    #[must_use]
    pub fn remedy(&self, path: &str) -> String {
        match self {
            Exposure::Owner { user, .. } => format!("check its content, then run `chown {user} {path}` as root"),
            Exposure::Writable { .. } => format!("check its content, then run `chmod go-w {path}`"),
            Exposure::Readable { .. } => {
                format!("run `chmod go-rwx {path}`; for a secret mounted by Kubernetes, set `defaultMode: 0400`")
            }
        }
    }
}

impl Access {
    /// Reads the owner, group and permissions of an open file or folder.
    ///
    /// # Errors
    ///
    /// Any I/O error.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let found = fs::fstat(file)?;
        Ok(Self { owner: found.st_uid, group: found.st_gid, mode: found.st_mode & 0o7777 })
    }

    /// Returns whether the file belongs to the user who runs this process.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.owner == process::geteuid().as_raw()
    }

    /// Checks that only root and the user who runs this process can change the file.
    ///
    /// # Errors
    ///
    /// [`Exposure::Owner`] or [`Exposure::Writable`].
    pub fn ensure_unwritable(&self) -> Result<(), Exposure> {
        if !self.is_own() && self.owner != 0 {
            return Err(Exposure::Owner { owner: self.owner, user: process::geteuid().as_raw() });
        }
        self.ensure_only_owner_writes()
    }

    /// Like [`Access::ensure_unwritable`], but also accepts files of other users if root runs this process, because
    /// root may run it on behalf of these users.
    ///
    /// # Errors
    ///
    /// The same errors as [`Access::ensure_unwritable`].
    pub fn ensure_unwritable_or_root(&self) -> Result<(), Exposure> {
        if process::geteuid().is_root() { self.ensure_only_owner_writes() } else { self.ensure_unwritable() }
    }

    /// Checks that only the owner, or the owner's private group, can change the file.
    fn ensure_only_owner_writes(&self) -> Result<(), Exposure> {
        let others = if self.has_private_group() { 0o002 } else { 0o022 };
        match self.mode & others {
            0 => Ok(()),
            _ => Err(Exposure::Writable { mode: self.mode }),
        }
    }

    /// Checks that only the owner can read or change the file, which contains a secret. The group may also have access
    /// if it is the owner's private group, or if the current user is a member of the group. For example, a key that
    /// belongs to root may be readable by the group of a service, or a group of maintainers may share a key.
    ///
    /// # Errors
    ///
    /// [`Exposure::Readable`].
    pub fn ensure_secret(&self) -> Result<(), Exposure> {
        let others = if self.has_private_group() || is_member(self.group) { 0o006 } else { 0o066 };
        match self.mode & others {
            0 => Ok(()),
            _ => Err(Exposure::Readable { mode: self.mode }),
        }
    }

    /// Returns whether the file's group is probably the owner's private group. On systems that create a private group
    /// for each person, the group has the same ID as the user and no other members, and the umask is 002.
    ///
    /// A group whose ID is lower than [`FIRST_PERSON`] counts as shared: on many systems, all users are members of the
    /// group `users` (100), and administrators add users to the groups of services. This function does not read the
    /// user database, so it does not notice if an administrator has added users to a private group.
    fn has_private_group(&self) -> bool {
        self.group == self.owner && self.owner >= FIRST_PERSON
    }
}

/// The lowest ID that systems with private groups assign to a person. Lower IDs belong to the system and to services.
const FIRST_PERSON: u32 = 1000;

fn is_member(group: u32) -> bool {
    let groups = process::getgroups().unwrap_or_default();
    process::getegid().as_raw() == group || groups.iter().any(|own| own.as_raw() == group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(owner: u32, group: u32, mode: u32) -> Access {
        Access { owner, group, mode }
    }

    #[test]
    fn only_the_user_and_root_may_change_trusted_files() {
        let user = process::geteuid().as_raw();
        // The ID of a group that may have other members, because it differs from the owner's ID.
        let shared = user + 7;
        for (found, mode, is_safe) in [
            ((user, shared), 0o644, true),
            ((user, shared), 0o660, false),
            ((user, user), 0o664, user >= 1000),
            ((user, user), 0o666, false),
            ((0, shared), 0o644, true),
            ((0, shared), 0o664, false),
            ((0, 0), 0o664, false),
        ] {
            let checked = access(found.0, found.1, mode).ensure_unwritable();
            let expected = if is_safe { Ok(()) } else { Err(Exposure::Writable { mode }) };
            assert_eq!(checked, expected, "{found:?} {mode:o}");
        }
        let of_another = access(user + 1, user + 1, 0o600);
        let refused = Err(Exposure::Owner { owner: user + 1, user });
        assert_eq!(of_another.ensure_unwritable(), refused);
        assert_eq!(of_another.ensure_unwritable_or_root(), if user == 0 { Ok(()) } else { refused });
        assert!(access(user + 1, user + 1, 0o602).ensure_unwritable_or_root().is_err());
    }

    #[test]
    fn a_group_with_the_id_of_its_owner_is_private_only_if_the_owner_is_a_person() {
        for (owner, is_safe) in [(1000, true), (60_000, true), (999, false), (100, false), (0, false)] {
            let checked = access(owner, owner, 0o664).ensure_only_owner_writes();
            assert_eq!(checked.is_ok(), is_safe, "{owner}");
        }
        let foreign = (101..1000).find(|group| !is_member(*group)).unwrap();
        assert!(access(foreign, foreign, 0o640).ensure_secret().is_err());
        let private = (1000..).find(|group| !is_member(*group)).unwrap();
        assert!(access(private, private, 0o640).ensure_secret().is_ok());
    }

    #[test]
    fn only_the_user_and_their_groups_may_read_a_secret() {
        let user = process::geteuid().as_raw();
        let own = process::getegid().as_raw();
        let foreign = (1..).find(|group| !is_member(*group) && *group != user).unwrap();
        for (found, mode, is_safe) in [
            ((user, own), 0o600, true),
            ((user, own), 0o640, true),
            ((user, own), 0o644, false),
            ((user, foreign), 0o600, true),
            ((user, foreign), 0o640, false),
            ((0, own), 0o440, true),
            ((0, foreign), 0o440, false),
            ((0, own), 0o444, false),
            ((user + 1, own), 0o640, true),
            ((user + 1, own), 0o642, false),
        ] {
            let checked = access(found.0, found.1, mode).ensure_secret();
            let expected = if is_safe { Ok(()) } else { Err(Exposure::Readable { mode }) };
            assert_eq!(checked, expected, "{found:?} {mode:o}");
        }
    }

    #[test]
    fn every_exposure_has_a_remedy() {
        let path = "k.pem";
        let remedies = [
            (Exposure::Owner { owner: 5, user: 7 }, "chown 7 k.pem"),
            (Exposure::Writable { mode: 0o666 }, "chmod go-w k.pem"),
            (Exposure::Readable { mode: 0o644 }, "chmod go-rwx k.pem"),
        ];
        for (exposure, command) in remedies {
            assert!(exposure.remedy(path).contains(&format!("`{command}`")), "{}", exposure.remedy(path));
        }
    }
}
