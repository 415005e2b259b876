#!/usr/bin/env python3
"""Writes the licences of all libraries that the programs contain: which library is under which, and every text once.

    licences.py PACKAGE [PACKAGE ...] >FILE

Which libraries those are, and where their sources lie, is what cargo says of the lock file. Nothing in the output depends on
the machine. It fails on a library that neither carries a licence text nor is offered under one that another carries.
"""
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

TARGET = "x86_64-unknown-linux-gnu"
TEXT = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
# Texts of licences whose libraries carry none.
KEPT = Path(__file__).parent / "licences"
# Below the sources of a library: what it brings of others, such as the C library that it wraps.
DEPTH = 4
NOT_SHIPPED = {"tests", "test", "testing", "benches", "examples", "fuzz", "doc", "docs", "contrib", "programs"}


def metadata() -> dict:
    cargo = [os.environ.get("CARGO", "cargo"), "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    return json.loads(subprocess.run(cargo, check=True, capture_output=True).stdout)


def linked(meta: dict, roots: list[str]) -> list[dict]:
    """What is linked into the programs: no build script, no test, no macro that ran at build time."""
    packages = {p["id"]: p for p in meta["packages"]}
    nodes = {n["id"]: n for n in meta["resolve"]["nodes"]}
    todo = [i for i, p in packages.items() if p["name"] in roots]
    missing = set(roots) - {packages[i]["name"] for i in todo}
    if missing:
        sys.exit(f"no such package: {', '.join(sorted(missing))}")
    seen = set()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        for dep in nodes[one]["deps"]:
            macro = any("proc-macro" in t["kind"] for t in packages[dep["pkg"]]["targets"])
            if not macro and any(kind["kind"] is None for kind in dep["dep_kinds"]):
                todo.append(dep["pkg"])
    ours = {p["id"] for p in meta["packages"] if p["id"] in meta["workspace_members"]}
    return sorted((packages[i] for i in seen - ours), key=lambda p: (p["name"], p["version"]))


def texts(package: dict) -> list[str]:
    top = Path(package["manifest_path"]).parent
    found = []
    for folder, folders, files in os.walk(top):
        depth = len(Path(folder).relative_to(top).parts)
        folders[:] = sorted(f for f in folders if f.lower() not in NOT_SHIPPED) if depth < DEPTH else []
        for name in sorted(files):
            if TEXT.match(name) and not name.endswith((".rs", ".py", ".sh", ".toml", ".h", ".c", ".html", ".pl", ".go", ".in")):
                text = (Path(folder) / name).read_text(encoding="utf-8", errors="replace")
                found.append("\n".join(line.rstrip() for line in text.strip().splitlines()))
    return [text for text in found if text]


def words(text: str) -> str:
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def main() -> int:
    libraries = linked(metadata(), sys.argv[1:])
    numbers: dict[str, int] = {}
    kept: list[str] = []
    lines: list[tuple[dict, str, list[int]]] = []
    apache = ""
    for package in libraries:
        mine = []
        for text in texts(package):
            key = words(text)
            if key not in numbers:
                kept.append(text)
                numbers[key] = len(kept)
                if "Apache License" in text[:200] and "END OF TERMS AND CONDITIONS" in text and not apache:
                    apache = str(len(kept))
            mine.append(numbers[key])
        licence = package["license"] or "see the text"
        lines.append((package, licence, sorted(set(mine))))
    print("The programs contain the following libraries. Behind each: its licence, and the numbers of the texts below.\n")
    bare = []
    for package, licence, mine in lines:
        said = ", ".join(f"[{n}]" for n in mine)
        if not mine:
            # The libraries of one repository share its licence, and not all of them carry the file.
            siblings = [ns for other, _, ns in lines if ns and other["repository"] and other["repository"] == package["repository"]]
            if siblings:
                said = f"as its siblings: {', '.join(f'[{n}]' for n in siblings[0])}"
            elif "Apache-2.0" in licence and apache:
                said = f"its sources carry no text; taken under Apache-2.0 [{apache}]"
            elif (KEPT / f"{licence}.txt").is_file():
                text = (KEPT / f"{licence}.txt").read_text(encoding="utf-8").rstrip()
                key = words(text)
                if key not in numbers:
                    kept.append(text)
                    numbers[key] = len(kept)
                said = f"its sources carry no text; the licence is [{numbers[key]}]. Unchanged here: the sources are those below"
            else:
                bare.append(f"{package['name']} {package['version']}, {licence}: no text")
        print(f"{package['name']} {package['version']} - {licence} - {said}")
        print(f"    {package['repository'] or package['homepage'] or 'https://crates.io/crates/' + package['name']}")
    for number, text in enumerate(kept, 1):
        print(f"\n{'=' * 100}\n[{number}]\n\n{text}")
    if bare:
        sys.exit("\n".join(bare))
    if len(libraries) < 100 or len(kept) < 20:
        sys.exit(f"{len(libraries)} libraries and {len(kept)} texts: that cannot be all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
