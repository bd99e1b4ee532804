from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pilotage.certificates.keeper import Keeper
from pilotage.certificates.orders import Issued
from pilotage.certificates.plan import Job
from tests.support.certificates import CA, DAY, entry, opened, stored

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from pilotage.certificates.storage import Stored

NOW = 1_800_000_000.0


def job_for(found: Stored, **fields: object) -> tuple[Job, Issued]:
    return Job(entry(*found.names, **fields), found.names, found.lineage), Issued(found.chain, found.key, found.leaf)


async def test_certificates_are_there_after_a_restart(tmp_path: Path) -> None:
    folder, one = tmp_path / "certificates", stored(tmp_path / "made", "a.example.com", now=NOW)
    keeper = Keeper(folder)
    assert await keeper.ready(())
    await keeper.keep(*job_for(one), "https://ca.example.com/dir")
    keeper.close()
    other = Keeper(folder)
    assert await other.ready(())
    assert other.stored == (one,)
    other.close()


async def test_a_second_process_serves_what_the_first_obtains(tmp_path: Path) -> None:
    folder, one = tmp_path / "certificates", stored(tmp_path / "made", "a.example.com", now=NOW)
    heard: list[tuple[str, Stored]] = []
    first, second = Keeper(folder), Keeper(folder, lambda *event: heard.append(event))
    assert await first.ready(())
    assert not await second.ready(())
    await first.keep(*job_for(one), "https://ca.example.com/dir")
    assert not await second.ready(())
    assert second.stored == (one,)
    assert not await second.ready(())
    assert heard == [("received", one)]
    first.close()
    assert await second.ready(())  # it takes over
    second.close()


async def test_a_full_disk_loses_nothing_that_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    keeper, one = Keeper(tmp_path / "certificates"), stored(tmp_path / "made", "a.example.com", now=NOW)
    assert await keeper.ready(())

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        await keeper.keep(*job_for(one), "https://ca.example.com/dir")
        await keeper.save_state()
        assert keeper.stored == (one,)
        assert keeper.has_unsaved
        assert any("is served, but cannot be saved" in problem for problem in keeper.problems)
    assert await keeper.ready(())
    await keeper.save_state()
    assert not keeper.has_unsaved
    assert keeper.problems == ()
    keeper.close()
    other = Keeper(tmp_path / "certificates")
    assert await other.ready(())
    assert other.stored == (one,)
    other.close()


async def test_a_folder_that_vanishes_or_is_unreadable_loses_nothing(tmp_path: Path) -> None:
    folder, one = tmp_path / "certificates", stored(tmp_path / "made", "a.example.com", now=NOW)
    leader, keeper = Keeper(folder), Keeper(folder)
    assert await leader.ready(())
    await leader.keep(*job_for(one), "https://ca.example.com/dir")
    assert not await keeper.ready(())
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    assert not await keeper.ready(())
    assert keeper.stored == (one,)
    assert any("cannot be used" in problem for problem in keeper.problems)
    leader.close()


async def test_a_damaged_certificate_stays_in_memory(tmp_path: Path) -> None:
    folder, one = tmp_path / "certificates", stored(tmp_path / "made", "a.example.com", now=NOW)
    leader, keeper = Keeper(folder), Keeper(folder)
    assert await leader.ready(())
    await leader.keep(*job_for(one), "https://ca.example.com/dir")
    assert not await keeper.ready(())
    (folder / "live" / "a.example.com" / "fullchain.pem").write_text("damaged")
    assert not await keeper.ready(())
    assert keeper.stored == (one,)
    assert any("cannot be used" in problem for problem in keeper.problems)
    leader.close()


async def test_the_certificate_of_godoxy_is_taken_over(tmp_path: Path) -> None:
    one = stored(tmp_path / "made", "a.example.com", "*.a.example.com", now=NOW)
    (tmp_path / "cert.crt").write_bytes(one.chain)
    (tmp_path / "priv.key").write_bytes(one.key)
    files = {"cert_path": str(tmp_path / "cert.crt"), "key_path": str(tmp_path / "priv.key")}
    heard: list[tuple[str, Stored]] = []
    keeper = Keeper(tmp_path / "certificates", lambda *event: heard.append(event))
    assert await keeper.ready((entry("a.example.com", **files),))
    (found,) = keeper.stored
    assert heard == [("taken_over", found)]
    assert (found.chain, found.key, found.entry, found.directory) == (one.chain, one.key, "main", "")
    keeper.close()
    (tmp_path / "priv.key").write_text("other")
    other = Keeper(tmp_path / "certificates-2")
    assert await other.ready((entry("a.example.com", **files),))
    assert other.stored == ()
    assert "is not taken over" in other.problems[0]
    other.close()


async def test_named_files_get_each_new_certificate(tmp_path: Path) -> None:
    one = stored(tmp_path / "made", "a.example.com", now=NOW)
    files = {"cert_path": str(tmp_path / "my.crt"), "key_path": str(tmp_path / "my.key"), "keep_files": True}
    keeper = Keeper(tmp_path / "certificates")
    assert await keeper.ready(())
    await keeper.keep(*job_for(one, **files), "https://ca.example.com/dir")
    assert (tmp_path / "my.crt").read_bytes() == one.chain
    assert (tmp_path / "my.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "file").write_text("")
    nowhere = {**files, "cert_path": str(tmp_path / "file" / "my.crt")}
    await keeper.keep(*job_for(one, **nowhere), "https://ca.example.com/dir")
    assert "my.crt cannot be written" in keeper.problems[0]
    keeper.close()


async def test_certificates_that_nobody_needs_are_removed_long_after_they_expired(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "certificates")
    assert await keeper.ready(())
    for name, began in (("old.example.com", NOW - 90 * DAY), ("needed.example.com", NOW - 90 * DAY), ("new.com", NOW)):
        await keeper.keep(*job_for(stored(tmp_path / "made", name, now=began)), CA)
    await keeper.tidy(["needed.example.com"], NOW - 30 * DAY, clock_is_right=False)
    assert len(keeper.stored) == 3
    await keeper.tidy(["needed.example.com"], NOW - 30 * DAY, clock_is_right=True)
    assert [it.lineage for it in keeper.stored] == ["needed.example.com", "new.com"]
    assert not (tmp_path / "certificates" / "live" / "old.example.com").is_symlink()
    keeper.close()


async def test_a_damaged_state_is_reported(tmp_path: Path) -> None:
    opened(tmp_path).write("state.json", b"{")
    keeper = Keeper(tmp_path / "certificates")
    assert await keeper.ready(())
    assert "cannot read earlier failures" in keeper.problems[0]
    keeper.close()
