#!/usr/bin/env python3
"""Reads the output of `cargo test`, prints what failed once more, then one last line: "N passed, N failed".

    summary.py EXIT_CODE FILE

Fails if a test failed, if a suite died or did not build, or if no test ran at all.
"""
import re
import sys

RESULT = re.compile(r"^test result: \S+ (\d+) passed; (\d+) failed; (\d+) ignored;")
RUNNING = re.compile(r"^\s+(?:Running|Doc-tests) (\S.*)$")
FAILED = re.compile(r"^test (.+) \.\.\. FAILED")
TOO_MUCH = 400


def main() -> int:
    code, path = int(sys.argv[1]), sys.argv[2]
    passed = failed = ignored = suites = 0
    suite, open_suite = "", ""
    broken: list[str] = []
    sections: list[str] = []
    section: list[str] | None = None
    with open(path, encoding="utf-8", errors="replace") as lines:
        for raw in lines:
            line = raw.rstrip("\n")
            running = RUNNING.match(line)
            if running:
                if open_suite:
                    broken.append(f"{open_suite}: ended without a result")
                suite = open_suite = running.group(1)
                section = None
            elif RESULT.match(line):
                p, f, i = map(int, RESULT.match(line).groups())
                passed, failed, ignored, suites = passed + p, failed + f, ignored + i, suites + 1
                open_suite = ""
                section = None
            elif FAILED.match(line):
                broken.append(f"{suite}: {FAILED.match(line).group(1)}")
            elif line == "failures:":
                section = []
            elif section is not None:
                section.append(line)
                if len(section) <= TOO_MUCH:
                    sections.append(line)
            elif line.startswith("error"):
                sections.append(line)
    if open_suite:
        broken.append(f"{open_suite}: ended without a result")
    if broken or failed or code != 0:
        print("\n==== what failed ====")
        print("\n".join(sections))
        for name in broken:
            print(f"FAILED {name}")
    if ignored:
        print(f"({ignored} ignored: each says why in its source)")
    if suites == 0 or passed + failed == 0:
        print("error: no test ran")
    # A suite that died counts as one failure, so that the line never says "0 failed" for a broken run.
    failed = max(failed, len(broken), 1 if code != 0 else 0, 1 if passed + failed == 0 else 0)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
