"""Which licences the packages of an environment are under. Run by the Python whose packages are meant; prints JSON."""

import json
from importlib.metadata import Distribution, distributions


def licence_of(package: Distribution) -> str:
    """Its SPDX expression, else its classifiers, else its own words."""
    metadata = package.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    classifiers = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")]
    named = [line.rpartition(" :: ")[2] for line in classifiers if not line.endswith("OSI Approved")]
    return " AND ".join(named or metadata.get_all("License") or ["nothing"]).splitlines()[0]


if __name__ == "__main__":
    print(json.dumps({package.name: licence_of(package) for package in distributions()}))
