"""Prompts on the Hub, with the Hub's two functions replaced: nothing here needs a network."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from furnished import FurnishedStudio, save_fresh_prompts, save_tiny_clip

from drople.errors import CheckpointError
from drople.models.backbone import load_backbone
from drople.storage import hub


@pytest.fixture
def prompts(tmp_path, backbone):
    return save_fresh_prompts(tmp_path / "prompts.safetensors", backbone)


@pytest.mark.parametrize(
    "name", ["user/repo", "repo@main", "user/repo@", "a/b/c@main", "../x@main"]
)
def test_a_name_without_a_revision_is_no_hub_name(name):
    assert not hub.is_hub_id(name) or name == "../x@main"
    with pytest.raises(CheckpointError):
        hub.fetch_prompts(name)


def test_the_named_revision_is_asked_for(monkeypatch, prompts):
    asked = []

    def download(repo, file, revision):
        asked.append((repo, file, revision))
        return str(prompts)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    assert hub.fetch_prompts("user/repo@0a1b2c") == prompts
    assert asked == [("user/repo", "prompts.safetensors", "0a1b2c")]


def test_without_network_and_cache_it_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def download(*args, **kwargs):
        raise FileNotFoundError("no network")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(CheckpointError, match="could not be downloaded"):
        hub.fetch_prompts("user/repo@main")


class FakeApi:
    """Keeps what would be uploaded."""

    kept: dict[str, object]

    def __init__(self):
        FakeApi.kept = {}

    def create_repo(self, repo, exist_ok):
        assert exist_ok

    def upload_file(self, *, path_or_fileobj, path_in_repo, repo_id):
        FakeApi.kept[path_in_repo] = path_or_fileobj
        return SimpleNamespace(oid="c0ffee")


def test_uploading_pins_the_commit_and_tells_what_it_is(monkeypatch, prompts):
    monkeypatch.setattr(hub, "HfApi", FakeApi)
    assert hub.push_to_hub(prompts, "user/repo") == "user/repo@c0ffee"
    assert FakeApi.kept["prompts.safetensors"] == str(prompts)
    assert "drople prompts for tiny" in FakeApi.kept["README.md"].decode()


def test_what_is_no_prompts_file_is_not_uploaded(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "HfApi", FakeApi)
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        hub.push_to_hub(tmp_path / "a.safetensors", "user/repo")


def test_a_refusal_of_the_hub_is_one_sentence(monkeypatch, prompts):
    class Refusing(FakeApi):
        def create_repo(self, repo, exist_ok):
            raise RuntimeError("401")

    monkeypatch.setattr(hub, "HfApi", Refusing)
    with pytest.raises(CheckpointError, match="Log in"):
        hub.push_to_hub(prompts, "user/repo")


def test_the_app_loads_prompts_by_their_hub_name(monkeypatch, tmp_path):
    name = save_tiny_clip(tmp_path / "clip")
    file = save_fresh_prompts(tmp_path / "p.safetensors", load_backbone(name))
    monkeypatch.setattr(hub, "hf_hub_download", lambda repo, file_, revision: str(file))
    loaded = FurnishedStudio().load(name, "user/repo@main")
    assert loaded.name == "user/repo@main"


def test_a_public_page_loads_nothing_from_the_hub(tmp_path):
    name = save_tiny_clip(tmp_path / "clip")
    with pytest.raises(Exception, match="On this page only"):
        FurnishedStudio(own_files=False).load(name, "user/repo@main")
