#!/usr/bin/env python3
"""Takes the SPDX document of cargo-sbom from standard input and writes it with the time and the name of a commit instead
of those of a run, so that one commit gives one document.

    sbom.py EPOCH VERSION
"""
import json
import sys
from datetime import UTC, datetime


def main() -> int:
    epoch, version = int(sys.argv[1]), sys.argv[2]
    document = json.load(sys.stdin)
    document["creationInfo"]["created"] = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document["name"] = f"palisade-{version}"
    document["documentNamespace"] = f"https://spdx.org/spdxdocs/palisade-{version}-{epoch}"
    for part, key in (("packages", "SPDXID"), ("files", "SPDXID")):
        document.get(part, []).sort(key=lambda item: item[key])
    document.get("relationships", []).sort(
        key=lambda item: (item["spdxElementId"], item["relationshipType"], item["relatedSpdxElement"])
    )
    named = {item["name"] for item in document["packages"]}
    for wanted in ("palisade-node", "palisade-client", "rustls", "openraft"):
        if wanted not in named:
            sys.exit(f"the bill of materials lacks {wanted}")
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
