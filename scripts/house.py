#!/usr/bin/env python3
"""Checks the house rules of house.toml against the source tree. Reads only.

    house.py                check this checkout
    house.py --self-test    break every rule in a scratch tree and see that each is caught

What is checked: who imports whom, who owns an outside engine, words that must be absent from a room or from
everywhere, file sizes, that every room takes the workspace's lints, that an #[allow] says why, that a dependency
is used, and that the links and the tests that the documents name exist.
"""
import fnmatch
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PREFIX = "palisade-"
TEXT = {".rs", ".toml", ".md", ".sh", ".py", ".yaml", ".yml", ".proto", ".json", ".txt", ""}


def files(root: Path) -> list[Path]:
    """What git tracks or would track; in a scratch tree, everything."""
    listed = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [n for n in listed.stdout.decode().split("\0") if n]
        return [root / n for n in names if (root / n).is_file() and not (root / n).is_symlink()]
    return [p for p in root.rglob("*") if p.is_file()]


def product(source: str) -> list[str]:
    """The lines of a Rust file that are product: no comments, nothing from its tests module on."""
    lines = source.split("\n")
    for i, line in enumerate(lines):
        if line.startswith("#[cfg(test)]") and any(after.startswith("mod ") for after in lines[i + 1 : i + 4]):
            lines = lines[:i]
            break
    return [re.sub(r"//.*", "", line) for line in lines]


class House:
    def __init__(self, root: Path):
        self.root = root
        self.rules = tomllib.loads((root / "house.toml").read_text())
        self.faults: list[str] = []
        self.hints: list[str] = []
        vendored = [root / f for f in self.rules.get("vendored", {}).get("folders", [])]
        self.all = [p for p in files(root) if not any(v in p.parents for v in vendored)]
        self.rooms: dict[str, dict] = {}
        workspace = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]
        self.lints = workspace.get("lints", {})
        for member in workspace["members"]:
            manifest = tomllib.loads((root / member / "Cargo.toml").read_text())
            if not member.startswith("tests/") and "/" not in member:
                self.rooms[member] = manifest

    def fault(self, where: object, what: str) -> None:
        self.faults.append(f"{where}: {what}")

    def under(self, room: str, *folders: str) -> list[Path]:
        tops = [self.root / room / f for f in folders]
        return [p for p in self.all if p.suffix == ".rs" and any(t in p.parents for t in tops)]

    def is_test(self, path: Path) -> bool:
        """A module that only its tests have: `#[cfg(test)] mod name;` beside it."""
        for parent in (path.parent / "mod.rs", path.parent / "lib.rs", path.parent.with_suffix(".rs")):
            if parent.exists() and re.search(rf"#\[cfg\(test\)\]\s*mod {path.stem};", parent.read_text()):
                return True
        return False

    def short(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def imports(self) -> None:
        allowed = self.rules["rooms"]
        for room in self.rooms:
            if room not in allowed:
                self.fault("house.toml", f"room {room} is missing from [rooms]")
        for room in allowed:
            if room not in self.rooms:
                self.fault("house.toml", f"[rooms] has {room}, which is no member of the workspace")
        for room, manifest in self.rooms.items():
            for name in dependencies(manifest):
                other = name.removeprefix(PREFIX)
                if name.startswith(PREFIX) and other not in allowed.get(room, []):
                    self.fault(f"{room}/Cargo.toml", f"{room} may not import {other}")
                for engine in [] if room in self.rules.get("outside", {}).get("rooms", []) else self.rules["engine"]:
                    if any(fnmatch.fnmatch(name, p) for p in engine["packages"]) and room not in engine["owners"]:
                        owners = ", ".join(engine["owners"])
                        self.fault(f"{room}/Cargo.toml", f"{name} belongs to {owners}: {engine['why']}")
            lints = manifest.get("lints", {})
            if room in self.rules.get("lints", {}).get("unsafe", {}):
                expected = {kind: dict(rules) for kind, rules in self.lints.items()}
                expected["rust"]["unsafe_code"] = "deny"
                if lints != expected:
                    self.fault(f"{room}/Cargo.toml", "[lints] are the workspace's, with unsafe_code = \"deny\"")
            elif not lints.get("workspace"):
                self.fault(f"{room}/Cargo.toml", "needs [lints] workspace = true")

    def unused(self) -> None:
        for room, manifest in self.rooms.items():
            source = "\n".join(p.read_text() for p in self.under(room, "src", "tests", "benches"))
            build = self.root / room / "build.rs"
            source += build.read_text() if build.exists() else ""
            optional = {name for name, how in manifest.get("dependencies", {}).items() if "optional" in str(how)}
            for name in sorted(set(dependencies(manifest)) - optional):
                if not re.search(rf"\b{name.replace('-', '_')}\b", source):
                    self.fault(f"{room}/Cargo.toml", f"{name} is not used: remove it")

    def absent(self) -> None:
        for rule in self.rules["absent"]:
            for room in rule["rooms"]:
                for path in self.under(room, "src"):
                    if "bin" in path.parts or path.name == "main.rs" or self.is_test(path):
                        continue
                    for number, line in enumerate(product(path.read_text()), 1):
                        for word in rule["words"]:
                            if re.search(rf"(?<![\w]){re.escape(word)}", line):
                                self.fault(f"{self.short(path)}:{number}", f"{word!r} in {room}: {rule['why']}")

    def nowhere(self) -> None:
        rules = [(re.compile(r["pattern"], re.IGNORECASE), r["why"]) for r in self.rules["nowhere"]]
        for path in self.all:
            if path.suffix not in TEXT or self.short(path) in ("house.toml", "Cargo.lock", "scripts/house.py"):
                continue
            for number, line in enumerate(path.read_text(errors="replace").split("\n"), 1):
                for pattern, why in rules:
                    found = pattern.search(line)
                    if found:
                        self.fault(f"{self.short(path)}:{number}", f"{found.group(0)!r}: {why}")

    def sizes(self) -> None:
        size = self.rules["size"]
        for path in self.all:
            if path.suffix != ".rs":
                continue
            lines = path.read_text().count("\n")
            if lines > size["most"] and self.short(path) not in size["longer"]:
                self.fault(self.short(path), f"{lines} lines: split it, or list it in house.toml with its reason")
            elif lines > size["hint"]:
                self.hints.append(f"{self.short(path)}: {lines} lines; would two files read better?")

    def exemptions(self) -> None:
        for path in self.all:
            if path.suffix != ".rs":
                continue
            if not any(f"{room}/src/" in self.short(path) for room in self.rooms):
                continue
            for found in re.finditer(r"#!?\[allow\((?P<what>.*?)\)\]", path.read_text(), re.DOTALL):
                if "reason" not in found.group("what"):
                    line = path.read_text()[: found.start()].count("\n") + 1
                    self.fault(f"{self.short(path)}:{line}", "an #[allow] says why: #[expect(…, reason = \"…\")]")

    def documents(self) -> None:
        tests: set[str] = set()
        for path in self.all:
            if path.suffix == ".rs":
                tests.update(re.findall(r"\bfn (\w+)", path.read_text()))
        for path in self.all:
            if path.suffix != ".md":
                continue
            text = path.read_text()
            for number, line in enumerate(text.split("\n"), 1):
                for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", line):
                    if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                        self.fault(f"{self.short(path)}:{number}", f"links to {target}, which is not there")
                # A promise names its test as `file.rs: test_name`.
                for file, name in re.findall(r"`([\w/.-]+\.rs)`?: `?(\w+)`", line):
                    if not (self.root / file).exists():
                        self.fault(f"{self.short(path)}:{number}", f"names {file}, which is not there")
                    elif not re.search(rf"\bfn {name}\b", (self.root / file).read_text()):
                        self.fault(f"{self.short(path)}:{number}", f"names the test {name}, which is not in {file}")
            if path.name == "README.md" and path.parent == self.root and text.count("\n") >= 150:
                self.fault("README.md", "150 lines or more: what is long belongs in docs/")

    def run(self) -> list[str]:
        for check in (
            self.imports,
            self.unused,
            self.absent,
            self.nowhere,
            self.sizes,
            self.exemptions,
            self.documents,
        ):
            check()
        return self.faults


def dependencies(manifest: dict) -> list[str]:
    """Names in [dependencies] and [build-dependencies], also those of one target."""
    tables = [manifest, *manifest.get("target", {}).values()]
    return [name for t in tables for kind in ("dependencies", "build-dependencies") for name in t.get(kind, {})]


def self_test() -> int:
    """A rule that cannot fail is no rule: each breakage must be named, and the clean tree must pass."""
    rules = """
[rooms]
core = []
storage = ["core"]
[[engine]]
packages = ["sled*"]
owners = ["storage"]
why = "w"
[[absent]]
rooms = ["core"]
words = ["std::fs"]
why = "w"
[[nowhere]]
pattern = 'fixme'
why = "w"
[size]
hint = 50
most = 90
longer = {}
"""
    lints = "[lints]\nworkspace = true\n"
    clean = {
        "house.toml": rules,
        "Cargo.toml": '[workspace]\nmembers = ["core", "storage"]\n',
        "core/Cargo.toml": f"[package]\nname = 'palisade-core'\n{lints}[dependencies]\nserde = '1'\n",
        "core/src/lib.rs": "use serde::X;\n// std::fs is not used\n\n#[cfg(test)]\nmod tests { use std::fs; }\n",
        "storage/Cargo.toml": f"[package]\nname = 'palisade-storage'\n{lints}[dependencies]\nsled = '1'\npalisade-core = '1'\n",
        "storage/src/lib.rs": "use sled::Db; use palisade_core::X;\nfn acked_is_kept() {}\n",
        "README.md": "[map](core/src/lib.rs) `storage/src/lib.rs`: `acked_is_kept`\n",
    }
    breakages = {
        "may not import storage": ("core/Cargo.toml", "palisade-storage = '1'\n"),
        "belongs to storage": ("core/Cargo.toml", "sled-tools = '1'\n"),
        "is not used": ("core/Cargo.toml", "hex = '1'\n"),
        "'std::fs' in core": ("core/src/more.rs", "use std::fs;\n"),
        "'FIXME'": ("core/src/more.rs", "// FIXME later\n"),
        "split it": ("core/src/more.rs", "//\n" * 100),
        "says why": ("core/src/more.rs", "#[allow(dead_code)]\n"),
        "missing from [rooms]": ("Cargo.toml", None),
        "needs [lints]": ("storage/Cargo.toml", None),
        "links to nowhere.md": ("README.md", "[x](nowhere.md)\n"),
        "names the test": ("README.md", "`storage/src/lib.rs`: `not_there`\n"),
        "150 lines": ("README.md", "line\n" * 150),
    }

    def faults(tree: dict[str, str]) -> list[str]:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch)
            for name, text in tree.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            return House(root).run()

    wrong = [f"a clean tree is refused: {f}" for f in faults(clean)]
    for expected, (name, added) in breakages.items():
        tree = dict(clean)
        if expected.startswith("missing from"):
            tree["Cargo.toml"] = '[workspace]\nmembers = ["core", "storage", "extra"]\n'
            tree["extra/Cargo.toml"] = f"[package]\nname = 'palisade-extra'\n{lints}"
        elif added is None:
            tree[name] = tree[name].replace(lints, "")
        else:
            tree[name] = tree.get(name, "") + added
        found = faults(tree)
        if not any(expected in f for f in found):
            wrong.append(f"not caught: {expected} (found: {found})")
    print("\n".join(wrong) if wrong else f"   {len(breakages)} broken rules caught")
    return 1 if wrong else 0


def main() -> int:
    if "--self-test" in sys.argv[1:]:
        return self_test()
    house = House(Path(__file__).resolve().parent.parent)
    faults = house.run()
    for hint in house.hints:
        print(f"   hint: {hint}")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
