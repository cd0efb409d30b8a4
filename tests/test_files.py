"Files and folders are there whole or not at all, whoever writes, fails, or is killed."
import math
import os
import threading
from pathlib import Path

import pytest

from fourier_mask.files import sweep, write_json, write_whole


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
    folder_of("half")(tmp_path / f".{name}.01.part")
    (tmp_path / f".{name}.23.part").write_text("half of a file")
    folder_of("old")(tmp_path / f".{name}.45.old")
    folder_of("another's")(tmp_path / ".others.67.part")
    sweep(path)
    assert (path / "a.txt").read_text() == ("whole" if there else "old")
    assert sorted(os.listdir(tmp_path)) == [".others.67.part", name]
    sweep(tmp_path / "nowhere" / "numbers")  # nothing to do
