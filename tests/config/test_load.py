from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.config.load import Config, load_config, read_config
from pilotage.core.errors import ConfigError
from pilotage.engine.config import DockerProviderConfig, TLSFiles

if TYPE_CHECKING:
    from pilotage.core.problems import Problem


class Reader:
    """Reads texts as ``pilotage.yml`` in a folder that holds three certificate files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("ca.pem", "cert.pem", "key.pem"):
            (folder / name).touch()

    def config(self, text: str, **env: str) -> Config:
        return read_config(text, file="pilotage.yml", folder=self.folder, env=env)

    def engines(self, *lines: str, **env: str) -> tuple[DockerProviderConfig, ...]:
        return self.config(under_docker(*lines), **env).providers

    def problems_with(self, *lines: str, **env: str) -> list[Problem]:
        return self.problems_of(under_docker(*lines), **env)

    def problems_of(self, text: str, **env: str) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            self.config(text, **env)
        return list(caught.value.problems)


def under_docker(*lines: str) -> str:
    """Lines below ``providers.docker``: the first is line 3 of the text, and column 5 its first."""
    return "providers:\n  docker:\n" + "".join(f"    {line}\n" for line in lines)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


# ---- what is right -------------------------------------------------------------------------------------------------


def test_engines_are_given_as_urls_in_the_order_of_the_file(reader: Reader) -> None:
    assert reader.engines("zeta: unix:///run/z.sock", "alpha: ssh://me@host:22/run/a.sock") == (
        DockerProviderConfig("unix:///run/z.sock", name="zeta"),
        DockerProviderConfig("ssh://me@host:22/run/a.sock", name="alpha"),
    )


@pytest.mark.parametrize(
    ("mapping", "url"),
    [
        ("{scheme: tcp, host: 10.0.0.2, port: 2375}", "tcp://10.0.0.2:2375"),
        ("{scheme: http, host: node1, port: '2375'}", "http://node1:2375"),
        ("{scheme: tcp, host: node-1.lan}", "tcp://node-1.lan"),
        ("{scheme: https, host: 'fd00::1', port: 2376}", "https://[fd00::1]:2376"),
        ("{scheme: https, host: '[fd00::1]', port: 2376}", "https://[fd00::1]:2376"),
        ("{scheme: ssh, host: node1, port: 22, tls: null}", "ssh://node1:22"),
        ("{url: 'tcp://node1:1'}", "tcp://node1:1"),
    ],
)
def test_engines_are_given_as_mappings(reader: Reader, mapping: str, url: str) -> None:
    assert reader.engines(f"a: {mapping}") == (DockerProviderConfig(url, name="a"),)


def test_certificate_files_start_from_the_folder_of_the_configuration(reader: Reader) -> None:
    lines = ["a:", "  scheme: tls", "  host: node1", "  tls: {ca_file: ca.pem, cert_file: ~/cert.pem, key_file: /KEY}"]
    lines[-1] = lines[-1].replace("/KEY", str(reader.folder / "key.pem"))
    folder = str(reader.folder)
    assert reader.engines(*lines, HOME=folder)[0].tls == TLSFiles(
        ca_file=f"{folder}/ca.pem", cert_file=f"{folder}/cert.pem", key_file=f"{folder}/key.pem"
    )


def test_https_without_certificate_files_trusts_the_system(reader: Reader) -> None:
    assert reader.engines("a: https://node1:2376") == (DockerProviderConfig("https://node1:2376", name="a"),)


def test_a_name_with_an_exclamation_mark_keeps_it_and_means_explicit_only(reader: Reader) -> None:
    strict, open_ = reader.engines("a!: unix:///a.sock", "b: unix:///b.sock")
    assert (strict.name, strict.explicit_only, open_.explicit_only) == ("a!", True, False)


def test_variables_stand_for_parts_of_values_and_for_numbers(reader: Reader) -> None:
    env = {"NODE": "n1", "PORT": "2375"}
    both = reader.engines("a: tcp://${NODE}:${PORT}", "b: {scheme: tcp, host: '${NODE}', port: '${PORT}'}", **env)
    assert [engine.url for engine in both] == ["tcp://n1:2375", "tcp://n1:2375"]


@pytest.mark.parametrize("value", ["$DOCKER_HOST", "${DOCKER_HOST}", "{url: $DOCKER_HOST}"])
def test_docker_host_falls_back_to_the_local_socket(reader: Reader, value: str) -> None:
    assert reader.engines(f"local: {value}")[0].url == "unix:///var/run/docker.sock"
    assert reader.engines(f"local: {value}", DOCKER_HOST="tcp://d:2375")[0].url == "tcp://d:2375"


def test_the_certificates_of_docker_host_count_for_docker_host(reader: Reader) -> None:
    env = {"DOCKER_HOST": "tls://d:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
    assert reader.engines("local: $DOCKER_HOST", **env)[0].url == "tls://d:2376"


@pytest.mark.parametrize("text", ["", "# all commented out", "providers:", "providers: {}", "providers: {docker: }"])
def test_a_file_without_engines_is_fine(reader: Reader, text: str) -> None:
    assert reader.config(text) == Config(has_providers="providers" in text)


def test_anchors_and_merge_keys_work(reader: Reader) -> None:
    first, second = reader.engines("a: &a {scheme: tcp, host: n1, port: 1}", "b: {<<: *a, host: n2}")
    assert (first.url, second.url) == ("tcp://n1:1", "tcp://n2:1")


# ---- what is wrong -------------------------------------------------------------------------------------------------


def test_a_misspelt_key_is_reported_with_place_and_suggestion(reader: Reader) -> None:
    (problem,) = reader.problems_with("local:", "  sheme: tcp", "  host: n1")
    assert str(problem) == (
        "pilotage.yml:4:7: providers.docker.local.sheme: unknown key 'sheme'; did you mean 'scheme'?"
    )


def test_an_unknown_key_is_reported_with_the_known_ones(reader: Reader) -> None:
    (problem,) = reader.problems_with("local: {scheme: tcp, host: n1, tls: {ca_file: ca.pem, passphrase: x}}")
    assert problem.hint == "the valid keys are ca_file, cert_file, key_file"
    assert problem.path == "providers.docker.local.tls.passphrase"


def test_all_errors_of_a_file_are_reported_in_order(reader: Reader) -> None:
    found = reader.problems_with(
        "a: ${NOPE}",
        "b: {scheme: tpc, host: n1, port: 70000}",
        "c: 10.0.0.2:2375",
        "d: {scheme: tcp, host: 'n 1', tls: {ca_file: gone.pem}}",
        "e: [1]",
        "f: tcp://fine:1",
    )
    assert [(problem.line, problem.column, problem.value) for problem in found] == [
        (3, 8, "${NOPE}"),
        (4, 17, "tpc"),
        (4, 38, "70000"),
        (5, 8, "10.0.0.2:2375"),
        (6, 28, "n 1"),
        (6, 50, "gone.pem"),
        (7, 8, ""),
    ]


@pytest.mark.parametrize(
    ("line", "column", "said", "remedy"),
    [
        ("a: ''", 8, "is empty", "unix:///var/run/docker.sock"),
        ("a:", 7, "is empty", "unix:///var/run/docker.sock"),
        ("a: /var/run/docker.sock", 8, "has no scheme", "unix:///var/run/docker.sock"),
        ("a: node1:2375", 8, "has no scheme", "tcp://node1:2375"),
        ("a: npipe:////./pipe/docker", 8, "npipe", "ssh://"),
        ("a: tpc://node1:2375", 8, "'tpc'", "'tcp'"),
        ("a: ssh://root:1234@node1", 8, "password", "key"),
        ("a: tls://node1:2376", 8, "needs certificate files", "https://"),
        ("a: {url: 'tls://node1:2376'}", 14, "needs certificate files", "https://"),
        ("a: {scheme: tls, host: node1}", 8, "needs certificate files", "https://"),
        ("a: {url: 'tcp://n:1', host: n}", 27, "host and url cannot be combined", "remove host"),
        ("a: {scheme: unix, host: n}", 17, "no host and port", "a: unix:///var/run/docker.sock"),
        ("a: {scheme: tcp}", 5, "host is missing", "tcp://10.0.0.2:2375"),
        ("a: {host: n1}", 5, "scheme is missing", "tcp://n1:2375"),
        ("a: {scheme: tcp, host: 'tcp://n1'}", 28, "is not a host", "only"),
        ("a: {scheme: tcp, host: n1, port: 0}", 38, "port 0 is out of range", "between 1 and 65535"),
        ("a: {scheme: tcp, host: n1, port: 2375x}", 38, "must be a whole number, not '2375x'", ""),
        ("a: {scheme: tcp, host: 7}", 28, "must be text, not a number", ""),
        ("a: {scheme: tcp, host: n1, tls: ca.pem}", 37, "must be a mapping, not 'ca.pem'", ""),
        ("a: {scheme: tcp, host: n1, tls: {}}", 32, "tls contains no file", "ca_file"),
        (
            "a: {scheme: tcp, host: n1, tls: {cert_file: cert.pem}}",
            32,
            "cert_file is set without key_file",
            "add key_file",
        ),
        ("a: {url: 'ssh://n1', tls: {ca_file: ca.pem}}", 31, "do not apply to ssh://", "remove"),
        ("a: 5", 8, "cannot be a number", "url and tls"),
        ("'': tcp://n:1", 5, "'' is not a valid engine name", "`local`"),
        ("'!': tcp://n:1", 5, "'!' is not a valid engine name", "`local`"),
    ],
)
def test_an_error_of_an_engine_is_reported_once_with_place_and_remedy(
    reader: Reader, line: str, column: int, said: str, remedy: str
) -> None:
    (problem,) = reader.problems_with(line)
    assert (problem.file, problem.line, problem.column) == ("pilotage.yml", 3, column)
    assert said in problem.message
    assert remedy in problem.hint
    assert not problem.hint[:1].isupper()
    assert not problem.message[:1].isupper()


def test_a_password_is_not_repeated(reader: Reader) -> None:
    (problem,) = reader.problems_with("a: ssh://root:hunter2@node1")
    assert "hunter2" not in f"{problem}{problem.value}"


def test_an_unset_variable_is_reported_once_by_name(reader: Reader) -> None:
    (problem,) = reader.problems_with("a: {scheme: tcp, host: '${NODE}', port: 1}")
    assert str(problem) == (
        "pilotage.yml:3:28: providers.docker.a.host: the environment variable NODE is not set; "
        "set NODE, or write ${NODE:-default}"
    )


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("providers: 3", (1, 12), "providers must be a mapping, not a number"),
        ("providers: {docker: [a]}", (1, 21), "docker must be a mapping, not a list"),
        ("[1]", (1, 1), "the file must be a mapping, not a list"),
        ("provders: {}", (1, 1), "unknown key 'provders'"),
        ("a: b: c", (1, 5), "not valid YAML"),
        ("providers: {docker: {a: 'tcp://n:1', a: 'tcp://n:2'}}", (1, 38), "duplicate key 'a'"),
    ],
)
def test_an_error_of_the_file_is_reported_with_its_place(
    reader: Reader, text: str, place: tuple[int, int], said: str
) -> None:
    (problem,) = reader.problems_of(text)
    assert (problem.line, problem.column) == place
    assert said in problem.message


def test_keys_that_only_godoxy_reads_are_warnings(reader: Reader) -> None:
    config = reader.config("homepage: {}\nproviders:\n  include: [a]\n  docker: {a: 'tcp://n:1'}\n")
    assert [engine.name for engine in config.providers] == ["a"]
    assert [(p.severity, p.line, p.column, p.path) for p in config.problems] == [
        ("warning", 1, 1, "homepage"),
        ("warning", 3, 3, "providers.include"),
    ]
    assert all("a GoDoxy field that pilotage does not support" in problem.message for problem in config.problems)


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("acl", "{default: deny}"),
        ("entrypoint", "{middlewares: [{use: oidc}]}"),
        ("entrypoint", "{rules: [{on: path /}]}"),
    ],
)
def test_a_file_whose_protection_would_be_lost_is_refused(reader: Reader, key: str, content: str) -> None:
    (problem,) = reader.problems_of(f"{key}: {content}\nproviders: {{docker: {{a: 'tcp://n:1'}}}}\n")
    assert (problem.severity, problem.path) == ("error", key)
    assert "a GoDoxy field that pilotage does not support" in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "acl: {}",
        "entrypoint: {support_proxy_protocol: false}",
        "entrypoint: {middlewares: []}",
        "webui: {aliases: [godoxy]}",
        "defaults: {token: '${CF_TOKEN}'}",
    ],
)
def test_a_section_of_godoxy_that_keeps_nobody_out_is_a_warning(text: str) -> None:
    text += "\nproviders: {docker: {a: 'tcp://n:1'}}\n"
    (problem,) = read_config(text, file="f.yml", folder=Path(), env={}).problems
    assert (problem.severity, problem.line) == ("warning", 1)
    assert "is a GoDoxy field that pilotage does not support, and has no effect" in problem.message


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["url", "tls", "host"]), inner),
    )
)
def test_any_file_gives_a_configuration_or_problems_with_places(value: object) -> None:
    problems: list[Problem] = []
    for tree in (
        value,
        {"providers": value},
        {"providers": {"docker": value}},
        {"providers": {"docker": {"a": value}}},
    ):
        try:
            config = read_config(json.dumps(tree), file="f.yml", folder=Path("/nonexistent"), env={})
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            problems.extend(config.problems)
    assert problems  # at the least, the last tree has no engine that could be used
    assert all(problem.file == "f.yml" and problem.line and problem.column for problem in problems)


# ---- files ---------------------------------------------------------------------------------------------------------


def test_certificate_paths_are_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    file = tmp_path / "pilotage.yml"
    file.write_text("\ufeffproviders: {docker: {ü: {url: 'tls://n:1', tls: {ca_file: ca.pem}}}}", encoding="utf-8")
    (engine,) = load_config(file, {}).providers
    assert engine == DockerProviderConfig("tls://n:1", TLSFiles(ca_file=str(tmp_path / "ca.pem")), "ü")


def test_an_unreadable_file_is_reported_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yml: cannot be read: No such file or directory; "):
        load_config(tmp_path / "gone.yml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, {})
    (tmp_path / "latin.yml").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ConfigError, match=r"latin\.yml: is not UTF-8 text"):
        load_config(tmp_path / "latin.yml", {})


# ---- files of routes


def test_files_of_routes_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    text = "providers:\n  files: [routes.d/*.yml, /srv/own.yml, ~/mine.yml~]\n"
    config = read_config(text, file="pilotage.yml", folder=tmp_path, env={"HOME": "/h"})
    assert config.files == (f"{tmp_path}/routes.d/*.yml", "/srv/own.yml", "/h/mine.yml~")


@pytest.mark.parametrize(("written", "files"), [("own.yml", ("own.yml",)), ("", ()), ("[]", ())])
def test_one_file_of_routes_needs_no_list(written: str, files: tuple[str, ...]) -> None:
    assert read_config(f"providers: {{files: {written}}}", file="x", folder=Path(), env={}).files == files


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{a: b}", "pilotage.yml:1:20: providers.files: files must be a list, not a mapping"),
        ("[1]", "pilotage.yml:1:21: providers.files[0]: each of files must be text, not a number"),
        ("['']", "pilotage.yml:1:21: providers.files[0]: the file name is empty; write a name such as routes.yml"),
    ],
)
def test_an_empty_file_name_is_an_error(written: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(f"providers: {{files: {written}}}", file="pilotage.yml", folder=Path(), env={})
    assert said in str(caught.value)


def test_godoxys_included_files_have_another_key() -> None:
    config = read_config("providers: {include: [a.yml]}", file="x", folder=Path(), env={})
    assert config.problems[0].hint == "list the files under providers.files"


def test_a_file_in_an_unreadable_directory_is_reported(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", closed)
    with pytest.raises(
        ConfigError, match=r"cannot read .*token: Permission denied; give this user access to its folder"
    ):
        reader.config("api: {token_file: token}")


def test_the_address_of_an_engine_with_another_error_is_not_judged(reader: Reader) -> None:
    (problem,) = reader.problems_with("a: {url: 'tpc://n:1', tls: {ca_file: gone.pem}}")
    assert "gone.pem" in problem.message


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
def test_a_missing_file_is_reported_at_its_key(reader: Reader, key: str) -> None:
    files = {"ca_file": "ca.pem", "cert_file": "cert.pem", "key_file": "cert.pem"} | {key: "gone.pem"}
    written = ", ".join(f"{name}: {file}" for name, file in files.items())
    (problem,) = reader.problems_with(f"a: {{url: 'tcp://n:1', tls: {{{written}}}}}")
    assert problem.path == f"providers.docker.a.tls.{key}"


def test_a_section_of_godoxy_that_restricts_access_is_an_error_only_where_godoxy_reads_it(reader: Reader) -> None:
    (problem,) = reader.problems_of("acl: {default: deny}\n")
    assert problem.message == "'acl' is a GoDoxy field that pilotage does not support"
    assert problem.hint == "remove it after restricting access in another way"
    (problem,) = reader.problems_of("providers: {acl: {default: deny}}\n")
    assert problem.message == "unknown key 'acl'"
    (problem,) = reader.problems_of("providers: {acl: {}}\n")
    assert problem.message == "unknown key 'acl'"


def test_a_configuration_that_is_not_there_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "gone.yml", {})
    assert caught.value.problems[0].hint.startswith("correct the name after --config")
    assert not Config().has_providers


def test_errors_in_a_list_that_is_ignored_are_not_reported(reader: Reader) -> None:
    assert reader.config("providers: {notification: ['${GONE}', {token: '${GONE}'}]}\n").providers == ()
