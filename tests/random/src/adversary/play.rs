//! One history: an honest repository, an adversary and a client take turns, and what the client does is compared with
//! what the reference says.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lastmile_client::metadata::TargetPath;
use tokio::runtime::{Builder, Runtime};

use super::attacks::{Overlay, Thief};
use super::history::{Act, History, Step};
use super::honest::Honest;
use super::model::{Kept, Served, Trusted, Update};
use super::paper::{Key, PARTS, Paper, Part, Ring, Says, day};
use super::stage::{Client, trusted};

const PATHS: [&str; 4] = ["x", "a/1", "a/2", "b/1"];

/// All that takes part.
pub(crate) struct Play {
    honest: Honest,
    thief: Thief,
    /// What each mirror shows instead of the honest files.
    overlays: Vec<Overlay>,
    /// Every document by its bytes.
    known: BTreeMap<Bytes, Arc<Paper>>,
    client: Client,
    /// What the client must have kept, as the reference says.
    kept: Kept,
    /// What it came to trust last, and under which root.
    seen: Option<(u64, Versions)>,
    day: i32,
    skew: i32,
    dies: Option<u32>,
}

/// Of timestamp, snapshot, and all that the snapshot lists.
type Versions = BTreeMap<Part, u64>;

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
    /// Most histories begin with the same few repositories.
    static BEGINNINGS: RefCell<BTreeMap<u32, Honest>> = RefCell::default();
}

/// Plays it to its end.
///
/// # Errors
/// The first thing that is not as the reference says.
pub(crate) fn play(history: &History) -> Result<(), String> {
    let honest = BEGINNINGS.with_borrow_mut(|known| {
        if known.len() > 2_000 {
            known.clear();
        }
        known.entry(history.kind & 0x0fff_ffff).or_insert_with_key(|kind| Honest::new(*kind)).clone()
    });
    let mirrors = if history.kind >> 28 & 3 == 0 { 2 } else { 1 };
    let shipped = Arc::clone(&honest.now[&Part::Root]);
    let mut play = Play {
        thief: Thief::default(),
        overlays: vec![Overlay::new(); mirrors],
        known: BTreeMap::new(),
        client: Client::new(&shipped.bytes, mirrors, history.kind >> 30 & 1 == 0),
        kept: Kept::new(shipped),
        seen: None,
        day: 0,
        skew: 0,
        dies: None,
        honest,
    };
    play.learn();
    for (number, step) in history.steps.iter().enumerate() {
        play.step(*step).map_err(|problem| format!("step {number}, {step}: {problem}"))?;
    }
    play.finale().map_err(|problem| format!("at the end: {problem}"))
}

impl Play {
    fn step(&mut self, Step { act, by }: Step) -> Result<(), String> {
        self.honest.at(self.day);
        let pick = |parts: &[Part]| parts[by as usize % parts.len()];
        match act {
            Act::Publish => self.honest.publish(&[pick(&PARTS)], &BTreeSet::new()),
            Act::Renew => self.honest.renew(),
            Act::Rotate => self.honest.rotate(&[pick(&PARTS)], &BTreeSet::new(), None),
            Act::Revoke => self.honest.rotate(&[pick(&PARTS)], self.thief.keys(), None),
            Act::Threshold => {
                self.honest.rotate(&[pick(&PARTS)], &BTreeSet::new(), Some(by as usize / 8 % 3 + 1));
            }
            Act::Redelegate => self.honest.redelegate(by),
            Act::Steal => {
                // One key, or all of one role.
                let ring = &self.honest.rings[pick(&PARTS) as usize];
                let most = if by >> 8 & 3 == 0 { 1 } else { ring.keys.len() };
                self.thief.steal(ring.keys.iter().take(most).copied());
            }
            Act::Attack => self.thief.attack(&self.honest, &mut self.overlays, self.day, by),
            Act::Forge => self.thief.forge_one(&self.honest, &mut self.overlays, self.day, by),
            Act::Replay => {
                let old: Vec<_> = self.known.values().collect();
                Thief::replay(&self.honest, &mut self.overlays, &old, by);
            }
            Act::Withhold => Thief::withhold(&self.honest, &mut self.overlays, by),
            Act::Garble => Thief::garble(&self.honest, &mut self.overlays, by),
            Act::Heal => self.overlays.iter_mut().for_each(Overlay::clear),
            Act::Wait => self.day += by as i32 % 12,
            Act::Skew => self.skew = by as i32 % 120 - 60,
            Act::Die => self.dies = Some(by % 10),
            Act::Run => {
                self.run(&[PATHS[by as usize % PATHS.len()]])?;
            }
        }
        self.learn();
        Ok(())
    }

    /// Every document that there is can be told by its bytes.
    fn learn(&mut self) {
        let made = self.honest.now.values().cloned();
        let forged = self.overlays.iter().flat_map(|overlay| overlay.values().flatten().cloned());
        for paper in made.chain(forged) {
            self.known.entry(paper.bytes.clone()).or_insert(paper);
        }
    }

    fn served(&self) -> Served {
        let served = |overlay: &Overlay| {
            let mut files = self.honest.files.clone();
            for (name, shown) in overlay {
                match shown {
                    Some(paper) => files.insert(name.clone(), Arc::clone(paper)),
                    None => files.remove(name),
                };
            }
            files
        };
        self.overlays.iter().map(served).collect()
    }

    /// One run of the client, and of the reference: refresh, and look for targets. True when all went well.
    fn run(&mut self, paths: &[&str]) -> Result<bool, String> {
        let (served, now) = (self.served(), self.day + self.skew);
        let before = self.kept.clone();
        let mut update = Update::new(&served, now);
        let mut expected = update.run(&mut self.kept);
        let expected_found: Vec<_> = match &mut expected {
            Ok(trusted) => paths.iter().map(|path| update.find(&mut self.kept, trusted, path)).collect(),
            Err(_) => Vec::new(),
        };

        self.client.network.serve(served.clone());
        self.client.store.dies_after(self.dies.take());
        let updater = &self.client.updater;
        let (session, found) = RUNTIME.with(|runtime| {
            runtime.block_on(async {
                let mut session = updater.refresh_at(day(now)).await;
                let mut found = Vec::new();
                if let Ok(session) = &mut session {
                    for path in paths {
                        found.push(session.find(&TargetPath::new(*path).unwrap()).await);
                    }
                }
                (session.as_ref().map(trusted).map_err(|error| format!("{error:?}")), found)
            })
        });
        let died = self.client.store.has_died();
        self.client.store.dies_after(None);
        let shipped = Arc::clone(&self.kept.roots[0]);
        let really_kept = self.client.store.kept(&shipped, &self.known);

        if let Ok(papers) = &session {
            self.check_trusted(papers, &really_kept)?;
        }
        if died {
            could_be_kept(&before, &really_kept, &self.kept)?;
            self.kept = really_kept;
            return Ok(false);
        }
        same_kept(&self.kept, &really_kept)?;
        match (&expected, &session) {
            (Ok(expected), Ok(session)) => same_session(expected, session)?,
            (Err(_), Err(_)) => {}
            (expected, session) => {
                let names = session.as_ref().map(|_| "everything");
                return Err(format!("expected {expected:?}, and the client trusts {names:?}"));
            }
        }
        let found: Vec<_> =
            found.into_iter().map(|found| found.map(|found| found.map(|target| target.length))).collect();
        for ((path, expected), found) in paths.iter().zip(&expected_found).zip(&found) {
            if found.as_ref().ok() != expected.as_ref().ok() {
                return Err(format!("for {path}: expected {expected:?}, and the client found {found:?}"));
            }
        }
        Ok(expected.is_ok() && expected_found.iter().all(Result::is_ok))
    }

    /// What is promised whatever the reference thinks: a threshold of the right keys vouched for all of it, and no
    /// version has sunk, unless timestamp or snapshot got new keys.
    fn check_trusted(&mut self, papers: &[Vec<u8>; 4], kept: &Kept) -> Result<(), String> {
        for pair in kept.roots.windows(2) {
            let [before, after] = [&pair[0], &pair[1]];
            if !ring(before, Part::Root).vouches_for(after) || !ring(after, Part::Root).vouches_for(after) {
                return Err(format!("nobody vouched for the root of version {}", after.version));
            }
        }
        let root = kept.root();
        let mut versions = Versions::new();
        for (part, bytes) in [Part::Root, Part::Timestamp, Part::Snapshot, Part::Targets].into_iter().zip(papers) {
            let paper = self.known.get(&bytes[..]).ok_or("trusts what nobody made")?;
            if paper.part != part || !ring(root, part).vouches_for(paper) {
                return Err(format!("trusts {paper:?} as {}, for which nobody vouched", part.name()));
            }
            if paper.expires <= self.day + self.skew {
                return Err(format!("trusts {}, which has expired", part.name()));
            }
            if let Says::Snapshot(listed) = &paper.says {
                versions.extend(listed.iter().map(|(part, listed)| (*part, listed.version)));
            }
            if part != Part::Root {
                versions.insert(part, paper.version);
            }
        }
        if let Some((since, before)) = &self.seen
            && !kept.rotated_since(*since)
            && let Some((part, before)) =
                before.iter().find(|(part, before)| versions.get(part).is_none_or(|now| now < before))
        {
            return Err(format!("{} was trusted at version {before}, and now at {versions:?}", part.name()));
        }
        self.seen = Some((root.version, versions));
        Ok(())
    }

    /// The network is honest again, the repository replaces what was stolen, and the clock is right: one run must do.
    fn finale(&mut self) -> Result<(), String> {
        self.overlays.iter_mut().for_each(Overlay::clear);
        self.skew = 0;
        self.dies = None;
        let lost: BTreeSet<Key> = self.thief.keys().intersection(&self.honest.keys()).copied().collect();
        self.honest.at(self.day);
        if !lost.is_empty() {
            let is_lost = |part: &Part| !self.honest.rings[*part as usize].keys.is_disjoint(&lost);
            let parts: Vec<_> = PARTS.into_iter().filter(is_lost).collect();
            self.honest.rotate(&parts, &lost, None);
        }
        self.learn();
        self.honest.renew();
        self.learn();
        // Who followed a root that the thief made, with a threshold of the root's keys, cannot be helped.
        let is_lost = self.kept.roots.iter().any(|root| {
            self.honest.files.get(&Part::Root.file(root.version)).is_none_or(|honest| honest.bytes != root.bytes)
        });
        let all_well = self.run(&PATHS)?;
        if is_lost {
            return Ok(());
        }
        let latest = |part: &Part| self.kept.files.get(part).map(|paper| &paper.bytes);
        let behind = PARTS.into_iter().filter(|part| *part != Part::Root && *part != Part::B);
        let behind: Vec<_> = behind.filter(|part| latest(part) != Some(&self.honest.now[part].bytes)).collect();
        if !all_well || !behind.is_empty() {
            return Err(format!("one honest run does not bring the client up to date; behind are {behind:?}"));
        }
        Ok(())
    }
}

fn ring(root: &Paper, part: Part) -> Ring {
    match &root.says {
        Says::Root(rings) => rings[part as usize].clone(),
        _ => panic!("a root is a root"),
    }
}

fn same_session(expected: &Trusted, session: &[Vec<u8>; 4]) -> Result<(), String> {
    let Trusted { root, timestamp, snapshot, targets, .. } = expected;
    for (expected, bytes) in [root, timestamp, snapshot, targets].into_iter().zip(session) {
        if expected.bytes != *bytes {
            return Err(format!("trusts another {} than expected: {expected:?}", expected.part.name()));
        }
    }
    Ok(())
}

fn same_kept(expected: &Kept, found: &Kept) -> Result<(), String> {
    let versions = |kept: &Kept| kept.roots.iter().map(|root| root.bytes.clone()).collect::<Vec<_>>();
    if versions(expected) != versions(found) {
        return Err(format!("keeps roots up to {}, expected {}", found.root().version, expected.root().version));
    }
    for part in PARTS {
        let bytes = |kept: &Kept| kept.files.get(&part).map(|paper| paper.bytes.clone());
        if bytes(expected) != bytes(found) {
            let [expected, found] = [expected, found].map(|kept| kept.files.get(&part));
            return Err(format!("keeps {found:?}, expected {expected:?}"));
        }
    }
    if expected.marks != found.marks {
        return Err(format!("keeps the versions {:?}, expected {:?}", found.marks, expected.marks));
    }
    Ok(())
}

/// After a crash everything is as it was before, as it was going to be, or, where keys were rotated, not there.
fn could_be_kept(before: &Kept, found: &Kept, after: &Kept) -> Result<(), String> {
    let bytes = |kept: &Kept| kept.roots.iter().map(|root| root.bytes.clone()).collect::<Vec<_>>();
    let (before_roots, found_roots, after_roots) = (bytes(before), bytes(found), bytes(after));
    if !found_roots.starts_with(&before_roots) || !after_roots.starts_with(&found_roots) {
        return Err(format!("after a crash there are roots up to {}", found.root().version));
    }
    let forgets = found.rotated_since(before.marks.root);
    for part in [Part::Timestamp, Part::Snapshot, Part::Targets] {
        let [before, found, after] = [before, found, after].map(|kept| kept.files.get(&part).map(|paper| &paper.bytes));
        let gone = found.is_none() && forgets && part != Part::Targets;
        if found != before && found != after && !gone {
            return Err(format!("after a crash there is another {}", part.name()));
        }
    }
    let (old, now, new) = (&before.marks, &found.marks, &after.marks);
    let timestamp = now.timestamp == old.timestamp || now.timestamp == new.timestamp;
    let snapshot = now.snapshot == old.snapshot || now.snapshot == new.snapshot;
    let gone = forgets && (timestamp || now.timestamp.is_none()) && (snapshot || now.snapshot.is_none());
    if !(timestamp && snapshot || gone) {
        return Err(format!("after a crash the versions are {now:?}, neither {old:?} nor {new:?}"));
    }
    Ok(())
}
