#!/usr/bin/env python3
"""What CHANGELOG.md says of the version that a tag names: `.ci/notes.py v1.2.3`. Exit code 1 when it says nothing."""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def notes(changelog: str, tag: str) -> str:
    """The section of that version without its heading; empty when there is none."""
    sections = re.split(r"^## \[(.*?)\].*\n", changelog, flags=re.MULTILINE)
    return dict(zip(sections[1::2], sections[2::2], strict=True)).get(tag.removeprefix("v"), "").strip()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: .ci/notes.py TAG")
    found = notes(CHANGELOG.read_text(encoding="utf-8"), sys.argv[1])
    if not found:
        sys.exit(f"CHANGELOG.md has no section for {sys.argv[1]}: give what is unreleased a heading with that version.")
    print(found)
