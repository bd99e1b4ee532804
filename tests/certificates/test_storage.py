from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pilotage.certificates.errors import StorageError
from pilotage.certificates.storage import Storage, write_file
from tests.support.certificates import opened, stored


def test_a_certificate_survives_and_later_ones_replace_it(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    versions = [stored(tmp_path, "a.example.com") for _ in range(5)]
    for version in versions:
        storage.save(version)
        assert storage.load() == ([version], [])
    assert sorted(path.name for path in (storage.folder / "archive" / "a.example.com").iterdir()) == ["3", "4", "5"]
    live = storage.folder / "live" / "a.example.com"
    assert {path.name for path in live.iterdir()} >= {"cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"}
    assert (live / "fullchain.pem").read_bytes() == versions[-1].chain


def test_only_the_owner_can_read_anything(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        storage = opened(tmp_path)
        storage.save(stored(tmp_path, "a.example.com"))
        storage.write("state.json", b"{}")
    finally:
        os.umask(before)
    for path in [storage.folder, *storage.folder.rglob("*")]:
        if not path.is_symlink():
            assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_folder_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "certificates").mkdir(mode=0o755)
    assert stat.S_IMODE(opened(tmp_path).folder.stat().st_mode) == 0o700


def test_a_failed_write_leaves_the_previous_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, first = opened(tmp_path), stored(tmp_path, "a.example.com")
    storage.save(first)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        storage.save(stored(tmp_path, "a.example.com"))
    assert storage.load() == ([first], [])
    assert [path.name for path in storage.folder.rglob(".*")] == []


def test_damaged_certificates_are_reported_and_the_others_are_loaded(tmp_path: Path) -> None:
    storage, good, bad = opened(tmp_path), stored(tmp_path, "good.example.com"), stored(tmp_path, "bad.example.com")
    storage.save(good)
    storage.save(bad)
    (storage.folder / "live" / "bad.example.com" / "privkey.pem").write_bytes(good.key)
    (storage.folder / "live" / "README").write_text("certbot's")
    (storage.folder / "live" / "gone.example.com").symlink_to("../archive/gone.example.com/1")
    found, messages = storage.load()
    assert found == [good]
    assert len(messages) == 2
    assert any("does not belong" in message for message in messages)


def test_one_process_renews(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    assert first.lock()
    assert first.lock()
    assert not second.lock()
    first.close()
    assert second.lock()
    second.close()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Storage(tmp_path / "file" / "certificates").open()


def test_single_files(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    assert storage.read_file("state.json") is None
    storage.write("state.json", b"{}")
    assert storage.read_file("state.json") == b"{}"
    (storage.folder / "large").write_bytes(b"x" * 300_000)
    with pytest.raises(StorageError, match="larger"):
        storage.read_file("large")


def test_removed_certificates_are_gone(tmp_path: Path) -> None:
    storage, one = opened(tmp_path), stored(tmp_path, "a.example.com")
    storage.save(one)
    storage.remove(one.lineage)
    assert storage.load() == ([], [])


def test_keys_are_not_in_the_text_of_a_certificate(tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(stored(tmp_path, "a.example.com"))


def test_a_link_is_not_followed_when_a_file_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("untouched")
    link.symlink_to(target)
    write_file(link, b"new")
    assert (target.read_text(), link.read_text(), link.is_symlink()) == ("untouched", "new", False)
    assert Path(link).stat().st_mode & 0o777 == 0o600
