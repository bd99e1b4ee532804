from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.config.load import Config, load_config
from pilotage.core.errors import ConfigError
from pilotage.policy import Policy, PolicyRule
from pilotage.xds.capabilities import GatewayCapabilities
from pilotage.xds.options import GatewayOptions

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, text: str) -> Config:
    (folder / "pilotage.yml").write_text(text)
    return load_config(folder / "pilotage.yml", {"TEAM": "team-b"})


def errors(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return [str(problem).removeprefix(f"{folder}/pilotage.yml:") for problem in caught.value.problems]


RULES = """
gateway:
  http: 10.0.0.1:80
  targets: own
  stream_ports: [9000-9100, 9443]
  label_files: [certs, /srv/certs]
  label_roots: [www]
match_domains: [.example.com]
policy:
  default: deny
  rules:
    - name: team a
      who:
        engine: [edge!, "lab-*"]
        project: team-a
        service: [web, db]
        image: registry.local/team-a/*
        label: {tier: [front, back], team: a}
      may:
        hosts: ["{{project}}-*", "**.A.example.com"]
        targets: [10.0.0.0/8, "[::1]:9000", "*.internal:5432"]
        ports: 9000-9009
        files: ["certs/{{project}}", /srv]
        middlewares: [redirectHTTP, "cidr*"]
        pools: shared
    - who: {project: "${TEAM}"}
      may: nothing
"""


def test_everything_can_be_written(tmp_path: Path) -> None:
    assert read(tmp_path, RULES).policy == Policy(
        rules=(
            PolicyRule(
                number=1,
                name="team a",
                place=f"{tmp_path}/pilotage.yml:12",
                engine=("edge", "lab-*"),
                project=("team-a",),
                service=("web", "db"),
                image=("registry.local/team-a/*",),
                label={"tier": ("front", "back"), "team": ("a",)},
                hosts=("{{project}}-*", "**.a.example.com"),
                targets=("10.0.0.0/8", "[::1]:9000", "*.internal:5432"),
                ports=((9000, 9009),),
                files=(f"{tmp_path}/certs/{{{{project}}}}", "/srv"),
                middlewares=("redirect_http", "cidr*"),
                pools=("shared",),
            ),
            PolicyRule(
                number=2,
                place=f"{tmp_path}/pilotage.yml:26",
                project=("team-b",),
                hosts=(),
                targets=(),
                ports=(),
                files=(),
                middlewares=(),
                pools=(),
            ),
        ),
        default="deny",
        targets="own",
        stream_ports=((9000, 9100), (9443, 9443)),
        addresses=("10.0.0.1",),
        label_files=(f"{tmp_path}/certs", "/srv/certs"),
        label_roots=(f"{tmp_path}/www",),
        domains=("example.com",),
        gateway=GatewayCapabilities(GatewayOptions(http_address="10.0.0.1")),
    )


def test_without_the_section_the_built_in_limits_apply(tmp_path: Path) -> None:
    assert read(tmp_path, "").policy == Policy(addresses=("0.0.0.0",), gateway=GatewayCapabilities()) == Config().policy
    assert read(tmp_path, "policy:\ngateway: {stream_ports: []}").policy.stream_ports == ()


def test_a_list_is_short_for_its_rules(tmp_path: Path) -> None:
    text = "policy:\n  - who: {project: a}\n    may: {hosts: a}\n  - who: {}\n    may: nothing\n"
    rules = read(tmp_path, text).policy.rules
    assert [(rule.number, rule.place.rpartition(":")[2], rule.hosts) for rule in rules] == [
        (1, "2", ("a",)),
        (2, "4", ()),
    ]
    wrong = text.replace("hosts", "hots")
    assert errors(tmp_path, wrong) == ["3:11: policy[0].may.hots: unknown key 'hots'; did you mean 'hosts'?"]


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("{may: nothing}", "3:5: policy.rules[0].who: who is missing; add it"),
        ("{who: {}}", "3:5: policy.rules[0].may: may is missing; add it"),
        ("{who: {projekt: a}, may: nothing}", "3:12: policy.rules[0].who.projekt: unknown key 'projekt'; did you"),
        ("{who: {project: }, may: nothing}", "project must be a list"),
        ("{who: {project: ''}, may: nothing}", 'must not be empty; write "*" for any'),
        ("{who: {project: '{{engine}}'}, may: nothing}", "; use placeholders below 'may', not below 'who'"),
        ("{who: {label: team=a}, may: nothing}", ": label must be a mapping, not text"),
        ("{who: {}, may: all}", "write nothing, or what is allowed: {hosts: [shop]}"),
        ("{who: {}, may: nothin}", "'nothin' does not say what a container may claim; did you mean 'nothing'?"),
        ("{who: {}, may: {hosts: '{{projct}}-*'}}", "'projct' is not a placeholder; did you mean 'project'?"),
        ("{who: {}, may: {hosts: [{project: a}]}}", "must be text, not a mapping"),
        ("{who: {}, may: {hosts: [true]}}", "must be text, not a boolean"),
        ("{who: {}, may: {hosts: '{{zz}}-*'}}", "'zz' is not a placeholder; the placeholders are "),
        ("{who: {}, may: {hosts: '{{project'}}", "has an incomplete placeholder"),
        ("{who: {}, may: {hosts: 'project}}'}}", "has an incomplete placeholder"),
        ("{who: {}, may: {hosts: '}{{project}}}'}}", "has an incomplete placeholder"),
        ("{who: {}, may: {hosts: 'https://a'}}", "'https://a' is not a host"),
        ("{who: {}, may: {targets: '10.0.0.0/99'}}", "'10.0.0.0/99' is not a target; write a host, address or network"),
        ("{who: {}, may: {ports: 70000}}", "'70000' is not a port or a range of ports"),
        ("{who: {}, may: {ports: [9100-9000]}}", "is not a port or a range of ports; write one such as"),
        ("{who: {}, may: {files: /srv/../etc}}", "'/srv/../etc' leads out of its folder; write the folder without .."),
        ("{who: {}, may: {middlewares: oidcc}}", "'oidcc' is not a middleware; did you mean 'oidc'?"),
        ("{who: {}, may: {pools: 'a b'}}", "'a b' is not a host"),
    ],
)  # fmt: skip
def test_errors_are_reported_with_their_place_and_a_remedy(tmp_path: Path, rule: str, error: str) -> None:
    (found,) = errors(tmp_path, f"policy:\n  rules:\n  - {rule}\n")
    assert found.startswith("3:")
    assert error in found


@pytest.mark.parametrize(
    ("gateway", "error"),
    [
        ("targets: all", "'all' is not a valid targets"),
        ("stream_ports: [http]", "'http' is not a port or a range of ports"),
        ("label_files: [../x]", "'../x' is not a folder"),
        ("label_files: [' ']", "' ' is not a folder"),
        ("label_roots: [../x]", "'../x' is not a folder"),
        ("label_file: [x]", "unknown key 'label_file'; did you mean 'label_files'?"),
    ],
)
def test_errors_in_the_built_in_limits_are_reported(tmp_path: Path, gateway: str, error: str) -> None:
    (found,) = errors(tmp_path, f"gateway:\n  {gateway}\n")
    assert found.startswith("2:")
    assert error in found


def test_a_wrong_default_is_reported(tmp_path: Path) -> None:
    (found,) = errors(tmp_path, "policy: {default: den}")
    assert "'den' is not a valid default; did you mean 'deny'?" in found
