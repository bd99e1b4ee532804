from __future__ import annotations

from pilotage.config.oidc_env import oidc_of_env, policy_of_env
from pilotage.policy import NO_POLICY
from tests.support.gateway import route

ENV = {"OIDC_ISSUER_URL": "https://id", "GODOXY_OIDC_CLIENT_ID": "gate", "PILOTAGE_OIDC_CLIENT_SECRET": "canary"}


def test_each_variable_may_have_another_prefix() -> None:
    found = oidc_of_env(ENV | {"GOPROXY_OIDC_ALLOWED_USERS": "ann, bob"})
    assert (found.issuer_url, found.client_id, found.client_secret) == ("https://id", "gate", "canary")
    assert found.allowed_users == ("ann", "bob")
    assert oidc_of_env({"OIDC_CLIENT_ID": "a", "GODOXY_OIDC_CLIENT_ID": "b"}).client_id == "b"


def test_a_key_of_sessions_must_be_long() -> None:
    assert oidc_of_env({"PILOTAGE_SESSION_KEY": "short", "API_JWT_SECRET": "x" * 32}).session_key == "x" * 32


def test_without_a_file_routes_inherit_from_the_environment() -> None:
    protected = route("app", 80, middlewares={"oidc": {"allowed_users": "ann"}})
    for env, served in ((ENV, True), ({}, False)):
        gateway = policy_of_env(NO_POLICY, env).gateway
        assert gateway is not None
        assert gateway(protected)[1] is served
