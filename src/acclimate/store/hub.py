"""Adapters to and from the Hugging Face hub, or whatever speaks its protocol: files alone, and never a pickle."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from acclimate.engine.files import write_whole
from acclimate.store.formats import recognised
from acclimate.store.refusal import StoreError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["pull", "push"]

_KEPT = (".json", ".safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def push(
    path: str | Path, repo: str, revision: str | None = None, private: bool = True, endpoint: str | None = None
) -> str:
    """Upload an adapter of any format to a repository, made if it is missing. Returns the address of the commit.

    Of a folder the settings and tensors go, and nothing else that lies there. Who may, the token of ``huggingface-cli login``
    or ``HF_TOKEN`` says.
    """
    path = Path(path)
    format_ = recognised(path).name
    api = _api(endpoint)
    from huggingface_hub import CommitOperationAdd
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.suffix in _KEPT)
    operations = [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file)) for file in files]
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.create_commit(
            repo, operations, commit_message=f"An adapter in the format of {format_}", revision=revision
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise _refused(api, repo, error) from error
    return str(done.commit_url)


def pull(repo: str, target: str | Path, revision: str | None = None, endpoint: str | None = None) -> Path:
    """Download the adapter of a repository into a folder. Returns what `read_any` takes: the folder, or the one file.

    Only settings and safetensors at the top of the repository are fetched, and nothing is kept that is no adapter.
    """
    api, target = _api(endpoint), Path(target)
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    with tempfile.TemporaryDirectory() as beside:
        try:
            names = api.list_repo_files(repo, revision=revision)
            wanted = [name for name in names if _top(name) and PurePosixPath(name).suffix in _KEPT]
            for name in wanted:
                api.hf_hub_download(repo, name, revision=revision, local_dir=beside)
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise _refused(api, repo, error) from error
        fetched = [Path(beside, name) for name in wanted]
        found = _adapter(Path(beside), fetched)
        if found is None:
            pickled = any(_top(name) and PurePosixPath(name).suffix in _PICKLES for name in names)
            why = (
                "only has pickles, which could run code and are never loaded"
                if pickled
                else "has none of a format known here"
            )
            raise StoreError(f"the repository {repo} holds no adapter: it {why}")
        kept = fetched if found == Path(beside) else [found]
        for file in kept:
            write_whole(target / file.name, file.read_bytes())
    return target if len(kept) > 1 else target / kept[0].name


def _top(name: str) -> bool:
    """Whether a stranger's name is a plain one, at the top of a repository."""
    return name == PurePosixPath(name).name and "\\" not in name and not name.startswith(".")


def _adapter(folder: Path, files: list[Path]) -> Path | None:
    """The folder if its settings make it an adapter, or the first file that is one."""
    for each in (folder, *files):
        try:
            recognised(each)
        except StoreError:
            continue
        return each
    return None


def _api(endpoint: str | None) -> HfApi:
    try:
        hub = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise ImportError("the hub needs huggingface_hub: pip install 'acclimate[hub]'") from error
    api: HfApi = hub.HfApi(endpoint=endpoint)
    return api


def _refused(api: HfApi, repo: str, error: Exception) -> StoreError:
    said = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return StoreError(f"{api.endpoint} did not do what was asked of {repo}: {said[0]}")
