import bz2
import gzip
import io
import lzma
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debias_pipeline.biased_data import archives
from debias_pipeline.biased_data.sources.archives import archive_stem, archives_in, extracted, is_archive
from debias_pipeline.errors import UserError

KINDS = [".zip", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2"]
NOISE = np.random.default_rng(0).bytes(3_000_000)


def tar_bytes(members: dict[str, bytes], **change) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in change.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zip_bytes(members: dict[str, bytes], external_attr: int = 0) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = external_attr
            info.compress_type = zipfile.ZIP_DEFLATED
            pack.writestr(info, content)
    return out.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    squeeze = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
    if path.suffix == ".zip":
        path.write_bytes(zip_bytes(members))
    else:
        path.write_bytes(squeeze.get(path.suffix, bytes)(tar_bytes(members)))
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """Where temporary folders are made, to see what is left of them."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def refusal(archive: Path) -> str:
    with pytest.raises(UserError) as caught, extracted(archive):
        raise AssertionError("was unpacked")
    message = str(caught.value)
    assert "\n" not in message
    assert str(archive) in message
    return message


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_unpacked_and_removed_again(tmp_path, scratch, kind):
    members = {"a/1.png": b"one", "./a/b/2.png": NOISE, "3.png": b""}
    with extracted(pack(tmp_path / f"set{kind}", members)) as root:
        assert contents(root) == {"a/1.png": b"one", "a/b/2.png": NOISE, "3.png": b""}
        assert root.is_relative_to(scratch)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_is_removed_also_on_an_error_of_the_user_of_the_folder(tmp_path, scratch, kind):
    with (
        pytest.raises(ValueError, match="mine"),
        extracted(pack(tmp_path / f"s{kind}", {"a": b""})),
    ):
        raise ValueError("mine")
    assert list(scratch.iterdir()) == []


def test_kind_is_told_by_content_not_by_name(tmp_path):
    path = tmp_path / "set.tar"
    path.write_bytes(lzma.compress(tar_bytes({"a": b"x"})))
    with extracted(path) as root:
        assert contents(root) == {"a": b"x"}


def test_only_what_is_wanted_is_written_but_all_folders_show(tmp_path):
    archive = pack(tmp_path / "set.zip", {"a/1": b"x", "b/c/2": b"y"})
    with extracted(archive, lambda place: place.parts[0] == "a") as root:
        assert contents(root) == {"a/1": b"x"}
        assert (root / "b/c").is_dir()


def test_backslashes_of_windows_separate(tmp_path):
    path = tmp_path / "set.zip"
    path.write_bytes(zip_bytes({"a\\1.png": b"x"}))
    with extracted(path) as root:
        assert contents(root) == {"a/1.png": b"x"}


def test_what_macos_packs_along_is_left_out(tmp_path):
    archive = pack(tmp_path / "set.zip", {"a/1.png": b"x", "__MACOSX/a/._1.png": b"y"})
    with extracted(archive) as root:
        assert contents(root) == {"a/1.png": b"x"}
        assert not (root / "__MACOSX").exists()


BAD_NAMES = ["../x", "a/../../x", "/etc/x", "C:/x", "c:x", "\\\\host\\x", "..\\x", "a\\..\\..\\x"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.xz"])
def test_names_that_lead_out_are_refused(tmp_path, scratch, kind, name):
    message = refusal(pack(tmp_path / f"set{kind}", {"ok": b"", name: b"x"}))
    assert f"member {name}" in message
    assert "outside" in message
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "x").exists()


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "", "C:", "\\", "~"]), max_size=6))
@settings(max_examples=60)
def test_nothing_is_ever_written_outside(parts):
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "tmp").mkdir()
        archive = pack(home / "set.tar", {"/".join([*parts, "file"]): b"x"})
        before = tempfile.tempdir
        tempfile.tempdir = str(home / "tmp")
        try:
            with extracted(archive) as root:
                inside = {home / "tmp" / place for place in contents(home / "tmp")}
                assert all(path.is_relative_to(root) for path in inside)
                assert len(inside) == 1
        except UserError:
            pass
        finally:
            tempfile.tempdir = before
        assert contents(home).keys() == {"set.tar"}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_tar_are_refused(tmp_path, kind):
    path = tmp_path / "set.tar"
    path.write_bytes(tar_bytes({"a/evil": b""}, type=kind, linkname="/etc/passwd"))
    message = refusal(path)
    assert "member a/evil" in message
    assert "link or a device" in message


def test_link_in_zip_is_refused(tmp_path):
    path = tmp_path / "set.zip"
    path.write_bytes(zip_bytes({"a/evil": b"/etc/passwd"}, external_attr=0o120777 << 16))
    assert "link or a device" in refusal(path)


@pytest.mark.parametrize("kind", [".zip", ".tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_place_may_be_there_once(tmp_path, kind):
    assert "twice" in refusal(pack(tmp_path / f"set{kind}", {"a/1": b"x", "./a//1": b"y"}))


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_a_file_may_not_be_a_folder_too(tmp_path, kind):
    refusal(pack(tmp_path / f"set{kind}", {"a": b"x", "a/1": b"y"}))


@pytest.mark.parametrize("kind", [".zip", ".tar.gz", ".tar.xz", ".tar.bz2"])
def test_a_bomb_is_refused_by_its_ratio_before_anything_is_written(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "_RATIO_COUNTS_FROM", 10_000)
    monkeypatch.setattr(archives, "_copy", lambda *_: pytest.fail("was unpacked"))
    message = refusal(pack(tmp_path / f"set{kind}", {"zeros": bytes(30_000_000)}))
    assert "30,000,000 bytes" in message
    assert "member zeros" in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_by_its_size(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archives, "_MOST_BYTES", 2_000_000)
    assert "3,000,000 bytes" in refusal(pack(tmp_path / f"set{kind}", {"a": NOISE}))


def test_a_bomb_of_names_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 5)
    refusal(pack(tmp_path / "set.tar", {str(i): b"" for i in range(6)}))


def test_a_declared_bomb_is_refused_without_reading_it(tmp_path):
    info = tarfile.TarInfo("big")
    info.size = 10**15
    path = tmp_path / "set.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "1,000,000,000,000,000 bytes" in refusal(path)


def test_an_endless_name_in_a_tar_header_is_refused(tmp_path):
    info = tarfile.TarInfo("long")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 500_000_000
    path = tmp_path / "set.tar.xz"
    path.write_bytes(lzma.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(5_000_000)))
    assert "larger than any name" in refusal(path)


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path):
    content = zip_bytes({"a": bytes(50_000)})
    lie = content.replace((50_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != content
    path = tmp_path / "set.zip"
    path.write_bytes(lie)
    assert "member a" in refusal(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_archives_are_told(tmp_path, scratch, kind, share):
    path = pack(tmp_path / f"set{kind}", {f"{i}.png": NOISE[: 40_000 + i] for i in range(20)})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    if kind == ".tar" and share == 0.999:
        pytest.skip("cuts off part of the padding only")
    assert "put a whole copy there" in refusal(path)
    assert list(scratch.iterdir()) == []


def test_tar_cut_between_two_members_is_told(tmp_path):
    path = tmp_path / "set.tar"
    path.write_bytes(tar_bytes({"a": bytes(512), "b": bytes(512)})[: 2 * 512])
    assert "breaks off" in refusal(path)


@pytest.mark.parametrize("kind", [".zip", ".tar.gz", ".tar.xz", ".tar.bz2"])
def test_flipped_bytes_are_told(tmp_path, kind):
    path = pack(tmp_path / f"set{kind}", {f"{i}.png": NOISE[: 40_000 + i] for i in range(5)})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 50] = bytes(50)
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_damaged_header_in_the_middle_is_told(tmp_path):
    content = bytearray(tar_bytes({"a": bytes(512), "b": b"", "c": b""}))
    content[1024 + 148 : 1024 + 156] = b"77777777"
    path = tmp_path / "set.tar"
    path.write_bytes(content)
    assert "header is damaged" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", bytes(5000)[:300], b"\x1f\x8b"])
def test_no_archive_at_all(tmp_path, content):
    path = tmp_path / "set.zip"
    path.write_bytes(content)
    assert "damaged or no archive" in refusal(path)


@given(
    st.binary(max_size=2000), st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"BZh9"])
)
@settings(max_examples=80)
def test_any_bytes_give_one_line_or_files(content, start):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "set.zip")
        path.write_bytes(start + content)
        try:
            with extracted(path) as root:
                assert root.is_dir()
        except UserError as error:
            assert "\n" not in str(error)


def test_locked_zip_is_told(tmp_path):
    content = bytearray(zip_bytes({"a": b"x"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    path = tmp_path / "set.zip"
    path.write_bytes(content)
    assert "password" in refusal(path)


def test_no_room_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    message = refusal(pack(tmp_path / "set.tar", {"a": b"x" * 100}))
    assert "TMPDIR" in message
    assert "100 bytes" in message


def test_disk_that_fills_up_names_the_remedy(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(archives, "_copy", full)
    assert "TMPDIR" in refusal(pack(tmp_path / "set.tar", {"a": b"x"}))


def test_missing_archive(tmp_path):
    assert "does not exist" in refusal(tmp_path / "set.tar")


def test_strange_names_do_not_break_the_line(tmp_path):
    name = "a\n\x1b[31m" + "x" * 500 + "/../../b"
    assert len(refusal(pack(tmp_path / "set.tar", {name: b""}))) < 500 + len(str(tmp_path))


def test_names_of_archives():
    assert is_archive(Path("x/CMNIST.TAR.GZ"))
    assert not is_archive(Path("x/cmnist.gz"))
    stems = ["a.tar.gz", "a.tgz", "a.zip", "a.tar", "a.b.tar.xz"]
    assert [archive_stem(Path(name)) for name in stems] == ["a", "a", "a", "a", "a.b"]


def test_archives_in_a_folder_are_sorted_and_stay_in_it(tmp_path):
    raw_dir = tmp_path / "raw"
    raw_dir.mkdir()
    assert archives_in(raw_dir) == archives_in(tmp_path / "nothing") == []
    for name in ("b.tar", "a.zip", ".c.zip", "d.txt"):
        (raw_dir / name).touch()
    (raw_dir / "folder.zip").mkdir()
    assert [path.name for path in archives_in(raw_dir)] == ["a.zip", "b.tar"]
    (tmp_path / "out.zip").touch()
    (raw_dir / "link.zip").symlink_to(tmp_path / "out.zip")
    with pytest.raises(UserError, match="leads out"):
        archives_in(raw_dir)


def test_members_are_given_as_they_lie(tmp_path):
    seen = []
    archive = pack(tmp_path / "set.tar", {"./a/1": b"", "b\\2": b""})
    with extracted(archive, lambda place: bool(seen.append(place))):
        assert seen == [PurePosixPath("a/1"), PurePosixPath("b/2")]
