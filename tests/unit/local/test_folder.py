"""What a stack's folder remembers, and for whom it can be read."""

import stat
import subprocess
from pathlib import Path

from deploy.local.dev_access import DevAccess, read
from deploy.local.folder import StackFolder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_made_once_and_are_the_owner_s_alone(tmp_path: Path) -> None:
    first = StackFolder(tmp_path)
    secret = first.secret("internal")
    assert len(bytes.fromhex(secret)) == 32
    assert first.secret("links") != secret
    assert StackFolder(tmp_path).secret("internal") == secret
    assert mode(tmp_path / "secrets.json") == 0o600


def test_a_folder_keeps_its_identity_and_a_copy_gets_another(tmp_path: Path) -> None:
    original = StackFolder(tmp_path / "original")
    assert StackFolder(tmp_path / "original").stack_id == original.stack_id
    subprocess.run(["cp", "-a", tmp_path / "original", tmp_path / "copy"], check=True)
    assert StackFolder(tmp_path / "copy").stack_id != original.stack_id


def test_dev_env_sets_and_exports_the_variables_in_a_shell(tmp_path: Path) -> None:
    access = DevAccess(url="http://127.0.0.1:1", tenant="t", project="p", api_key="it's a $key", dataset="d")
    path = tmp_path / "dev.env"
    access.save(path)
    assert mode(path) == 0o600
    program = ". ./dev.env && env"
    told = subprocess.run(["sh", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "ATELIER_URL=http://127.0.0.1:1\n" in told
    assert "ATELIER_API_KEY=it's a $key\n" in told
    assert read(path)["ATELIER_API_KEY"] == "it's a $key"


def test_dev_env_is_never_readable_by_others_even_when_an_old_one_was(tmp_path: Path) -> None:
    path = tmp_path / "dev.env"
    path.write_text("old")
    path.chmod(0o644)
    DevAccess(url="u", tenant="t", project="p", api_key="k", dataset="d").save(path)
    assert mode(path) == 0o600


def test_there_is_nothing_to_read_before_the_first_start(tmp_path: Path) -> None:
    assert read(tmp_path / "dev.env") == {}
