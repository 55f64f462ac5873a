"""Files that are written whole or not at all, and files of two tensors."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from Miniproject_1.others.files import check_writable, load_tensors, replacing, save_tensors


def some_pair() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)


# ---- writing -----------------------------------------------------------------------------------


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path and path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_for_a_writable_path(tmp_path):
    check_writable(tmp_path / "new" / "folder" / "file")
    assert not list((tmp_path / "new" / "folder").iterdir())


@pytest.mark.parametrize("name", ["file/below", "folder"])
def test_a_path_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=name):
        check_writable(tmp_path / name)


def test_devices_are_not_written_to():
    with pytest.raises(ValueError, match="/dev/null"):
        check_writable("/dev/null")


# ---- tensors -----------------------------------------------------------------------------------


def test_tensors_come_back(tmp_path):
    save_tensors(some_pair(), tmp_path / "pairs.pt")
    loaded = load_tensors(tmp_path / "pairs.pt")
    assert all(torch.equal(x, y) for x, y in zip(loaded, some_pair(), strict=True))


def test_tensors_that_cannot_be_written_are_an_os_error(tmp_path):
    with pytest.raises(OSError, match="pairs.pt"):
        save_tensors(some_pair(), tmp_path / "missing" / "pairs.pt")


class Malicious:
    """Unpickling it would create the file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def save_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("save", [torch.save, save_pickle])
def test_a_malicious_file_is_refused_and_nothing_executed(tmp_path, save):
    proof, path = tmp_path / "executed", tmp_path / "val_data.pkl"
    save((Malicious(proof), Malicious(proof)), path)
    with pytest.raises(ValueError, match="val_data.pkl"):
        load_tensors(path)
    assert not proof.exists()
    zipped = zipfile.is_zipfile(path)
    pickle.loads(zipfile.ZipFile(path).read("val_data/data.pkl") if zipped else path.read_bytes())
    assert proof.exists()  # the file was dangerous indeed


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    def refused(*arguments, **keywords):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "train_data.pkl").write_text("secret")
    monkeypatch.setattr(torch, "load", refused)  # permissions do not bind the superuser
    with pytest.raises(PermissionError):
        load_tensors(tmp_path / "train_data.pkl")


def test_missing_files_are_refused(tmp_path):
    for path in (tmp_path / "train_data.pkl", tmp_path):
        with pytest.raises(ValueError, match=path.name):
            load_tensors(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.9999])
def test_truncated_files_are_refused(tmp_path, share):
    path = tmp_path / "train_data.pkl"
    save_tensors((torch.zeros(9, 3, 32, 32), torch.zeros(9, 3, 32, 32)), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="train_data.pkl"):
        load_tensors(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "train_data.pkl"
    path.write_text("not a data file, but a text")
    with pytest.raises(ValueError, match="train_data.pkl"):
        load_tensors(path)


@pytest.mark.parametrize(
    ("content", "came"),
    [
        (torch.zeros(2, 3, 4, 4), "Tensor"),
        ({"a": torch.zeros(2, 3, 4, 4)}, "dict of 1"),
        ((torch.zeros(2, 3, 4, 4),), "tuple of 1"),
        ([torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)], "list of 2"),
        ((torch.zeros(2, 3, 4, 4), 5), "tuple of 2"),
        (
            (torch.zeros(2, 3, 4, 4), torch.zeros(3, 3, 4, 4)),
            r"\(2, 3, 4, 4\) and \(3, 3, 4, 4\)",
        ),
        ((torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)), r"\(3, 4, 4\)"),
        ((torch.zeros(0, 3, 4, 4), torch.zeros(0, 3, 4, 4)), r"\(0, 3, 4, 4\)"),
    ],
)
def test_other_content_is_refused(tmp_path, content, came):
    path = tmp_path / "val_data.pkl"
    torch.save(content, path)
    with pytest.raises(ValueError, match=f"val_data.pkl.*{came}"):
        load_tensors(path)
