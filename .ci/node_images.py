#!/usr/bin/env python3
"""From the notes of a release of kind on standard input: the images of its three newest versions of Kubernetes.

Prints one line for a job's outputs: `images=` and a JSON list. Exit code 1 when the notes name fewer than three.
"""

import json
import re
import sys

IMAGE = re.compile(r"kindest/node:v(\d+)\.(\d+)\.(\d+)@sha256:[0-9a-f]{64}")


def newest(notes: str) -> list[str]:
    """One image for each minor version, the newest first."""
    found = sorted(IMAGE.finditer(notes), key=lambda image: [int(part) for part in image.groups()])
    by_minor = {image.groups()[:2]: image[0] for image in found}
    return list(by_minor.values())[:-4:-1]


if __name__ == "__main__":
    images = newest(sys.stdin.read())
    if len(images) < 3:
        sys.exit(f"the notes of this release of kind name {len(images)} images of nodes instead of three or more.")
    print("images=" + json.dumps(images))
