from __future__ import annotations

import ctypes
import hashlib
import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from pilotage.gateway import client_limit
from pilotage.gateway.client_limit import envoy_environment, module_folder
from tests.support.install import EngineUnavailable
from tests.support.required import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

NATIVE: Final = Path(client_limit.__file__).parent / "native"

# Stands for Envoy: a filter of Envoy is the address of its client.
_ENVOY: Final = """
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
struct text { const char *start; size_t length; };
int refusals = 0;
static bool address(void *filter, struct text *text, uint32_t *port) {
    text->start = filter;
    text->length = strlen(filter);
    *port = 1;
    return text->length > 0;
}
bool envoy_dynamic_module_callback_listener_filter_get_direct_remote_address(void *f, struct text *t, uint32_t *p) {
    return address(f, t, p);
}
bool envoy_dynamic_module_callback_network_filter_get_direct_remote_address(void *f, struct text *t, uint32_t *p) {
    return address(f, t, p);
}
void envoy_dynamic_module_callback_listener_filter_close_socket(void *f, struct text t) { }
void envoy_dynamic_module_callback_network_filter_close(void *f, int type) { }
int envoy_dynamic_module_callback_listener_filter_config_define_counter(void *c, struct text t, size_t *id) {
    *id = 7;
    return 0;
}
int envoy_dynamic_module_callback_listener_filter_increment_counter(void *f, size_t id, uint64_t value) {
    refusals += id == 7 ? value : 1000;
    return 0;
}
"""


class Text(ctypes.Structure):
    _fields_ = [("start", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class Connection:
    """A connection, from the moment it is accepted. Envoy destroys its listener filter around the time it is set up."""

    def __init__(self, module: Module, address: str) -> None:
        self.module, self.address = module, address.encode()
        self.accepting = module("listener_filter_new", module.accepts, self.address)
        self.counting: int | None = None
        self.is_in = module("listener_filter_on_accept", self.address, self.accepting) == 0

    def set_up(self) -> None:
        self.counting = self.module("network_filter_new", self.module.counts, self.address)
        self.is_in = self.module("network_filter_new_connection", self.address, self.counting) == 0

    def settle(self) -> None:
        """Destroy the listener filter."""
        if self.accepting is not None:
            self.module("listener_filter_destroy", self.accepting)
        self.accepting = None

    def close(self) -> None:
        if self.counting is not None:
            self.module("network_filter_destroy", self.counting)
        self.counting = None


class Module:
    """The module, compiled for this test, as Envoy calls it."""

    def __init__(self, library: Any, settings: str = "2") -> None:
        self.library = library
        self.accepts = self.configure(settings)
        self.counts = self("network_filter_config_new", None, Text(), self._text(settings))

    def __call__(self, name: str, *arguments: Any) -> Any:
        function = getattr(self.library, f"envoy_dynamic_module_on_{name}")
        function.restype = ctypes.c_int if name.endswith(("on_accept", "new_connection")) else ctypes.c_void_p
        return function(*[ctypes.c_void_p(it) if isinstance(it, int) else it for it in arguments])

    def configure(self, settings: str) -> Any:
        return self("listener_filter_config_new", None, Text(), self._text(settings))

    @staticmethod
    def _text(text: str) -> Text:
        return Text(text.encode(), len(text))

    def connect(self, address: str) -> Connection:
        """Accept a connection, and set it up unless it is refused."""
        made = Connection(self, address)
        if made.is_in:
            made.set_up()
        made.settle()
        return made


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    compiler = shutil.which("cc")
    if compiler is None:
        missing(EngineUnavailable("there is no C compiler"))
    folder = tmp_path_factory.mktemp("module")
    (folder / "envoy.c").write_text(_ENVOY)
    strict = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-shared", "-fPIC"]
    files = [str(NATIVE / "client_limit.c"), str(folder / "envoy.c")]
    subprocess.run([compiler, *strict, "-o", str(folder / "module.so"), *files], check=True)
    return ctypes.CDLL(str(folder / "module.so"))


@pytest.mark.parametrize(
    ("first", "second", "are_one"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8::1", "192.0.2.1", False),
        ("::1", "::2", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_a_client_is_an_ipv4_address_or_the_network_of_an_ipv6_address(
    library: Any, first: str, second: str, are_one: bool
) -> None:
    module = Module(library, "1")
    one = module.connect(first)
    other = module.connect(second)
    assert one.is_in
    assert other.is_in is not are_one
    one.close()
    other.close()


def test_a_client_may_connect_again_once_it_has_closed_a_connection(library: Any) -> None:
    module = Module(library)
    refused = ctypes.c_int.in_dll(library, "refusals")
    before = refused.value
    made = [module.connect("192.0.2.1") for _ in range(4)]
    assert [it.is_in for it in made] == [True, True, False, False]
    assert refused.value - before == 2
    assert module.connect("192.0.2.2").is_in
    made[1].close()
    assert module.connect("192.0.2.1").is_in
    assert not module.connect("192.0.2.1").is_in


def test_a_connection_counts_once_though_two_filters_know_it(library: Any) -> None:
    module = Module(library)
    first, second = Connection(module, "192.0.2.7"), Connection(module, "192.0.2.7")
    assert second.is_in
    for it in (first, second):
        it.set_up()
    first.close()  # before Envoy has destroyed its listener filter
    third = Connection(module, "192.0.2.7")
    assert third.is_in
    for it in (first, second, third):
        it.settle()
    assert module.connect("192.0.2.7").is_in  # the second, and this one
    assert not module.connect("192.0.2.7").is_in


def test_the_limit_holds_if_envoy_destroys_listener_filters_first(library: Any) -> None:
    module = Module(library)
    made = [Connection(module, "192.0.2.11") for _ in range(2)]
    made[1].settle()
    made.append(Connection(module, "192.0.2.11"))  # accepted by another thread, before the second is set up
    assert all(it.is_in for it in made)
    for it in reversed(made):
        it.settle()
        it.set_up()
    assert [it.is_in for it in made].count(True) == 2
    for it in made:
        it.close()
    assert [module.connect("192.0.2.11").is_in for _ in range(3)] == [True, True, False]


def test_clients_in_unlimited_networks_and_on_unix_sockets_are_not_counted(library: Any) -> None:
    module = Module(library, "1 ::ffff:10.1.0.0/112 2001:db8::/33 ::/127")
    for address in ("10.1.2.3", "2001:db8:7fff::1", "::1", "", "/run/socket"):
        assert [module.connect(address).is_in for _ in range(3)] == [True] * 3
    for address in ("10.2.2.3", "2001:db8:8000::1", "::2"):
        assert [module.connect(address).is_in for _ in range(2)] == [True, False]


def test_the_list_of_unlimited_networks_may_change_while_connections_are_set_up(library: Any) -> None:
    limited, unlimited = Module(library), Module(library, "2 ::ffff:192.0.2.9/128")
    for before, after in ((limited, unlimited), (unlimited, limited)):
        made = Connection(before, "192.0.2.9")
        made.module = after
        made.set_up()
        made.settle()
        made.close()
    assert [limited.connect("192.0.2.9").is_in for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("text", ["", "0", "x", "-1", "5 ", "5 ::", "5 ::/129", "5 10.0.0.0/8/8", "5 ::/0x", "5  ::/0"])
def test_a_configuration_with_an_error_is_rejected(library: Any, text: str) -> None:
    assert Module(library).configure("5 ::/0")
    assert not Module(library).configure(text)


@pytest.mark.parametrize("lingers", [False, True])
def test_in_any_order_of_events_the_count_is_right(library: Any, lingers: bool) -> None:
    """If listener filters linger, a count may be too high until they are gone, but not afterwards."""
    chance = random.Random(4)
    module = Module(library, "5")
    addresses = [f"198.51.100.{number}" for number in range(250)]
    live: list[Connection] = []
    for _ in range(20_000):
        if chance.random() < 0.5:
            made = Connection(module, chance.choice(addresses[: chance.choice((3, 250))]))
            counted = sum(1 for it in live if it.address == made.address)
            assert made.is_in is (counted < 5) or lingers
            if made.is_in:
                live.append(made)
            else:
                made.settle()
        elif live:
            it = chance.choice(live)
            if it.accepting is not None and it.counting is None and chance.random() < 0.7:
                it.set_up()
                if not lingers:
                    it.settle()
            elif it.accepting is not None and it.counting is not None and chance.random() < 0.5:
                it.settle()
            else:  # closed in either phase
                it.close()
                it.settle()
                live.remove(it)
    for it in live:
        it.close()
        it.settle()
    for address in addresses:
        last = [module.connect(address) for _ in range(6)]
        assert [it.is_in for it in last] == [True] * 5 + [False]
        for it in last:
            it.close()


def test_the_modules_belong_to_the_source() -> None:
    """After a change of the source, run scripts/native, which writes these sums."""
    lines = [line.split() for line in (NATIVE / "SHA256SUMS").read_text().splitlines()]
    sums = {name: found for found, name in lines}
    assert sums == {name: hashlib.sha256((NATIVE / name).read_bytes()).hexdigest() for name in sums}
    assert sorted(sums) == ["aarch64/libpilotage_clients.so", "client_limit.c", "x86_64/libpilotage_clients.so"]


@pytest.mark.parametrize(
    ("machine", "folder"),
    [("x86_64", "x86_64"), ("amd64", "x86_64"), ("aarch64", "aarch64"), ("arm64", "aarch64"), ("riscv64", "")],
)
def test_the_module_is_for_the_kind_of_processor(machine: str, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert module_folder() == (str(NATIVE / folder) if folder else "")
    assert envoy_environment().get("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", "") == module_folder()
    assert envoy_environment()["PATH"]
