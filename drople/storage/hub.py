"""Trained prompts on the Hugging Face Hub: safetensors alone, at a pinned revision."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download

from drople.errors import CheckpointError
from drople.storage.prompts import read_card

FILE = "prompts.safetensors"
_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")


def is_hub_id(name: str) -> bool:
    """Whether a name reads user/repo@revision, and not the path of a file."""
    return _ID.fullmatch(name) is not None and not name.endswith(".safetensors")


def fetch_prompts(name: str) -> Path:
    """The local copy of a Hub repository's prompts.

    Args:
        name: user/repo@revision; the revision, best a commit, pins what is loaded.

    Raises:
        CheckpointError: not such a name, or it is neither in the local cache nor to be had.
    """
    match = _ID.fullmatch(name)
    if match is None:
        raise CheckpointError(
            f"{name!r} is no pinned Hub name; write user/repo@revision, best with a commit's hash."
        )
    try:
        return Path(hf_hub_download(match["repo"], FILE, revision=match["revision"]))
    except (OSError, ValueError) as error:  # the Hub's own errors are among them
        raise CheckpointError(
            f"The prompts {name} are not in the local cache and could not be downloaded "
            f"({type(error).__name__}). Check the name and the revision, and connect once."
        ) from error


def push_to_hub(path: str | Path, repo: str) -> str:
    """Uploads a prompts file with a model card; returns user/repo@commit, which pins it.

    Raises:
        CheckpointError: the file holds no prompts, or the Hub refuses.
    """
    card = read_card(path)
    figures = "\n".join(f"* {name}: {value}" for name, value in card.metrics.items())
    text = (
        f"---\nlibrary_name: drople-lens\ntags: [clip, prompt-learning, {card.method}]\n---\n"
        f"# {card.method} prompts for {card.backbone}\n\n"
        f"Learnt on {card.data}, {len(card.classes)} classes, {card.shots} shots, seed "
        f"{card.seed}. Needs the backbone with weights `{card.backbone_hash}`.\n\n{figures}\n"
    )
    api = HfApi()
    try:
        api.create_repo(repo, exist_ok=True)
        api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id=repo)
        done = api.upload_file(path_or_fileobj=str(path), path_in_repo=FILE, repo_id=repo)
    except Exception as error:  # its HTTP errors are another library's with every version
        raise CheckpointError(
            f"{repo} could not be written ({type(error).__name__}). Log in with `hf auth login`, "
            "and name a repository of yours."
        ) from error
    return f"{repo}@{done.oid}"
