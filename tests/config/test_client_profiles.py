from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from pilotage.config.load import read_config
from pilotage.core.errors import ConfigError
from pilotage.xds.client_profiles import ClientProfile
from tests.support.gateway import route

if TYPE_CHECKING:
    from pathlib import Path


def test_profiles_are_read_as_godoxy_writes_them(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    text = """
inbound_mtls_profiles:
  corp: {use_system_cas: false, ca_files: [ca.pem]}
  guests: {ca_files: ca.pem, optional: true}
"""
    config = read_config(text, file="pilotage.yml", folder=tmp_path, env={})
    path = str(tmp_path / "ca.pem")
    assert config.options.client_profiles == (
        ClientProfile("corp", (path,)),
        ClientProfile("guests", (path,), optional=True),
    )
    assert not config.problems


def test_an_unusable_profile_loses_nothing_else(tmp_path: Path) -> None:
    text = "debug: true\ninbound_mtls_profiles:\n  staff: {ca_files: [gone.pem]}\n  none: {}\n"
    config = read_config(text, file="pilotage.yml", folder=tmp_path, env={})
    assert config.options.debug
    found = [(it.line, it.severity, it.message) for it in config.problems]
    path = tmp_path / "gone.pem"
    served = "routes with this profile are not served"
    assert found == [
        (3, "warning", f"{served}: cannot read {path}: No such file or directory"),
        (4, "warning", f"{served}: it has no authority"),
    ]
    assert [bool(it.problem) for it in config.options.client_profiles] == [True, True]


_ENTRYPOINT = """
gateway: {tls: [{cert_file: ca.pem, key_file: ca.pem}]}
inbound_mtls_profiles: {corp: {ca_files: [ca.pem]}}
"""


@pytest.mark.parametrize("key", ["inbound_mtls_profile", "inboundMtlsProfile"])
def test_the_profile_of_the_entrypoint_is_for_all_routes(tmp_path: Path, key: str) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    text = f"{_ENTRYPOINT}entrypoint: {{{key}: corp}}\n"
    config = read_config(text, file="pilotage.yml", folder=tmp_path, env={})
    assert (config.options.client_profile, config.problems) == ("corp", ())
    policy = config.policy.gateway
    assert policy is not None
    assert policy.complete(route("app", 80)).settings.inbound_mtls_profile == "corp"
    empty = read_config(f"{_ENTRYPOINT}entrypoint: {{{key}: ''}}\n", file="pilotage.yml", folder=tmp_path, env={})
    assert (empty.options.client_profile, empty.problems) == ("", ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{_ENTRYPOINT}entrypoint: {{inbound_mtls_profile: crop}}", "there is no inbound mTLS profile 'crop'"),
        (f"{_ENTRYPOINT}entrypoint: {{inbound_mtls_profile: [corp]}}", "there is no inbound mTLS profile"),
        (
            "inbound_mtls_profiles: {corp: {ca_files: [ca.pem]}}\nentrypoint: {inbound_mtls_profile: corp}",
            "clients send certificates only over HTTPS, which the gateway does not serve",
        ),
        (
            f"{_ENTRYPOINT}entrypoint: {{inbound_mtls_profile: corp, middlewares: [{{use: oidc}}]}}",
            "'entrypoint' is a GoDoxy field that pilotage does not support",
        ),
    ],
)
def test_a_profile_of_the_entrypoint_that_cannot_be_required_is_an_error(
    tmp_path: Path, text: str, message: str
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    with pytest.raises(ConfigError) as error:
        read_config(text, file="pilotage.yml", folder=tmp_path, env={})
    (problem,) = error.value.problems
    assert problem.message.startswith(message)
    assert problem.path.startswith("entrypoint")
