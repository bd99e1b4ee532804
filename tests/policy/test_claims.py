from __future__ import annotations

import pytest

from pilotage import DockerProviderConfig
from pilotage.policy.claims import Claimant, PolicyRule, claimant_of, image_spellings
from tests.support.summaries import container

COMPOSE = {"com.docker.compose.project": "team-a", "com.docker.compose.service": "web", "tier": "front"}
WEB = claimant_of(container(labels=COMPOSE, config=DockerProviderConfig("unix:///x", name="edge!")))


def test_a_claimant_is_the_container_without_the_mark_of_its_engine() -> None:
    assert (
        Claimant(engine="edge", project="team-a", service="web", image="acme/web:1.0", labels=COMPOSE, container="web")
        == WEB
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (PolicyRule(), True),
        (PolicyRule(engine=("edge",), project=("team-*",), service=("web",)), True),
        (PolicyRule(engine=("lab", "edge")), True),
        (PolicyRule(project=("Team-A",)), False),
        (PolicyRule(project=("team-a",), service=("db",)), False),
        (PolicyRule(image=("acme/*",)), True),
        (PolicyRule(image=("docker.io/acme/web",)), True),
        (PolicyRule(image=("registry.local/acme/*",)), False),
        (PolicyRule(label={"tier": ("front", "back")}), True),
        (PolicyRule(label={"tier": ("back",)}), False),
        (PolicyRule(label={"none": ("*",)}), False),
    ],
)
def test_every_condition_of_a_rule_must_match(rule: PolicyRule, expected: bool) -> None:
    assert rule.matches(WEB) is expected


def test_an_image_matches_in_the_short_and_in_the_full_spelling() -> None:
    assert set(image_spellings("nginx:1@sha256:0")) >= {"nginx", "library/nginx", "docker.io/library/nginx"} - {
        "library/nginx"
    }
    assert "nginx" in image_spellings("docker.io/library/nginx:1")
    assert image_spellings("localhost:5000/a/b:1") == ("localhost:5000/a/b:1", "localhost:5000/a/b")


def test_a_rule_is_shown_with_its_name_and_place() -> None:
    assert str(PolicyRule(number=2)) == "rule 2"
    assert str(PolicyRule(number=2, name="team a", place="pilotage.yml:14")) == "rule 2 'team a' (pilotage.yml:14)"


def test_a_rule_that_allows_nothing_says_so() -> None:
    nothing = PolicyRule(hosts=(), targets=(), ports=(), files=(), middlewares=(), pools=())
    assert nothing.allows_nothing
    assert not PolicyRule(hosts=()).allows_nothing


def test_kin_have_the_same_project_on_the_same_engine() -> None:
    assert WEB.is_kin(Claimant(engine="edge", project="team-a"))
    assert not WEB.is_kin(Claimant(engine="lab", project="team-a"))


@pytest.mark.parametrize("kind", ["hosts", "targets", "ports", "files", "middlewares", "pools"])
def test_a_rule_that_leaves_one_kind_open_allows_something(kind: str) -> None:
    nothing = dict.fromkeys(("hosts", "targets", "ports", "files", "middlewares", "pools"), ())
    assert not PolicyRule(**nothing | {kind: None}).allows_nothing  # type: ignore[arg-type]


@pytest.mark.parametrize("registry", ["localhost", "host:5000", "ghcr.io"])
def test_a_registry_is_part_of_an_images_name(registry: str) -> None:
    assert image_spellings(f"{registry}/a:1") == (f"{registry}/a:1", f"{registry}/a")


def test_a_claimant_is_nobody_by_default() -> None:
    assert Claimant().values == {"engine": "", "project": "", "service": ""}
    assert PolicyRule(engine=("?*",)).matches(Claimant()) is False
