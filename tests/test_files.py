"Files and folders are there whole or not at all, whoever writes, fails, or is killed, and also after a power cut."
import errno
import math
import os
import threading
from pathlib import Path

import pytest

from fourier_mask.files import put_aside, remove, settle, sweep, write_json, write_whole


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"n": 1})
    before = path.read_bytes()

    def fail(part):
        part.write_text("half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"): write_whole(path, fail)
    with pytest.raises(ValueError, match="not JSON compliant"): write_json(path, math.nan)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.json"]
    assert write_whole(path, lambda part: part.write_text("whole")) == "a.json" and path.read_text() == "whole"


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    "Threads of one process, which a name made of the process alone would confuse."
    path, both, parts = tmp_path / "a.txt", threading.Barrier(2, timeout=10), []

    def write(text):
        def slowly(part):
            parts.append(part)
            part.write_text(text)
            both.wait()  # the other one has written as well
            assert part.read_text() == text

        write_whole(path, slowly)

    threads = [threading.Thread(target=write, args=(text * 9,)) for text in "ab"]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert len(set(parts)) == 2 and path.read_text() in ("a" * 9, "b" * 9) and os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_is_made_whole_or_not_at_all(tmp_path):
    def half(part):
        part.mkdir()
        (part / "a.txt").write_text("1")
        if fails: raise OSError("no room")

    fails = True
    with pytest.raises(OSError, match="no room"): write_whole(tmp_path / "numbers", half)
    assert os.listdir(tmp_path) == []
    fails = False
    assert write_whole(tmp_path / "numbers", half) == "numbers" and os.listdir(tmp_path) == ["numbers"]


def folder_of(text):
    def write(part):
        part.mkdir()
        (part / "a.txt").write_text(text)

    return write


def test_a_folder_is_replaced_only_if_that_is_asked_for(tmp_path):
    path = tmp_path / "numbers"
    write_whole(path, folder_of("1"))
    with pytest.raises(OSError): write_whole(path, folder_of("2"))
    assert (path / "a.txt").read_text() == "1" and os.listdir(tmp_path) == ["numbers"]
    write_whole(path, folder_of("3"), over=True)
    assert (path / "a.txt").read_text() == "3" and os.listdir(tmp_path) == ["numbers"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_the_old_folder_stands_again_where_the_new_one_does_not_get_there(tmp_path, monkeypatch, error):
    def refuse(self, target): raise error("no rename")

    path = tmp_path / "numbers"
    write_whole(path, folder_of("1"))
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(error, match="no rename"): write_whole(path, folder_of("2"), over=True)
    assert (path / "a.txt").read_text() == "1" and os.listdir(tmp_path) == ["numbers"]


@pytest.mark.parametrize("name", ["numbers", "numbers [1]*"])
@pytest.mark.parametrize("there", [True, False])
def test_what_a_killed_writer_left_is_swept_away_and_the_old_folder_put_back(tmp_path, name, there):
    path = tmp_path / name
    if there: folder_of("whole")(path)
    folder_of("half")(tmp_path / f".{name}.{'01' * 8}.part")
    (tmp_path / f".{name}.{'23' * 8}.part").write_text("half of a file")
    folder_of("old")(tmp_path / f".{name}.{'45' * 8}.old")
    folder_of("another's")(tmp_path / f".others.{'67' * 8}.part")
    sweep(path)
    assert (path / "a.txt").read_text() == ("whole" if there else "old")
    assert sorted(os.listdir(tmp_path)) == [f".others.{'67' * 8}.part", name]
    sweep(tmp_path / "nowhere" / "numbers")  # nothing to do


def test_only_names_of_exactly_our_form_are_swept_away(tmp_path):
    path, digits = tmp_path / "numbers", "0123456789abcdef"
    names = [f"numbers.{digits}.part", f".numbers.{digits[1:]}.part", f".numbers.{digits}0.part", ".numbers.part",
             f".numbers.{digits.upper()}.part", f".numbers.{digits}.part.new", f".numbers.{digits}.new", "numbers.old",
             f".numbers.x.{digits}.part", f".numbers.{digits}.old\n", "numbers.new", "numbers.part"]
    for name in names: (tmp_path / name).write_text("mine")
    sweep(path)
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_what_a_link_leads_to_is_neither_swept_away_nor_replaced(tmp_path):
    mine, place = tmp_path / "mine", tmp_path / "place"
    folder_of("mine")(mine)
    place.mkdir()
    (place / f".numbers.{'01' * 8}.part").symlink_to(mine)
    sweep(place / "numbers")
    assert os.listdir(place) == []
    (place / "numbers").symlink_to(mine, target_is_directory=True)
    write_whole(place / "numbers", folder_of("ours"), over=True)
    assert not (place / "numbers").is_symlink() and (place / "numbers" / "a.txt").read_text() == "ours"
    (place / "text").symlink_to(mine / "a.txt")
    write_whole(place / "text", lambda part: part.write_text("ours"))
    assert (mine / "a.txt").read_text() == "mine" and os.listdir(mine) == ["a.txt"]
    assert sorted(os.listdir(place)) == ["numbers", "text"]
    (place / "dangling").symlink_to(tmp_path / "nowhere")
    remove(place / "dangling")
    assert not os.path.lexists(place / "dangling")


def test_everything_is_on_the_disk_before_it_is_renamed_and_the_new_name_after(tmp_path, monkeypatch):
    "In this order only does a power cut leave either the old or the new, whole."
    done, fsync, replace = [], os.fsync, Path.replace

    def write(part):
        (part / "inner").mkdir(parents=True)
        for name in ("a.txt", "inner/b.txt"): (part / name).write_text(name)
        (part / "link").symlink_to("/nowhere")

    def noted(handle):
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def renamed(self, target):
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", renamed)
    write_whole(tmp_path / "numbers", write)
    part = done[0].parent.parent if done[0].name == "b.txt" else done[0].parent
    told = [each if each == "rename" else str(each.relative_to(tmp_path)) for each in done]
    assert told == [f"{part.name}/inner/b.txt", f"{part.name}/inner", f"{part.name}/a.txt", part.name, "rename", "."]
    done.clear()
    write_json(tmp_path / "a.json", 1)
    assert [each if each == "rename" else each.suffix for each in done] == [".part", "rename", ""]
    assert done[-1] == tmp_path


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EINVAL])
def test_a_disk_that_fails_is_told_of_and_one_that_cannot_be_asked_is_not(tmp_path, monkeypatch, code):
    def fail(handle): raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    if code == errno.EINVAL: write_json(tmp_path / "a.json", 1)
    else:
        with pytest.raises(OSError) as told: write_json(tmp_path / "a.json", 1)
        assert told.value.errno == code
    assert os.listdir(tmp_path) == (["a.json"] if code == errno.EINVAL else [])


@pytest.mark.parametrize(("system", "flags"), [("posix", os.O_RDONLY), ("nt", os.O_RDWR)])
def test_windows_opens_no_folder_and_flushes_what_may_be_written(tmp_path, monkeypatch, system, flags):
    file, opened, os_open = str(tmp_path / "a"), [], os.open
    Path(file).touch()

    def noted(path, how):
        opened.append(how)
        if system == "nt" and os.path.isdir(path): raise PermissionError(errno.EACCES, "Permission denied")
        return os_open(path, how)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", noted)
        patched.setattr(os, "name", system)
        for place in (file, str(tmp_path)): settle(place)
    assert opened == [flags, flags]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_what_is_damaged_is_put_aside_under_a_free_name_and_named(tmp_path, kind):
    mine, path = tmp_path / "mine", tmp_path / "place" / "numbers"
    folder_of("mine")(mine)
    path.parent.mkdir()
    for n in (1, 2, 3):
        if kind == "file": path.write_text(str(n))
        elif kind == "folder": folder_of(str(n))(path)
        else: path.symlink_to(mine if kind == "link" else tmp_path / "nowhere")
        with pytest.warns(UserWarning, match=f"numbers was cut. It is kept as .*numbers.damaged-{n};") as told:
            aside = put_aside(path, "numbers was cut.")
        assert len(told) == 1
        assert aside == path.with_name(f"numbers.damaged-{n}") and os.path.lexists(aside) and not os.path.lexists(path)
        if "folder" in kind: assert (aside / "a.txt").read_text() == str(n)
        assert aside.is_symlink() == ("link" in kind)
    assert (mine / "a.txt").read_text() == "mine" and len(os.listdir(path.parent)) == 3
    with pytest.raises(FileNotFoundError): put_aside(path, "it is not there")
