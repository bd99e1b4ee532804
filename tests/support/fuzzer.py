"""A fuzzer over labels, Compose files and configurations: random changes to a corpus, with a fixed seed.

``scripts/fuzz`` runs it for longer, with another seed. A case that fails is printed; add it to
``fixtures/fuzz-corpus.json``, whose cases are tried as they are before they are changed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.config.load import read_config
from pilotage.containers.parse import ContainerParser
from pilotage.core import MAX_PROBLEMS, ConfigError
from pilotage.lint.check import check_file
from pilotage.routes import ROUTE, Built, RouteBuilder, route_json
from tests.support.summaries import LOCAL, REMOTE, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pilotage import Problem

FIXTURES: Final = Path(__file__).parents[1] / "fixtures"
SECRET: Final = "Zq7-unseen-Xw9"
ENV: Final = {"SECRET": SECRET, "HOME": "/home/user", "EMPTY": "", "DOCKER_HOST": "tcp://docker.example:2375"}

ALIASES: Final = ("web", "app", "*", "#1", "$2", "#-1", "#99999999999999999999", "WEB", "", "ä", "x-a", "a" * 300)
NAMES: Final = (
    *ROUTE.fields,
    "prot",
    "midlewares",
    "cidr_whitelist",
    "allow",
    "request",
    "set_headers",
    "",
    "idle_timeout",
)
PIECES: Final = (
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        ",",
        "-",
        "- ",
        "\n",
        "\n  ",
        "\t",
        "#",
        "|",
        ">",
        "&a ",
        "*a",
        "<<: *a",
        "'",
        '"',
    ),
    *(
        "!!binary ",
        "!x ",
        "%",
        "@",
        "`",
        "?",
        "~",
        "null",
        "true",
        "yes",
        "0",
        "-1",
        "80",
        "65536",
        "2222:22",
        "20000:dns",
    ),
    *(
        "1e999",
        ".nan",
        "0x50",
        "1h",
        "-5s",
        "10.0.0.0/8",
        "::1",
        "fe80::1%eth0",
        "http",
        "fileserver",
        "/srv/../x",
        "\\",
    ),
    *(
        "\x00",
        "\x1b[31m",
        "\u2028",
        "\u202e",
        "é",
        "😀",
        "${SECRET}",
        "${EMPTY}",
        "${NONE}",
        "${X:-y}",
        "$$",
        "${",
        "$",
    ),
    *(
        "services:",
        "labels:",
        "include:",
        "path:",
        "providers:",
        "docker:",
        "gateway:",
        "api:",
        "listen:",
        "tls:",
        "url:",
    ),
)


class Fuzzer:
    """Makes and tries cases."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        corpus = json.loads((FIXTURES / "fuzz-corpus.json").read_text())
        conformance = json.loads((FIXTURES.parent / "conformance" / "cases.json").read_text())["cases"]
        known = [each.get("Labels") for case in conformance for each in case["containers"]]
        self.corpus: dict[str, list[Any]] = corpus
        self.labels: list[dict[str, str]] = [*corpus["labels"], *(labels for labels in known if labels)]

    # ---- making

    def text(self, text: str) -> str:
        """Change a text in a few places."""
        for _ in range(self.random.choice((1, 1, 2, 5, 20))):
            at = self.random.randrange(len(text) + 1)
            end = min(len(text), at + self.random.choice((0, 1, 3, 30)))
            piece = self.random.choice(PIECES)
            change = self.random.randrange(6)
            if change == 0:
                piece *= self.random.choice((2, 70, 300, 5000))
            elif change == 1:
                piece = text[at:end] * self.random.choice((2, 3, 100))
            elif change == 2:
                piece = ""
            elif change == 3:
                other = self.random.randrange(len(text) + 1)
                piece = text[other : other + 30]
            text = f"{text[:at]}{piece}{text[end:]}"[:300_000]
        return text

    def key(self, key: str) -> str:
        change = self.random.randrange(5)
        if change == 0:
            return self.text(key)[:3000]
        names = self.random.choices(NAMES, k=self.random.choice((0, 1, 1, 2, 3, 70)))
        return ".".join(("proxy", self.random.choice(ALIASES), *names)) if change < 4 else key

    def label_set(self) -> dict[str, str]:
        labels = dict(self.random.choice(self.labels))
        if self.random.random() < 0.3:
            labels |= self.random.choice(self.labels)
        for key in list(labels):
            if self.random.random() < 0.5:
                labels[self.key(key)] = self.text(labels[key]) if self.random.random() < 0.7 else labels[key]
        if self.random.random() < 0.05:
            number = self.random.choice((50, 1500, 3000))
            labels |= {f"proxy.{self.random.choice(ALIASES)}.x{i}": self.random.choice(PIECES) for i in range(number)}
        if self.random.random() < 0.1:
            labels["proxy.aliases"] = ",".join(f"a{i}" for i in range(self.random.choice((3, 200, 2000))))
        return labels

    def file(self, kind: str) -> str:
        return self.text(self.random.choice(self.corpus[kind]))

    # ---- trying

    def try_labels(self, labels: dict[str, str]) -> None:
        config = REMOTE if len(labels) % 5 == 0 else LOCAL
        built = self.built(labels, config)
        shuffled = list(labels.items())
        self.random.shuffle(shuffled)
        assert self.built(dict(shuffled), config) == built, "the order of labels matters"
        assert len(built.problems) <= MAX_PROBLEMS + 1
        assert len(built.routes) <= 1000
        for problem in built.problems:
            check_problem(problem)
            assert "a defect of pilotage" not in problem.hint, problem.message
        for route in built.routes:
            json.dumps(route_json(route))
            assert 0 <= route.port.listening < 65536 > route.port.proxy >= 0

    @staticmethod
    def built(labels: dict[str, str], config: Any) -> Built:
        raw = msgspec.json.encode(summary(labels=labels))
        return RouteBuilder().build(ContainerParser(config).decode(raw))

    def try_compose(self, text: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "compose.yml"
            file.write_text(text, encoding="utf-8", newline="")
            found = check_file(str(file), ENV)
            assert check_file(str(file), ENV) == found
            for problem in found.problems:
                check_problem(problem)

    def try_configuration(self, text: str) -> None:
        outcomes = [self.configuration(text) for _ in range(2)]
        assert outcomes[0] == outcomes[1]

    @staticmethod
    def configuration(text: str) -> object:
        try:
            return read_config(text, file="pilotage.yml", folder=Path("none"), env=ENV)
        except ConfigError as error:
            for problem in error.problems:
                check_problem(problem)
            return error.problems

    def cases(self, kind: str) -> Iterator[Any]:
        """Yield the corpus, then changes to it, without end."""
        yield from self.labels if kind == "labels" else self.corpus[kind]
        while True:
            yield self.label_set() if kind == "labels" else self.file(kind)

    def try_kind(self, kind: str, go_on: Callable[[int], bool]) -> int:
        """Try cases of one kind as long as wanted; return their number.

        Raises:
            AssertionError: a case has another outcome than it may have. It is in the message.

        """
        attempt = getattr(self, f"try_{kind}")
        number = 0
        for case in self.cases(kind):
            if not go_on(number):
                return number
            number += 1
            try:
                attempt(case)
            except Exception as error:
                raise AssertionError(f"case {number}: {json.dumps(case)[:3000]}") from error
        return number


def check_problem(problem: Problem) -> None:
    shown = str(problem)
    assert shown.isprintable(), shown
    assert len(f"{problem.message} {problem.hint}") < 20_000, shown[:200]
    assert problem.message, problem
    # Any part of six characters would be enough to recognise the secret.
    for at in range(len(SECRET) - 5):
        assert SECRET[at : at + 6].lower() not in f"{problem.message} {problem.hint} {problem.value}".lower(), shown
    assert not re.search("Traceback|<pilotage", shown), shown


def until(end: float) -> Callable[[int], bool]:
    return lambda _: time.monotonic() < end


def main() -> None:
    """Fuzz for some seconds."""
    parser = argparse.ArgumentParser(description="Fuzz labels, Compose files and configurations.")
    parser.add_argument("seconds", type=float, nargs="?", default=600)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    for kind in ("labels", "compose", "configuration"):
        end = time.monotonic() + options.seconds / 3
        number = Fuzzer(options.seed).try_kind(kind, until(end))
        sys.stdout.write(f"{kind}: {number:,} cases\n")


if __name__ == "__main__":
    main()
