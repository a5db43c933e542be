//! Delegations (TUF specification 4.5), which list the roles that a targets role trusts, and the paths for which it
//! trusts them.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::canonical;
use crate::key::{read_keyids, read_keys, read_threshold, write_keyids, write_keys};
use crate::path_pattern::hash_of;
use crate::reader::Reader;
use crate::{
    Error, ErrorKind, HashPrefix, Key, KeyId, KeyRing, PathPattern, RoleName, SuccinctRoles, TargetPath, Threshold,
    Unknown,
};

/// The delegations of one targets role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegations {
    /// The keys of the delegated roles, by the IDs under which the targets role lists them.
    pub keys: BTreeMap<KeyId, Key>,
    /// The delegated roles.
    pub roles: DelegatedRoles,
    /// Members that this crate does not know. They are preserved when the metadata is written.
    pub unknown: Unknown,
}

/// The delegated roles of one targets role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DelegatedRoles {
    /// A list of roles in order of priority (TUF specification 4.5). Each name occurs once.
    Listed(Vec<Delegation>),
    /// Succinct hash bins (TAP 15).
    Succinct(SuccinctRoles),
}

/// Describes the names that [`RoleName::delegated`] accepts, for error messages.
const NAME: &str = "a name that is neither empty nor the name of a top-level role";

/// A delegation to one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The delegated role.
    pub name: RoleName,
    /// The IDs of the keys that sign for the role.
    pub keyids: Vec<KeyId>,
    /// The number of distinct keys that must sign.
    pub threshold: Threshold,
    /// Whether the delegation is terminating. If a terminating delegation covers a path, the search for this path ends
    /// after the delegated role and its descendants.
    pub terminating: bool,
    /// The target paths for which the role is trusted.
    pub paths: Paths,
    /// Members that this crate does not know. They are preserved when the metadata is written.
    pub unknown: Unknown,
}

/// The target paths for which a delegated role is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paths {
    /// The paths that match at least one of these patterns.
    Patterns(Vec<PathPattern>),
    /// The paths whose SHA-256 begins with one of these prefixes.
    HashPrefixes(Vec<HashPrefix>),
}

impl Paths {
    /// Returns whether the delegated role is trusted for `path`. If the list of patterns or prefixes is empty, the role
    /// is not trusted for any path.
    #[must_use]
    pub fn cover(&self, path: &TargetPath) -> bool {
        self.cover_hashed(path, &hash_of(path))
    }

    /// Like [`Paths::cover`], but takes the hash of the path, so that callers with many delegations compute the hash
    /// only once.
    pub(super) fn cover_hashed(&self, path: &TargetPath, hash: &[u8; 32]) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(path)),
            Self::HashPrefixes(prefixes) => prefixes.iter().any(|prefix| prefix.begins(hash)),
        }
    }
}

impl Delegations {
    /// Creates delegations that have neither keys nor roles.
    #[must_use]
    pub fn new() -> Self {
        Self { keys: BTreeMap::new(), roles: DelegatedRoles::Listed(Vec::new()), unknown: Unknown::new() }
    }

    /// Returns the keys and the threshold of the delegated role `role`. `delegator` must be the role that contains
    /// these delegations; errors name this role.
    ///
    /// # Errors
    /// [`ErrorKind::NotDelegated`] if there is no delegation to `role`.
    pub fn key_ring(&self, delegator: &RoleName, role: &RoleName) -> Result<KeyRing, Error> {
        let found = match &self.roles {
            DelegatedRoles::Listed(roles) => {
                roles.iter().find(|delegation| delegation.name == *role).map(|found| (&found.keyids, found.threshold))
            }
            DelegatedRoles::Succinct(bins) => bins.contains(role).then_some((&bins.keyids, bins.threshold)),
        };
        let (keyids, threshold) = found.ok_or_else(|| ErrorKind::NotDelegated(delegator.clone()).of(role))?;
        Ok(self.ring(keyids, threshold))
    }

    /// Returns whether `role` is a hash bin, that is, a role that is trusted for the paths whose hashes begin with
    /// certain digits (TAP 15 or `path_hash_prefixes`).
    #[must_use]
    pub fn is_bin(&self, role: &RoleName) -> bool {
        match &self.roles {
            DelegatedRoles::Listed(roles) => roles
                .iter()
                .any(|delegation| delegation.name == *role && matches!(delegation.paths, Paths::HashPrefixes(_))),
            DelegatedRoles::Succinct(bins) => bins.contains(role),
        }
    }

    /// Returns the delegated roles that are trusted for `path`, in order of priority. The `bool` says whether the
    /// delegation to the role is terminating.
    #[must_use]
    pub fn covering(&self, path: &TargetPath) -> Vec<(RoleName, bool)> {
        self.rings_covering(path).map(|(role, _, terminating)| (role, terminating)).collect()
    }

    /// Like [`Delegations::covering`], but also returns the key ring of each role. The iterator is lazy, because there
    /// may be many thousands of roles.
    pub(crate) fn rings_covering(&self, path: &TargetPath) -> impl Iterator<Item = (RoleName, KeyRing, bool)> {
        let hash = hash_of(path);
        let (listed, bins) = self.listed_or_bins();
        let mut rings = Rings::of(self);
        let covering = listed
            .iter()
            // Spec 2.1.2: a role is trusted only for the paths that a delegation to it covers.
            .filter(move |delegation| delegation.paths.cover_hashed(path, &hash))
            .map(move |found| (found.name.clone(), rings.ring(&found.keyids, found.threshold), found.terminating));
        // TAP 15, POUF A20: succinct roles are never terminating.
        covering.chain(bins.map(|bins| (bins.role_for(path), self.ring(&bins.keyids, bins.threshold), false)))
    }

    /// Returns the hash bin of `path`: the first role that is trusted for `path` because of a hash prefix.
    #[must_use]
    pub fn bin_for(&self, path: &TargetPath) -> Option<RoleName> {
        let hash = hash_of(path);
        match &self.roles {
            DelegatedRoles::Succinct(bins) => Some(bins.role_for(path)),
            DelegatedRoles::Listed(roles) => {
                let is_bin = |paths: &Paths| matches!(paths, Paths::HashPrefixes(_)) && paths.cover_hashed(path, &hash);
                roles.iter().find(|role| is_bin(&role.paths)).map(|role| role.name.clone())
            }
        }
    }

    /// Returns all delegated roles in order of priority, each with its key ring. The iterator is lazy.
    pub fn rings(&self) -> impl Iterator<Item = (RoleName, KeyRing)> {
        let (listed, bins) = self.listed_or_bins();
        let mut rings = Rings::of(self);
        let listed = listed.iter().map(move |found| (found.name.clone(), rings.ring(&found.keyids, found.threshold)));
        let bins = bins.into_iter().flat_map(|bins| {
            let ring = self.ring(&bins.keyids, bins.threshold);
            bins.names().map(move |name| (name, ring.clone()))
        });
        listed.chain(bins)
    }

    pub(super) fn ring(&self, keyids: &[KeyId], threshold: Threshold) -> KeyRing {
        KeyRing::new(&self.keys, keyids, threshold)
    }

    pub(super) fn listed_or_bins(&self) -> (&[Delegation], Option<&SuccinctRoles>) {
        match &self.roles {
            DelegatedRoles::Listed(roles) => (roles, None),
            DelegatedRoles::Succinct(bins) => (&[], Some(bins)),
        }
    }

    /// Returns the names of all delegated roles, in order of priority.
    #[must_use]
    pub fn names(&self) -> Vec<RoleName> {
        match &self.roles {
            DelegatedRoles::Listed(roles) => roles.iter().map(|delegation| delegation.name.clone()).collect(),
            DelegatedRoles::Succinct(bins) => bins.names().collect(),
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, ErrorKind> {
        let mut keys = None;
        let mut listed = None;
        let mut succinct = None;
        let mut unknown = Unknown::new();
        reader.object(|name, value| {
            match name {
                "keys" => keys = Some(read_keys(value)?),
                "roles" => listed = Some(read_roles(value)?),
                "succinct_roles" => succinct = Some(SuccinctRoles::read(value)?),
                _ => value.keep(name, &mut unknown)?,
            }
            Ok(())
        })?;
        let roles = match (listed, succinct) {
            (Some(listed), None) => DelegatedRoles::Listed(listed),
            (None, Some(succinct)) => DelegatedRoles::Succinct(succinct),
            _ => return Err(ErrorKind::expected("exactly one of `roles` and `succinct_roles`")),
        };
        let keys = keys.ok_or_else(|| ErrorKind::missing("keys"))?;
        Ok(Self { keys, roles, unknown })
    }

    pub(crate) fn write(&self) -> String {
        let roles = match &self.roles {
            DelegatedRoles::Listed(roles) => ("roles", canonical::array(roles.iter().map(Delegation::write))),
            DelegatedRoles::Succinct(bins) => ("succinct_roles", bins.write()),
        };
        canonical::object([("keys", write_keys(&self.keys)), roles], &self.unknown)
    }
}

/// Creates the key rings of delegations. Adjacent delegations with the same keys and threshold share one key ring,
/// because many delegations often use the same few keys.
pub(super) struct Rings<'d> {
    delegations: &'d Delegations,
    last: Option<(&'d [KeyId], KeyRing)>,
}

impl<'d> Rings<'d> {
    pub(super) fn of(delegations: &'d Delegations) -> Self {
        Self { delegations, last: None }
    }

    pub(super) fn ring(&mut self, keyids: &'d [KeyId], threshold: Threshold) -> KeyRing {
        if let Some((last, ring)) = &self.last
            && *last == keyids
            && ring.threshold() == threshold
        {
            return ring.clone();
        }
        let ring = self.delegations.ring(keyids, threshold);
        self.last = Some((keyids, ring.clone()));
        ring
    }
}

impl Default for Delegations {
    fn default() -> Self {
        Self::new()
    }
}

impl Delegation {
    /// Reads a delegation. `like` contains the key IDs of the previous delegation, so that equal IDs can share memory.
    fn read(reader: &mut Reader<'_>, like: &[KeyId]) -> Result<Self, ErrorKind> {
        let mut name = None;
        let mut keyids = None;
        let mut threshold = None;
        let mut patterns = None;
        let mut prefixes = None;
        let mut terminating = false;
        let mut unknown = Unknown::new();
        reader.object(|member, value| {
            match member {
                "name" => {
                    let text = value.string()?;
                    let role = RoleName::delegated(&text);
                    name = Some(role.map_err(|_| ErrorKind::expected(NAME).but_found_text(&text))?);
                }
                "keyids" => keyids = Some(read_keyids(value, like)?),
                "threshold" => threshold = Some(read_threshold(value)?),
                // Spec 4.5: `terminating` is a boolean. A delegation without it is not terminating.
                "terminating" => terminating = value.boolean()?,
                "paths" => patterns = Some(read_list(value, |text| Ok(PathPattern::new(text)))?),
                "path_hash_prefixes" => prefixes = Some(read_list(value, HashPrefix::new)?),
                _ => value.keep(member, &mut unknown)?,
            }
            Ok(())
        })?;
        let paths = match (patterns, prefixes) {
            (Some(patterns), None) => Paths::Patterns(patterns),
            (None, Some(prefixes)) => Paths::HashPrefixes(prefixes),
            // Spec 4.5: a delegation has either paths or hash prefixes.
            (Some(_), Some(_)) => {
                return Err(ErrorKind::expected("at most one of `paths` and `path_hash_prefixes`"));
            }
            // Spec 4.5: a delegation without paths covers nothing.
            (None, None) => Paths::Patterns(Vec::new()),
        };
        let name = name.ok_or_else(|| ErrorKind::missing("name"))?;
        let keyids = keyids.ok_or_else(|| ErrorKind::missing("keyids"))?;
        let threshold = threshold.ok_or_else(|| ErrorKind::missing("threshold"))?;
        Ok(Self { name, keyids, threshold, terminating, paths, unknown })
    }

    fn write(&self) -> String {
        let paths = match &self.paths {
            Paths::Patterns(patterns) => {
                ("paths", canonical::array(patterns.iter().map(|pattern| canonical::string(pattern.as_str()))))
            }
            Paths::HashPrefixes(prefixes) => {
                let prefixes = prefixes.iter().map(|prefix| canonical::string(&prefix.to_string()));
                ("path_hash_prefixes", canonical::array(prefixes))
            }
        };
        let members = [
            ("name", canonical::string(self.name.as_str())),
            ("keyids", write_keyids(&self.keyids)),
            ("threshold", self.threshold.to_string()),
            ("terminating", self.terminating.to_string()),
            paths,
        ];
        canonical::object(members, &self.unknown)
    }
}

fn read_roles(reader: &mut Reader<'_>) -> Result<Vec<Delegation>, ErrorKind> {
    let mut roles: Vec<Delegation> = Vec::new();
    reader.array(|value| {
        let like = roles.last().map_or(&[][..], |before| &before.keyids);
        roles.push(Delegation::read(value, like)?);
        Ok(())
    })?;
    // Spec 4.5: each name may occur only once, because the position of a role defines its priority. Sort the names only
    // if necessary, because the names of bins are usually already sorted.
    let mut names: Vec<&RoleName> = roles.iter().map(|delegation| &delegation.name).collect();
    if !names.is_sorted() {
        names.sort_unstable();
    }
    match names.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[_]>::first) {
        Some(name) => Err(ErrorKind::expected("no duplicate role names").but_found_text(name.as_str())),
        None => Ok(roles),
    }
}

fn read_list<T>(reader: &mut Reader<'_>, read: impl Fn(&str) -> Result<T, ErrorKind>) -> Result<Vec<T>, ErrorKind> {
    let mut list = Vec::new();
    reader.array(|value| {
        list.push(read(&value.string()?)?);
        Ok(())
    })?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use lastmile_keys::{PrivateKey, Scheme, Signer};

    use super::*;
    use crate::limits::Budget;
    use crate::{Limit, Router, hash_start};

    fn delegation(name: &str, paths: Paths, keyid: &str) -> Delegation {
        let keyids = alloc::vec![KeyId::new(keyid)];
        let name = RoleName::delegated(name).unwrap();
        Delegation { name, keyids, threshold: Threshold::ONE, terminating: true, paths, unknown: Unknown::new() }
    }

    fn nothing(name: &str) -> Delegation {
        delegation(name, Paths::Patterns(Vec::new()), "k")
    }

    #[test]
    fn f_4_5_5_a_duplicate_name_is_refused_at_any_position() {
        for (names, is_read) in [("ab", true), ("ba", true), ("aa", false), ("aba", false), ("bab", false)] {
            let listed = names.chars().map(|name| nothing(&name.to_string())).collect();
            let text = Delegations { roles: DelegatedRoles::Listed(listed), ..Delegations::new() }.write();
            assert_eq!(Delegations::read(&mut Reader::new(&text)).is_ok(), is_read, "{names}");
        }
    }

    #[test]
    fn f_4_5_key_ids_shared_by_adjacent_delegations_are_not_mixed_up() {
        let ids = |text: &str| text.chars().map(|id| KeyId::new(id.to_string())).collect::<Vec<_>>();
        let with = |(at, text): (usize, &&str)| Delegation { keyids: ids(text), ..nothing(&at.to_string()) };
        let listed: Vec<_> = ["ab", "ba", "b", "", "abc", "ab", "aab"].iter().enumerate().map(with).collect();
        let written = Delegations { roles: DelegatedRoles::Listed(listed), ..Delegations::new() };
        assert_eq!(Delegations::read(&mut Reader::new(&written.write())).unwrap(), written);
    }

    #[test]
    fn f_4_5_10_and_f_4_5_12_covering_roles_are_returned_with_their_rings() {
        // The SHA-256 of `foo.txt` begins with ddab29ff.
        let prefixes = |prefix| Paths::HashPrefixes(alloc::vec![HashPrefix::new(prefix).unwrap()]);
        let patterns = |pattern: &str| Paths::Patterns(alloc::vec![PathPattern::new(pattern)]);
        let of_two = Delegation { threshold: Threshold::new(2).unwrap(), ..delegation("e", patterns("*.txt"), "k") };
        let listed = alloc::vec![
            delegation("a", prefixes("dda"), "k"),
            delegation("b", prefixes("ddb"), "kk"),
            delegation("c", patterns("*.txt"), "kk"),
            delegation("d", patterns("*.tgz"), "k"),
            of_two,
        ];
        let key = |id: &str| {
            let key = PrivateKey::from_seed(Scheme::Ed25519, &[id.len() as u8; 32]).unwrap();
            (KeyId::new(id), Key::from_public(key.public_key()))
        };
        let bins = SuccinctRoles::new(alloc::vec![KeyId::new("k")], Threshold::ONE, 4, "bin").unwrap();
        let path = TargetPath::new("foo.txt").unwrap();
        let covers: Vec<bool> = listed.iter().map(|delegation| delegation.paths.cover(&path)).collect();
        assert_eq!(covers, [true, false, true, false, true]);
        for (roles, covering) in [
            (DelegatedRoles::Listed(listed), alloc::vec![("a", true), ("c", true), ("e", true)]),
            (DelegatedRoles::Succinct(bins), alloc::vec![("bin-d", false)]),
        ] {
            let keys = BTreeMap::from(["k", "kk"].map(key));
            let delegations = Delegations { keys, roles, unknown: Unknown::new() };
            let found = delegations.covering(&path);
            assert_eq!(found.iter().map(|(role, end)| (role.as_str(), *end)).collect::<Vec<_>>(), covering);
            let ring = |role: &RoleName| delegations.key_ring(&RoleName::TARGETS, role).unwrap().fingerprint();
            assert!(delegations.rings_covering(&path).all(|(role, found, _)| found.fingerprint() == ring(&role)));
            assert!(delegations.rings().all(|(role, found)| found.fingerprint() == ring(&role)));
            let router = Router::of(&delegations);
            let by_hash = router.bin(hash_start(path.as_str())).and_then(|bin| router.name(bin));
            assert_eq!(by_hash, delegations.bin_for(&path));
            let mut unlimited = Budget::new(Limit::ListSteps, u64::MAX);
            let along = delegations.rings_by(&router, &path, 9, &mut unlimited).unwrap().into_iter();
            let along: Vec<_> = along.map(|(role, ring, end)| (role, ring.fingerprint(), end)).collect();
            let by_looking = delegations.rings_covering(&path).map(|(role, ring, end)| (role, ring.fingerprint(), end));
            assert_eq!(along, by_looking.collect::<Vec<_>>());
            assert_eq!(delegations.rings().map(|(role, _)| role).collect::<Vec<_>>(), delegations.names());
        }
    }
}
