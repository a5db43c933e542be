"""Builds all mutants that cargo-mutants lists into one program, and reports those that no test detects or that time out.

cargo-mutants applies one change, builds, tests and starts again, which takes more than a day. This script writes all changes
into a copy of the sources, each beside the original code, as `if mutant::on(7) { changed } else { original }`. The
environment variable MUTANT selects the mutant that is on. Therefore the copy is built only once, and each mutant is run only
against the tests that execute its line, which takes half an hour. If a mutant does not compile, the script removes it.

usage: at_once.py PROJECT FOLDER [PART OF A FILE NAME ...]

Changes to constants cannot be built into the program. tests/MUTANTS.md lists these changes.
"""

import collections
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import tree_sitter
import tree_sitter_rust

PACKAGES = ["metadata", "attest", "client", "repo-tool", "random", "fuzz", "tests"]
# The packages with changes.
CHANGED = ["metadata", "attest", "client"]
# These tests take a long time, or they read the sources and therefore fail in the mutated copy.
SKIPPED = ("interop::", "servers::", "cli::", "conformance::", "invariants::", "coverage::", "attacks::", "examples::")
WORKERS = int(os.environ.get("WORKERS", "2"))
# Full paths of names that are not in the prelude of a `no_std` crate.
PATHS = {
    r"\bvec!\[": "alloc::vec![",
    r"\bVec::": "alloc::vec::Vec::",
    r"\bString::": "alloc::string::String::",
    r"\bBox::": "alloc::boxed::Box::",
    r"\bArc::": "alloc::sync::Arc::",
    r"\.to_owned\(\)": ".into()",
}
# Replacements for the fields that mutants delete. If the mutant is on (`ON`), the field has the value from the base of
# the struct expression (`..base`). Otherwise, it has the original value.
FIELDS = {
    "lost": "lost: !ON",
    "is_canonical": "is_canonical: !ON || self.is_canonical",
    "floors": "floors: if ON { None } else { floors }",
    "floors_lost": "floors_lost: if ON { false } else { floors_lost }",
    "unknown": "unknown: if ON { Unknown::new() } else { unknown }",
    "problem": "problem: if ON { None } else { Some(problem) }",
    "listed_roots": "listed_roots: if ON { BTreeMap::new() } else { listed_roots }",
    "depth": "depth: if ON { self.depth } else { depth }",
}

SWITCH = """//! Turns one mutant on.
extern crate std;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

const UNASKED: u32 = u32::MAX;
const RECORDS: u32 = u32::MAX - 1;
static ACTIVE: AtomicU32 = AtomicU32::new(UNASKED);
static SEEN: [AtomicU8; 4096] = [const { AtomicU8::new(0) }; 4096];

/// Returns `true` if this mutant is on.
#[inline]
pub fn on(number: u32) -> bool {
    let mut active = ACTIVE.load(Relaxed);
    if active >= RECORDS {
        if active == UNASKED {
            active = match std::env::var("MUTANT") {
                Ok(text) if text == "record" => RECORDS,
                Ok(text) => text.parse().unwrap_or(0),
                Err(_) => 0,
            };
            ACTIVE.store(active, Relaxed);
        }
        if active == RECORDS && SEEN[number as usize].swap(1, Relaxed) == 0 {
            if let Ok(path) = std::env::var("MUTANT_RECORD") {
                let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
                file.write_all(std::format!("{number}\\n").as_bytes()).unwrap();
            }
        }
    }
    active == number
}
"""

parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))


def mutants_of(project):
    """Returns the mutants that cargo-mutants lists, numbered from 1."""
    listed = subprocess.run(["cargo", "mutants", "--list", "--json"], cwd=project, stdout=subprocess.PIPE, check=True)
    # `cargo mutants --list` ignores `exclude_re` for mutants that delete a field.
    excluded = tomllib.loads((project / ".cargo/mutants.toml").read_text())["exclude_re"]
    mutants = [
        mutant for mutant in json.loads(listed.stdout) if not any(re.search(one, mutant["name"]) for one in excluded)
    ]
    for number, mutant in enumerate(mutants, 1):
        mutant["number"] = number
    return mutants


class Source:
    """A source file and the mutants in it."""

    def __init__(self, name, text, mutants):
        self.text = text
        self.lines = [0] + [at + 1 for at, byte in enumerate(text) if byte == 10]
        self.tree = parser.parse(text)
        self.without_std = name.startswith("metadata")
        self.switch = "crate::mutant::on" if self.without_std else "lastmile_metadata::mutant::on"
        self.before = collections.defaultdict(str)  # The text to insert before a byte.
        self.around = {}  # The mutants of an expression, by its position.
        self.refused = set()  # Mutants that are not valid Rust.
        self.apart = [mutant for mutant in mutants if not self.put(mutant)]

    def at(self, place):
        start = self.lines[place["line"] - 1]
        line = self.text[start:].split(b"\n", 1)[0].decode()
        return start + len(line[: place["column"] - 1].encode())

    def on(self, mutant):
        return f"{self.switch}({mutant['number']})"

    def put(self, mutant):
        """Records the change of a mutant. Returns false if the change cannot be switched on at run time."""
        start, end = self.at(mutant["span"]["start"]), self.at(mutant["span"]["end"])
        genre = mutant["genre"]
        if genre == "FnValue":
            if "impl " in mutant["function"]["return_type"]:
                self.around.setdefault((start, end), []).append((mutant, start, end))
            else:
                value = mutant["replacement"]
                for name, path in PATHS.items() if self.without_std else ():
                    value = re.sub(name, path, value)
                self.before[start] += marked(mutant, f" if {self.on(mutant)} {{ return {value}; }} ")
            return True
        if genre in ("MatchArmGuard", "StructField"):
            self.around.setdefault((start, end), []).append((mutant, start, end))
            return True
        kinds = {
            "BinaryOperator": ("binary_expression", "compound_assignment_expr"),
            "UnaryOperator": ("unary_expression",),
            "MatchArm": ("match_arm",),
        }[genre]
        node = self.tree.root_node.descendant_for_byte_range(start, end)
        if node.parent.type == "let_chain":
            self.refused.add(mutant["number"])
            return True
        while node is not None and node.type not in kinds:
            node = node.parent
        if node is None:
            return False
        if genre == "MatchArm":
            pattern = node.child_by_field_name("pattern")
            condition = pattern.child_by_field_name("condition")
            if condition is None:
                self.before[pattern.end_byte] += marked(mutant, f" if !{self.on(mutant)} ")
            else:
                self.before[condition.start_byte] += marked(mutant, f"!{self.on(mutant)} && (")
                self.before[condition.end_byte] += ")"
            return True
        operator = node.child_by_field_name("operator") or node.children[1 if genre == "BinaryOperator" else 0]
        if (operator.start_byte, operator.end_byte) != (start, end):
            return False
        above = node
        while above is not None:
            if above.type in ("const_item", "static_item", "array_type"):
                return False
            above = above.parent
        self.around.setdefault((node.start_byte, node.end_byte), []).append((mutant, start, end))
        return True

    def with_mutants(self):
        self.done = set()
        return self.part(0, len(self.text), None).encode()

    def part(self, start, end, within):
        """Returns the code from start to end with its mutants, leaving out those of the expression `within` itself."""
        inner = [place for place in self.around if start <= place[0] and place[1] <= end and place != within]
        out, at = "", start
        for place in sorted(inner, key=lambda place: (place[0], -place[1])):
            if place[0] >= at:
                out += self.plain(at, place[0], True) + self.expression(place)
                at = place[1]
        return out + self.plain(at, end, within is None)

    def plain(self, start, end, with_end):
        text, at = "", start
        for place in sorted(self.before):
            if start <= place < end or (with_end and place == end and place not in self.done):
                self.done.add(place)
                text += self.text[at:place].decode() + self.before[place]
                at = place
        return text + self.text[at:end].decode()

    def expression(self, place):
        start, end = place
        out = self.part(start, end, place)
        mutants = self.around[place]
        if mutants[0][0]["genre"] == "StructField":
            mutant = mutants[0][0]
            new = FIELDS[re.search(r"delete field (\w+)", mutant["name"])[1]].replace("ON", self.on(mutant))
            return marked(mutant, new) + ("," if out.endswith(",") else "")
        if mutants[0][0]["genre"] == "FnValue":
            # The type of the iterator must be the same for all mutants. Therefore, a mutant keeps the original
            # iterator but takes no items from it, and appends the item of the replacement if there is one.
            none = " || ".join(self.on(mutant) for mutant, _, _ in mutants)
            out = f"let all = {{{out}}}; all.take(if {none} {{ 0 }} else {{ usize::MAX }})"
            for mutant, _, _ in mutants:
                one = mutant["replacement"].partition("iter::once")[2]
                out += marked(mutant, f".chain({self.on(mutant)}.then(|| {one}))") if one else ""
            return out
        for mutant, operator, after in mutants:
            left, right = self.text[start:operator].decode(), self.text[after:end].decode()
            new = {
                "MatchArmGuard": mutant["replacement"],
                "UnaryOperator": right,
                "BinaryOperator": f"({left}) {mutant['replacement']} ({right})",
            }[mutant["genre"]]
            out = "(" + marked(mutant, f"if {self.on(mutant)} {{ {new} }} else ") + "{ " + out + " })"
        return out


def marked(mutant, text):
    return f"/*m{mutant['number']}<*/{text}/*>m{mutant['number']}*/"


class Copy:
    """A copy of the sources with all mutants."""

    def __init__(self, project, place, wanted):
        self.project, self.place = project, place
        all_mutants = mutants_of(project)
        self.mutants = [
            mutant for mutant in all_mutants if not wanted or any(part in mutant["file"] for part in wanted)
        ]
        self.unviable = set()
        # The tests of `attest` suffice for changes to `attest` alone.
        is_attest = all(mutant["file"].startswith("attest/") for mutant in self.mutants)
        self.packages = ["attest"] if is_attest else PACKAGES

    def make(self):
        by_file = collections.defaultdict(list)
        for mutant in self.mutants:
            by_file[mutant["file"]].append(mutant)
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=self.project, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
        for name in files:
            if name and name not in by_file and (self.project / name).is_file():
                self.write(name, (self.project / name).read_bytes())
        self.write("metadata/src/mutant.rs", SWITCH.encode())
        while True:
            self.apart = []
            for name, mutants in by_file.items():
                alive = [mutant for mutant in mutants if mutant["number"] not in self.unviable]
                source = Source(name, (self.project / name).read_bytes(), alive)
                self.apart += source.apart
                self.unviable |= source.refused
                self.write(name, source.with_mutants())
            refused = self.refused()
            if not refused:
                break
            self.unviable |= refused
            print(f"{len(self.unviable)} do not compile", flush=True)

    def write(self, name, text):
        if name == "metadata/src/lib.rs":
            text += b"\n#[doc(hidden)]\npub mod mutant;\n"
        path = self.place / name
        if not path.exists() or path.read_bytes() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)

    def refused(self):
        """Returns the mutants that do not compile."""
        command = ["cargo", "check", "--message-format=json", "--all-features"]
        changed = ["attest"] if self.packages == ["attest"] else CHANGED
        command += [word for package in changed for word in ("-p", f"lastmile-{package}")]
        said = subprocess.run(command, cwd=self.place, capture_output=True, text=True)
        found = set()
        for line in said.stdout.splitlines():
            message = json.loads(line).get("message")
            if not isinstance(message, dict) or message.get("level") != "error":
                continue
            for span in message["spans"]:
                text = (self.place / span["file_name"]).read_bytes()
                within = [
                    int(mark[1])
                    for mark in re.finditer(rb"/\*m(\d+)<\*/(.*?)/\*>m\1\*/", text, re.DOTALL)
                    if mark.start() <= span["byte_start"] <= mark.end()
                ]
                found.update(within[-1:] if span["is_primary"] else ())
        if said.returncode != 0 and not found:
            sys.exit(said.stderr[-4000:])
        return found

    def built(self):
        """Returns the test programs, each with the folder to run it in."""
        chosen = [word for package in self.packages for word in ("-p", f"lastmile-{package}")]
        if self.packages == PACKAGES:
            programs = ["cargo", "build", "--all-features", "--bins", "-p", "lastmile-client", "-p", "lastmile-repo-tool"]
            subprocess.run(programs, cwd=self.place, check=True, capture_output=True)
        command = ["cargo", "test", "--no-run", "--all-features", "--lib", "--tests", "--message-format=json"] + chosen
        said = subprocess.run(command, cwd=self.place, capture_output=True, text=True)
        if said.returncode != 0:
            sys.exit(said.stderr[-4000:])
        artifacts = [json.loads(line) for line in said.stdout.splitlines()]
        return [
            (artifact["executable"], Path(artifact["manifest_path"]).parent)
            for artifact in artifacts
            if artifact["reason"] == "compiler-artifact" and artifact["executable"] and artifact["profile"]["test"]
        ]


def execute(program, folder, tests, mutant, limit, record=None):
    """Runs tests. Returns their exit status and their output. The status is None if the tests exceed the time limit."""
    command = [program, "--exact", "--test-threads", "1", *tests]
    said = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    env = dict(os.environ, RUST_BACKTRACE="0", MUTANT=str(mutant), **({"MUTANT_RECORD": str(record)} if record else {}))
    process = subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **said)
    try:
        out, _ = process.communicate(timeout=limit)
        return process.returncode, out
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""


def tests_of(copy):
    """Returns every test with its duration and the mutants that it executes."""
    jobs = []
    for program, folder in copy.built():
        listed = subprocess.run([program, "--list", "--format", "terse"], cwd=folder, capture_output=True, text=True)
        names = [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]
        jobs += [(program, folder, name) for name in names if not name.startswith(SKIPPED)]

    def one(job):
        program, folder, name = job
        record = copy.place / "target" / ("record-" + re.sub(r"\W", "_", Path(program).name + name))
        record.unlink(missing_ok=True)
        begun = time.time()
        status, _ = execute(program, folder, [name], "record", 300, record)
        took = time.time() - begun
        seen = {int(number) for number in record.read_text().split()} if record.exists() else set()
        record.unlink(missing_ok=True)
        if status != 0:
            print(f"not used, because it fails without any change: {name}", flush=True)
        return dict(program=program, folder=folder, name=name, took=took, seen=seen if status == 0 else set())

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, jobs))


def judge(mutant, tests):
    """Runs the tests that execute a mutant, quick ones first, until one fails."""
    queue = sorted(tests, key=lambda test: (test["took"] > 3, round(test["took"], 1), len(test["seen"])))
    size = 6
    while queue:
        chosen, queue = queue[:size], queue[size:]
        size = min(3 * size, 60)
        groups = collections.defaultdict(list)
        for test in chosen:
            groups[test["program"], test["folder"]].append(test)
        for (program, folder), group in groups.items():
            limit = 15 + 6 * sum(test["took"] for test in group)
            status, _ = execute(program, folder, [test["name"] for test in group], mutant["number"], limit)
            if status != 0:
                return "timeout" if status is None else "caught"
    return "missed"


def main(project, place, *wanted):
    place.mkdir(parents=True, exist_ok=True)
    copy = Copy(project, place, wanted)
    copy.make()
    tests = tests_of(copy)
    reached = collections.defaultdict(list)
    for test in tests:
        for number in test["seen"]:
            reached[number].append(test)
    apart = {mutant["number"] for mutant in copy.apart}
    table = collections.defaultdict(collections.Counter)
    lock = threading.Lock()

    def one(mutant):
        number = mutant["number"]
        if number in apart:
            outcome = "apart"
        elif number in copy.unviable:
            outcome = "unviable"
        else:
            outcome = judge(mutant, reached[number])
        with lock:
            table[mutant["file"]][outcome] += 1
            if outcome in ("missed", "apart", "timeout"):
                print(f"{outcome}: {mutant['name']} (executed by {len(reached[number])} tests)", flush=True)

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, copy.mutants))
    columns = ["caught", "timeout", "unviable", "apart", "missed"]
    print("| file | mutants | " + " | ".join(columns) + " |")
    for file, counts in sorted(table.items()):
        print(f"| {file} | {counts.total()} | " + " | ".join(str(counts[column]) for column in columns) + " |")
    return any(counts["missed"] for counts in table.values())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), *sys.argv[3:]))
