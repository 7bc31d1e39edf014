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

from debias_pipeline.biased_data.sources import archives
from debias_pipeline.biased_data.sources.archives import archive_stem, archives_in, extracted
from debias_pipeline.errors import UserError

KINDS = [".zip", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2"]
NOISE = np.random.default_rng(0).bytes(200_000)


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
    with zipfile.ZipFile(out, "w") as pack:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = external_attr
            info.compress_type = zipfile.ZIP_DEFLATED
            pack.writestr(info, content)
    return out.getvalue()


def pack(path: Path, members: dict[str, bytes]) -> Path:
    compress = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
    packed = zip_bytes(members) if path.suffix == ".zip" else tar_bytes(members)
    path.write_bytes(compress.get(path.suffix, bytes)(packed))
    return path


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """The folder of temporary folders."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def refusal(archive: Path, content: bytes | None = None) -> str:
    if content is not None:
        archive.write_bytes(content)
    with pytest.raises(UserError) as caught, extracted(archive):
        raise AssertionError("was unpacked")
    message = str(caught.value)
    assert "\n" not in message
    assert str(archive) in message
    return message


# --- What is unpacked -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_unpacked_and_removed_again(tmp_path, scratch, kind):
    members = {"a/1.png": b"one", "./a/b/2.png": NOISE, "3.png": b"", "c\\4.png": b"4"}
    metadata_of_macos = {"__MACOSX/a/._1.png": b"metadata"}
    # The content decides on the format, not the name.
    archive = pack(tmp_path / f"set{kind}", members | metadata_of_macos).rename(tmp_path / "a.tar")
    with extracted(archive) as root:
        found = {name.replace("./", "").replace("\\", "/"): each for name, each in members.items()}
        assert contents(root) == found
        assert root.is_relative_to(scratch)
    with pytest.raises(ValueError, match="mine"), extracted(archive):
        raise ValueError("mine")
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_only_wanted_files_are_written_but_all_folders(tmp_path, kind):
    archive = pack(tmp_path / f"set{kind}", {"./a/1": b"x", "b\\c/2": b"y"})
    seen = []
    with extracted(archive, lambda place: seen.append(place) or place.parts[0] == "a") as root:
        assert contents(root) == {"a/1": b"x"}
        assert (root / "b/c").is_dir()
    assert seen == [PurePosixPath("a/1"), PurePosixPath("b/c/2")]


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".zip", ".tar"])
def test_paths_outside_of_the_archive_are_refused(tmp_path, scratch, kind):
    for name in ("../x", "a/../../x", "/etc/x", "c:x", "\\\\host\\x", "a\\..\\x"):
        message = refusal(pack(tmp_path / f"set{kind}", {"ok": b"", name: b"x"}))
        assert name.replace("\\", "/").lstrip("/") in message
        assert "outside" in message
    assert list(scratch.iterdir()) == []


@given(st.lists(st.sampled_from(["..", ".", "a", "b", "", "C:", "\\", "~"]), max_size=6))
@settings(max_examples=60)
def test_nothing_is_ever_written_outside(parts):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        home = Path(folder)
        (home / "tmp").mkdir()
        archive = pack(home / "set.tar", {"/".join([*parts, "file"]): b"x"})
        patch.setattr(tempfile, "tempdir", str(home / "tmp"))
        try:
            with extracted(archive) as root:
                assert len(contents(root)) == 1
                assert len(contents(home)) == 2
        except UserError:
            pass
        assert contents(home).keys() == {"set.tar"}


def test_links_and_devices_are_refused(tmp_path):
    member = {"a/evil": b""}
    for content in (
        tar_bytes(member, type=tarfile.SYMTYPE, linkname="b"),
        tar_bytes(member, type=tarfile.LNKTYPE, linkname="b"),
        tar_bytes(member, type=tarfile.CHRTYPE),
        tar_bytes(member, type=tarfile.FIFOTYPE),
        zip_bytes({"a/evil": b"b"}, external_attr=0o120777 << 16),
    ):
        message = refusal(tmp_path / "set", content)
        assert "a/evil" in message
        assert "link or a device" in message


@pytest.mark.parametrize("kind", [".zip", ".tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_path_may_occur_once_and_not_be_a_file_and_a_folder(tmp_path, kind):
    assert "twice" in refusal(pack(tmp_path / f"set{kind}", {"a/1": b"x", "./a//1": b"y"}))
    refusal(pack(tmp_path / f"set{kind}", {"a": b"x", "a/1": b"y"}))


@pytest.mark.parametrize("kind", [".zip", ".tar.gz", ".tar.xz", ".tar.bz2"])
def test_bombs_are_refused_before_anything_is_written(tmp_path, monkeypatch, scratch, kind):
    monkeypatch.setattr(archives, "_RATIO_APPLIES_FROM", 10_000)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: pytest.fail("was unpacked"))
    assert "3,000,000 bytes" in refusal(pack(tmp_path / f"a{kind}", {"zeros": bytes(3_000_000)}))


def test_sizes_and_the_number_of_members_are_limited_by_what_headers_say(tmp_path, monkeypatch):
    info = tarfile.TarInfo("big")
    info.size = 10**15
    message = refusal(tmp_path / "set", info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "1,000,000,000,000,000 bytes" in message
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 500_000_000
    message = refusal(tmp_path / "set", info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "a header of 500,000,000 bytes" in message
    monkeypatch.setattr(archives, "_MAX_BYTES", 100_000)
    assert "200,000 bytes" in refusal(pack(tmp_path / "set.zip", {"a": NOISE}))
    monkeypatch.setattr(archives, "_MAX_MEMBERS", 5)
    assert "too large" in refusal(pack(tmp_path / "set.tar", {str(i): b"" for i in range(6)}))


def test_encrypted_zip_is_refused(tmp_path):
    content = bytearray(zip_bytes({"a": b"x"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    assert "password" in refusal(tmp_path / "set.zip", content)


def test_a_full_disk_names_the_remedy(tmp_path, monkeypatch):
    archive = pack(tmp_path / "set.tar", {"a": b"x" * 100})
    with monkeypatch.context() as patch:
        patch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
        message = refusal(archive)
        assert "TMPDIR" in message
        assert "100 bytes" in message

    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(tarfile.TarFile, "extract", full)
    assert "TMPDIR" in refusal(archive)


# --- What is damaged ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_and_changed_archives_are_damaged(tmp_path, scratch, kind):
    path = pack(tmp_path / f"set{kind}", {f"{i}.png": NOISE[i : 40_000 + i] for i in range(5)})
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.98, 0.9999):
        if kind != ".tar" or share < 0.98:  # the end of a .tar is padding
            assert "complete copy" in refusal(path, content[: int(share * len(content))])
    if kind != ".tar":  # has no checksum of contents
        middle = len(content) // 2
        assert "damaged" in refusal(path, content[:middle] + bytes(50) + content[middle + 50 :])
    assert list(scratch.iterdir()) == []


def test_missing_members_and_wrong_sizes_are_damage(tmp_path):
    content = bytearray(tar_bytes({"a": bytes(512), "b": bytes(512)}))
    assert "unexpected end" in refusal(tmp_path / "cut.tar", content[: 2 * 512])
    content[1024 + 148 : 1024 + 156] = b"77777777"
    assert "damaged header" in refusal(tmp_path / "header.tar", content)
    zipped = zip_bytes({"a": bytes(50_000)})
    wrong = zipped.replace((50_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert wrong != zipped
    assert "'a'" in refusal(tmp_path / "set.zip", wrong)


starts = st.sampled_from([b"", b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"BZh9"])


@given(st.binary(max_size=2000), starts)
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


def test_messages_are_one_short_line(tmp_path):
    assert "not a file" in refusal(tmp_path / "missing.tar")
    name = "a\n\x1b[31m" + "x" * 500 + "/../../b"
    assert len(refusal(pack(tmp_path / "set.tar", {name: b""}))) < 400 + len(str(tmp_path))


# --- Names ----------------------------------------------------------------------------------------


def test_archives_in_a_folder_are_sorted_and_stay_in_it(tmp_path):
    raw_dir = tmp_path / "raw"
    raw_dir.mkdir()
    assert archives_in(raw_dir) == archives_in(tmp_path / "nothing") == []
    for name in ("b.TAR.GZ", "a.zip", ".c.zip", "d.txt", "e.gz"):
        (raw_dir / name).touch()
    (raw_dir / "folder.zip").mkdir()
    found = archives_in(raw_dir)
    assert [path.name for path in found] == ["a.zip", "b.TAR.GZ"]
    assert [archive_stem(path) for path in found] == ["a", "b"]
    (tmp_path / "out.zip").touch()
    (raw_dir / "link.zip").symlink_to(tmp_path / "out.zip")
    with pytest.raises(UserError, match="leads out"):
        archives_in(raw_dir)
