from __future__ import annotations

import json
from typing import Any

import pytest

from pilotage.testing.dialect import api_number, dialect_of
from tests.support import captures


def dialect(engine: str) -> Any:
    return dialect_of(**({"flavour": "docker"} | captures.ENGINES[engine]))


@pytest.mark.parametrize("engine", captures.ENGINES)
def test_version_has_the_keys_and_the_numbers_of_the_real_engine(engine: str) -> None:
    real, fake = captures.load(engine, "version"), dialect(engine).describe()
    assert real.keys() == fake.keys()
    assert real["Components"][0].keys() == fake["Components"][0].keys()
    assert real["Components"][0]["Details"].keys() == fake["Components"][0]["Details"].keys()
    assert real["Components"][0]["Name"] == fake["Components"][0]["Name"]
    assert real["ApiVersion"] == fake["ApiVersion"]
    assert real["MinAPIVersion"] == fake["MinAPIVersion"]
    assert real["Version"].partition("+")[0] == fake["Version"]


@pytest.mark.parametrize("engine", captures.ENGINES)
@pytest.mark.parametrize(
    ("recorded", "asked"), [("err-api-too-new", (1, 99)), ("err-api-too-old", (1, 11))], ids=["too new", "too old"]
)
def test_unsupported_versions_get_the_real_engines_message(engine: str, recorded: str, asked: tuple[int, int]) -> None:
    real, fake = captures.load(engine, "answers")[recorded], dialect(engine).refuse_version(asked)
    if fake is None:
        assert real["status"] == 200
        return
    assert (real["status"], real["body"]) == (fake.status, fake.body.decode())
    assert real["headers"]["Content-Type"] == fake.headers["Content-Type"]


@pytest.mark.parametrize("engine", captures.ENGINES)
def test_an_unknown_container_gets_the_real_engines_message(engine: str) -> None:
    real, fake = captures.load(engine, "answers")["err-no-such-container"], dialect(engine).no_such_container("nope")
    assert (real["status"], json.loads(real["body"])) == (fake.status, json.loads(fake.body))


@pytest.mark.parametrize("engine", captures.ENGINES)
def test_an_unknown_path_gets_the_real_engines_message(engine: str) -> None:
    real, fake = captures.load(engine, "answers")["err-no-such-route"], dialect(engine).no_such_page()
    assert (real["status"], real["body"]) == (fake.status, fake.body.decode())
    assert real["headers"]["Content-Type"] == fake.headers["Content-Type"]


@pytest.mark.parametrize("engine", captures.ENGINES)
def test_a_ping_has_the_headers_of_the_real_engine(engine: str) -> None:
    real, fake = captures.load(engine, "answers")["ping-get"], dialect(engine).ping()
    assert (real["status"], real["body"]) == (fake.status, fake.body.decode())
    assert real["headers"]["Api-Version"] == fake.headers["Api-Version"]
    assert real["headers"]["Server"].partition("+")[0] == fake.headers["Server"].partition(" ")[0] or (
        real["headers"]["Server"] == fake.headers["Server"]
    )
    assert ("Libpod-Api-Version" in real["headers"]) == ("Libpod-Api-Version" in fake.headers)


@pytest.mark.parametrize(
    ("api", "oldest"), [("1.41", (1, 12)), ("1.45", (1, 24)), ("1.51", (1, 24)), ("1.52", (1, 44)), ("1.60", (1, 44))]
)
def test_the_oldest_version_is_that_of_the_real_docker(api: str, oldest: tuple[int, int]) -> None:
    assert dialect_of("docker", api).min_api == oldest


def test_explicit_values_win_over_derived_ones() -> None:
    made = dialect_of("docker", "1.51", "1.44", "99.1")
    assert (made.min_api, made.version, made.major) == ((1, 44), "99.1", 99)


def test_versions_compare_as_numbers() -> None:
    assert api_number("1.9") < api_number("1.41")
