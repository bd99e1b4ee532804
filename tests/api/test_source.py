from __future__ import annotations

from pilotage.api.source import Source
from pilotage.daemon.daemon import Daemon
from tests.support.api_server import Told


def test_the_daemon_and_the_double_in_tests_provide_what_the_api_needs() -> None:
    needed = {name for name in {**vars(Source), **Source.__annotations__} if not name.startswith("_")}
    assert needed >= {"discovery", "history", "problems", "traffic"}
    set_later = set(Daemon.__init__.__code__.co_names) | set(Told.__init__.__code__.co_names)
    for provider in (Daemon, Told):
        assert needed - set_later <= set(dir(provider)) | set(provider.__annotations__)
