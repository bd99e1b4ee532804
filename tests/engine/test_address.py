from __future__ import annotations

import pytest

from pilotage.core.errors import ConfigError
from pilotage.engine.address import LOCAL_SOCKET, Address, environment_tls, is_local, parse_address, url_hostname
from pilotage.engine.config import DockerProviderConfig, TLSFiles
from tests.support.style import assert_style

FILES = TLSFiles(ca_file="/ca.pem", cert_file="/cert.pem", key_file="/key.pem")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("unix:///var/run/docker.sock", Address("unix", path="/var/run/docker.sock")),
        ("unix:///" + "x" * 106, Address("unix", path="/" + "x" * 106)),
        ("unix:///" + "x" * 107, None),
        ("unix:///with a%20b", None),
        ("tcp://host:2375", Address("tcp", host="host", port=2375)),
        ("TCP://HOST:2375", Address("tcp", host="host", port=2375)),
        ("tcp://host", Address("tcp", host="host", port=2375)),
        ("http://host:80", Address("tcp", host="host", port=80)),
        ("http://host:80/engines/one/", Address("tcp", host="host", port=80, path="/engines/one")),
        ("https://host", Address("tls", host="host", port=2376)),
        ("tcp://[::1]:2375", Address("tcp", host="::1", port=2375)),
        ("tcp://[0:0:0:0:0:0:0:1]:2375", Address("tcp", host="::1", port=2375)),
        ("ssh://host", Address("ssh", host="host")),
        ("ssh://me@Host:22", Address("ssh", host="Host", port=22, user="me")),
        ("ssh://me@[fe80::1]/", Address("ssh", host="fe80::1", user="me")),
        ("ssh://host/run/my%20docker.sock", Address("ssh", host="host", path="/run/my docker.sock")),
        ("agent://host:8890", Address("agent", host="host", port=8890)),
        ("context://far", Address("context", host="far")),
    ],
)
def test_a_url_becomes_an_address(url: str, address: Address | None) -> None:
    if address is None:
        with pytest.raises(ConfigError):
            parse_address(DockerProviderConfig(url))
    else:
        assert parse_address(DockerProviderConfig(url)) == address


@pytest.mark.parametrize("url", ["tls://host", "https://host", "tcp://host:2376"])
def test_the_same_engine_with_the_same_files_has_one_address_however_it_is_written(url: str) -> None:
    assert parse_address(DockerProviderConfig(url, FILES)) == Address("tls", host="host", port=2376, tls=FILES)


@pytest.mark.parametrize(
    ("url", "says", "suggests"),
    [
        ("", "address is empty", "write unix:///var/run/docker.sock, or remove the engine"),
        ("/var/run/docker.sock", "has no scheme", "write unix:///var/run/docker.sock"),
        ("docker.sock", "has no scheme", "write unix:// and the socket's full path"),
        ("unix:/run/docker.sock", "has no scheme", "write unix:///run/docker.sock"),
        ("host:2375", "has no scheme", "write tcp://host:2375"),
        ("10.0.0.1:2375", "has no scheme", "write tcp://10.0.0.1:2375"),
        ("[::1]:2375", "has no scheme", "write tcp://[::1]:2375"),
        ("ssh:me@host", "has no scheme", "write ssh://me@host"),
        ("host", "has no scheme", "write ssh://host or tcp://host:2375"),
        ("unix://run/docker.sock", "needs the full path of the socket", "write unix:///run/docker.sock"),
        (
            "unix:///" + "x" * 108,
            "has 109 bytes, but Unix sockets allow at most 107",
            "use a shorter path, for example through a symbolic link to its directory",
        ),
        ("npipe:////./pipe/docker_engine", "only Windows supports", "use ssh://, or tls:// with certificates"),
        ("fd://", "tells an engine where to listen", "write unix:///var/run/docker.sock"),
        ("tpc://host:2375", "has the scheme 'tpc'", "did you mean 'tcp'?"),
        ("gopher://host", "has the scheme 'gopher'", "use one of unix, tcp, tls, http, https, ssh, agent, context"),
        ("tcp://", "has no host", "write tcp://127.0.0.1"),
        ("tcp://:2375", "has no host", "write tcp://127.0.0.1:2375"),
        ("tcp://host:0", "port 0", "write a port between 1 and 65535"),
        (
            "tcp://host:99999",
            "no valid host and port",
            "write a port between 1 and 65535, and IPv6 addresses in brackets, as in tcp://[fd00::1]:2375",
        ),
        (
            "tcp://::1:2375",
            "no valid host and port",
            "write a port between 1 and 65535, and IPv6 addresses in brackets, as in tcp://[fd00::1]:2375",
        ),
        (
            "tcp://[::1:2375",
            "no valid host and port",
            "write a port between 1 and 65535, and IPv6 addresses in brackets, as in tcp://[fd00::1]:2375",
        ),
        ("tcp://me@host:2375", "does not take a user name", "remove everything before the @"),
        ("tcp://host:2375?x=1", "a query (?) has no meaning", "remove it"),
        ("ssh://host#x", "a fragment (#) has no meaning", "remove it"),
        ("ssh://me:secret@host", "cannot contain a password", "set up a key (ssh-copy-id) and remove the password"),
        ("ssh://-oProxyCommand=evil", "cannot start with a dash", "check the address"),
        ("ssh://-lroot@host", "cannot start with a dash", "check the address"),
        ("agent://host", "is not an agent address", "write agent://host:8890"),
        ("context://", "has no context name", "write context://NAME; `docker context ls` lists them"),
        (
            "tls://host:2376",
            "needs certificate files",
            "add `tls:` with ca_file, cert_file and key_file, or write https:// to trust the system's CAs",
        ),
        ("tcp://host:2375 ", "contains the character ' '", "remove it"),
        ("tcp://ho\nst", "contains the character '\\n'", "remove it"),
        ("tcp://ho\x00st", "contains the character '\\x00'", "remove it"),
        ("tcp://ho\u202est", "contains the character", "remove it"),
    ],
)
def test_an_invalid_address_reports_the_error_and_a_remedy(url: str, says: str, suggests: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(DockerProviderConfig(url, name="far"))
    (problem,) = caught.value.problems
    assert says in problem.message.replace("\\\\", "\\")
    assert problem.hint == suggests
    assert problem.provider == "far"
    assert_style(problem)


def test_a_password_is_not_repeated_in_the_message() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(DockerProviderConfig("ssh://me:secret@host"))
    assert "secret" not in repr(caught.value.problems)


@pytest.mark.parametrize(
    ("url", "tls", "says", "path"),
    [
        ("tcp://h", TLSFiles(cert_file="/c"), "cert_file is set without key_file", "tls.key_file"),
        ("tcp://h", TLSFiles(key_file="/k"), "key_file is set without cert_file", "tls.cert_file"),
        ("unix:///s", FILES, "do not apply to unix://", "tls"),
        ("ssh://h", FILES, "do not apply to ssh://", "tls"),
        ("http://h", FILES, "do not apply to http://", "tls"),
    ],
)
def test_certificate_files_must_match_each_other_and_the_scheme(url: str, tls: TLSFiles, says: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(DockerProviderConfig(url, tls))
    (problem,) = caught.value.problems
    assert says in problem.message
    assert problem.path == path


@pytest.mark.parametrize("url", ["$DOCKER_HOST", "${DOCKER_HOST}"])
def test_docker_host_expands_to_its_value_or_the_local_socket(url: str) -> None:
    config = DockerProviderConfig(url)
    assert parse_address(config, {"DOCKER_HOST": "tcp://h:1"}) == Address("tcp", host="h", port=1)
    assert parse_address(config, {"DOCKER_HOST": ""}).url == LOCAL_SOCKET
    assert parse_address(config).url == LOCAL_SOCKET


def test_the_docker_clis_tls_variables_apply_only_to_the_engine_of_docker_host() -> None:
    env = {"DOCKER_HOST": "tcp://h:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
    files = TLSFiles(ca_file="/certs/ca.pem", cert_file="/certs/cert.pem", key_file="/certs/key.pem")
    assert parse_address(DockerProviderConfig("tcp://h:2376"), env).tls == files
    assert parse_address(DockerProviderConfig("$DOCKER_HOST"), env).tls == files
    assert parse_address(DockerProviderConfig("tcp://other:2376"), env).tls is None
    assert parse_address(DockerProviderConfig("tcp://h:2376", FILES), env).tls == FILES
    assert parse_address(DockerProviderConfig("tcp://h:2376"), env | {"DOCKER_TLS_VERIFY": ""}).tls is None


def test_without_a_certificate_path_the_docker_clis_folder_is_used() -> None:
    found = environment_tls({"DOCKER_TLS_VERIFY": "1", "HOME": "/home/me"})
    assert found is not None
    assert found.ca_file == "/home/me/.docker/ca.pem"


def test_the_key_tells_certificate_files_apart_and_the_url_does_not_show_them() -> None:
    address = parse_address(DockerProviderConfig("tcp://[::1]:2376", FILES))
    assert str(address) == address.url == "tls://[::1]:2376"
    assert address.key == "tls://[::1]:2376#ca=/ca.pem,cert=/cert.pem,key=/key.pem"
    skipping = Address("tls", host="h", port=1, tls=TLSFiles(verify=False))
    assert skipping.key == "tls://h:1#unverified"
    assert Address("ssh", host="h", port=22, user="me", path="/s").url == "ssh://me@h:22/s"


@pytest.mark.parametrize(
    ("url", "docker_host", "local"),
    [
        ("unix:///any", "", True),
        ("", "", True),
        ("", "tcp://h", False),
        ("tcp://far:2375", "tcp://far:2375", True),
        ("tcp://far:2375", "tcp://FAR:2375", False),
        ("tcp://localhost:2375", "", True),
        ("tcp://LOCALHOST:2375", "", True),
        ("tcp://127.8.8.8:2375", "", True),
        ("tcp://0.0.0.0:2375", "", True),
        ("tcp://[::]:2375", "", True),
        ("ssh://me@[::1]", "", True),
        ("agent://127.0.0.1:8890", "", True),
        ("agent://10.0.0.1:8890", "", False),
        ("tcp://10.0.0.1:2375", "", False),
        ("tcp://localhost.example:2375", "", False),
        ("tcp://[::1", "", False),
        ("nonsense", "", False),
    ],
)
def test_an_engine_is_local_by_its_socket_its_variable_or_its_address(url: str, docker_host: str, local: bool) -> None:
    assert is_local(url, {"DOCKER_HOST": docker_host}) is local


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("tcp://far:2375", "far"),
        ("ssh://me:pw@Far:22/path", "far"),
        ("tcp://[fd00::1]:2375", "fd00::1"),
        ("unix:///s", ""),
        ("tcp://:2375", ""),
        ("name", ""),
        ("", ""),
        ("10.0.0.1:2375", "127.0.0.1"),
        ("tcp://[::1", "127.0.0.1"),
        ("tcp://h:port", "127.0.0.1"),
    ],
)
def test_the_host_of_a_url_has_neither_user_nor_port_nor_brackets(url: str, host: str) -> None:
    assert url_hostname(url) == host


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ssh://a;b", "the host 'a;b' of an ssh address contains ';'"),
        ("ssh://$(id)", "the host '$(id)' of an ssh address contains '$'"),
        ("ssh://`id`@host", "the user '`id`' of an ssh address contains '`'"),
        ("ssh://me%20x@host", "the user 'me x' of an ssh address contains ' '"),
        ("ssh://h\u00f6st", "the host 'h\u00f6st' of an ssh address contains"),
        ("ssh://%25h@host", "the user '%h' of an ssh address contains '%'"),
        ("ssh://a'b@host", "of an ssh address contains"),
    ],
)
def test_host_and_user_of_ssh_have_only_the_characters_of_such_names(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(DockerProviderConfig(url))
    assert said in str(caught.value)
    assert "use letters, digits" in str(caught.value)


@pytest.mark.parametrize("url", ["ssh://nas", "ssh://Me.x-y_1@my_host.lan:22", "ssh://[fd00::1]", "ssh://a@b.c@host"])
def test_usual_ssh_addresses_are_accepted(url: str) -> None:
    assert parse_address(DockerProviderConfig(url)).scheme == "ssh"


def test_a_refused_host_or_user_of_ssh_has_a_remedy() -> None:
    for url in ("ssh://a;b", "ssh://a;b@host"):
        with pytest.raises(ConfigError) as caught:
            parse_address(DockerProviderConfig(url))
        assert caught.value.problems[0].hint == (
            "use letters, digits, dots, dashes and underscores; other names need a Host entry in ~/.ssh/config"
        )


@pytest.mark.parametrize(
    ("url", "tls", "hint"),
    [
        ("tcp://h", TLSFiles(cert_file="/c"), "add key_file"),
        ("tcp://h", TLSFiles(key_file="/k"), "add cert_file"),
        ("unix:///s", FILES, "remove `tls:`"),
        ("http://h", FILES, "write https:// or tcp://"),
    ],
)
def test_certificate_files_that_do_not_fit_have_a_remedy(url: str, tls: TLSFiles, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(DockerProviderConfig(url, tls))
    assert caught.value.problems[0].hint == hint
