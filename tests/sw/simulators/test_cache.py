"""Cache of compiled designs: whole files of this user only, one build at a time, least recently used removed."""

import os
import subprocess
import sys
import threading
import time

import pytest

from spikeloom.simulators import cache as cache_module
from spikeloom.simulators.cache import Cache, CacheError, user_cache


def maker(content=b"code", made=None):
    def make(path):
        if made is not None:
            made.append(path.name)
        path.write_bytes(content)

    return make


def test_the_folder_is_that_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "deep" / "cache"))
    assert user_cache().folder == tmp_path / "deep" / "cache" / "spikeloom"
    assert user_cache().folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("relative/path", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert user_cache().folder == tmp_path / ".cache" / "spikeloom"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache().folder == tmp_path / ".cache" / "spikeloom"


def test_a_file_is_made_once(tmp_path):
    made = []
    cache = Cache(tmp_path / "cache")
    path, new = cache.get("a.so", maker(made=made))
    assert new
    assert path.read_bytes() == b"code"
    assert Cache(tmp_path / "cache").get("a.so", maker(made=made)) == (path, False)
    assert len(made) == 1
    assert sorted(path.name for path in cache.folder.iterdir()) == ["a.so", "a.so.lock", "a.so.sha256"]


@pytest.mark.parametrize("damage", ["content", "sum", "no sum", "cut"])
def test_a_file_that_is_damaged_is_made_again(tmp_path, damage):
    cache = Cache(tmp_path / "cache")
    path, _ = cache.get("a.so", maker())
    check = path.with_name("a.so.sha256")
    {
        "content": lambda: path.write_bytes(b"evil"),
        "sum": lambda: check.write_text("00"),
        "no sum": check.unlink,
        "cut": lambda: path.write_bytes(b"co"),
    }[damage]()
    assert cache.get("a.so", maker()) == (path, True)
    assert path.read_bytes() == b"code"
    assert cache.get("a.so", maker()) == (path, False)


def test_what_fails_leaves_nothing(tmp_path):
    cache = Cache(tmp_path / "cache")

    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError("no compiler")

    with pytest.raises(RuntimeError, match=r"^no compiler$"):
        cache.get("a.so", fail)
    assert [path.name for path in cache.folder.iterdir()] == ["a.so.lock"]
    assert cache.get("a.so", maker())[1]


def test_a_folder_of_others_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(CacheError, match=rf"^the cache folder {folder} must be writable by you only; remove it"):
        Cache(folder)
    folder.chmod(0o755)
    Cache(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    with monkeypatch.context() as patch:
        patch.setattr("os.geteuid", lambda: os.getuid() + 1)
        with pytest.raises(CacheError, match=r" must belong to you, not to user \d+; remove it$"):
            Cache(folder)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(CacheError, match=r" must be a folder; remove what is there$"):
        Cache(tmp_path / "link")


def test_a_file_of_another_user_is_made_again(tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache")
    cache.get("a.so", maker())
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    assert cache.get("a.so", maker())[1]


def test_the_least_recently_used_go(tmp_path):
    cache = Cache(tmp_path / "cache", limit=100)
    for age, name in enumerate(("a", "b", "c")):
        path, _ = cache.get(name, maker(bytes(30)))
        os.utime(path, (1000 + age, 1000 + age))
    cache.get("a", maker())  # now b is the least recently used one
    cache.get("d", maker(bytes(30)))
    assert sorted(path.name for path in cache.folder.iterdir() if not path.suffix) == ["a", "c", "d"]
    assert not list(cache.folder.glob("b*"))
    cache.get("large", maker(bytes(500)))  # the newest entry stays
    assert [path.name for path in cache.folder.iterdir() if not path.suffix] == ["large"]


def test_an_entry_in_use_is_not_removed(tmp_path):
    cache = Cache(tmp_path / "cache", limit=50)
    path, _ = cache.get("a", maker(bytes(30)))
    with cache._locked("a"):
        cache.get("b", maker(bytes(30)))
    assert path.exists()
    cache.get("c", maker(bytes(10)))
    assert not path.exists()


def test_two_threads_make_a_file_once(tmp_path):
    made, folder = [], tmp_path / "cache"

    def slow(path):
        made.append(path)
        time.sleep(0.2)
        path.write_bytes(b"code")

    found = []
    threads = [threading.Thread(target=lambda: found.append(Cache(folder).get("a", slow))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert sorted(new for _, new in found) == [False, False, False, True]


def test_a_lock_that_was_removed_while_it_was_waited_for(tmp_path):
    """One of two processes may remove the entry for which the other waits: the other must not create it unlocked."""
    cache = Cache(tmp_path / "cache")
    script = (
        f"from pathlib import Path; from spikeloom.simulators.cache import Cache; "
        f"print(Cache(Path({str(cache.folder)!r})).get('a', lambda path: path.write_bytes(b'new'))[1])"
    )
    with cache._locked("a"):
        waiting = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        (cache.folder / "a.lock").unlink()
    assert waiting.communicate(timeout=60)[0] == "True\n"
    assert (cache.folder / "a.lock").exists()


def test_the_limit():
    assert cache_module.LIMIT_BYTES == 2 * 1024**3
