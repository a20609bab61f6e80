"""The app as a public Space runs it: no network, no disk but a temporary folder, killed at will."""

from __future__ import annotations

import io
import os
import re
import signal
import time
from pathlib import Path

import httpx
import pytest
import yaml
from open_clip.pretrained import get_pretrained_cfg
from serving import ROOT, call, served, upload, visitor
from tiny import noise_picture

from app.studio import BACKBONES

pytestmark = pytest.mark.slow
PROMPTS = "caltech101-drople"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("space")


@pytest.fixture(scope="module")
def space(folder):
    with served(folder) as running:
        yield running


def ask(space, *, prompts=PROMPTS, backbone="mini", classes="cheetah, lion", seed=0):
    data = io.BytesIO()
    noise_picture(200, 160, seed=seed).save(data, "PNG")
    with visitor(space.url) as http:
        picture = upload(http, "noise.png", data.getvalue())
        return call(http, "analyse", [picture, classes, backbone, prompts, seed])


def test_it_answers_without_network_and_disk(space):
    answer = ask(space)
    assert answer["classes"] == ["cheetah", "lion"]
    assert sum(answer["predictions"]["iwtd"]["probabilities"]) == pytest.approx(1, abs=1e-4)


def test_it_wanted_to_write_nothing_that_it_needs(space):
    ask(space, seed=1)
    wanted = re.findall(r"REFUSED \S+ (\S+)", space.log.read_text())
    # Gradio notes the types of a component beside its source, and does without.
    assert [one for one in wanted if not one.rstrip("/").endswith(".pyi")] == []


def test_it_is_reached_from_other_hosts(space):
    port = httpx.URL(space.url).port
    listening = Path("/proc/net/tcp").read_text()
    assert f"00000000:{port:04X} 00000000:0000 0A" in listening


@pytest.mark.parametrize(
    "asked",
    [{"prompts": str(ROOT / "checkpoints/prompts/caltech101-drople.safetensors")},
     {"backbone": f"local-dir:{ROOT}/checkpoints/mini"},
     {"backbone": "RN50/openai"}],
    ids=["prompts", "backbone", "name"],
)  # fmt: skip
def test_it_reads_no_model_that_a_visitor_names(space, asked):
    with pytest.raises(RuntimeError):
        ask(space, **asked)
    assert ask(space)["provenance"]["backbone"] == "mini"


def test_a_backbone_that_is_not_there_is_no_trouble_offline(space):
    with pytest.raises(RuntimeError):
        ask(space, backbone="ViT-B-32/openai", prompts="none")
    assert ask(space)["provenance"]["backbone"] == "mini"


def test_killed_in_the_middle_it_loses_nothing_but_that_run(folder):
    weights = ROOT / "checkpoints/mini/open_clip_model.safetensors"
    before = (weights.stat().st_size, weights.stat().st_mtime_ns)
    with served(folder / "killed") as first, visitor(first.url) as http:
        data = io.BytesIO()
        noise_picture(300, 300, seed=5).save(data, "PNG")
        picture = upload(http, "noise.png", data.getvalue())
        names = ", ".join(f"thing {i}" for i in range(1500))
        taken = http.post(
            "gradio_api/call/analyse", json={"data": [picture, names, "mini", PROMPTS, 0]}
        )
        assert taken.status_code == 200
        time.sleep(0.3)
        os.kill(first.process.pid, signal.SIGKILL)
        assert first.process.wait() == -signal.SIGKILL
    with served(folder / "killed") as again:
        assert ask(again, seed=5)["classes"] == ["cheetah", "lion"]
    assert (weights.stat().st_size, weights.stat().st_mtime_ns) == before


def test_the_readme_says_what_a_space_needs():
    text = (ROOT / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["sdk"] == "gradio"
    assert isinstance(front["python_version"], str)
    assert (ROOT / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60
    wanted = re.search(r"gradio>=([\d.]+)", (ROOT / "requirements.txt").read_text())
    assert front["sdk_version"].startswith(wanted[1])
    offered = [name.split("/") for name in BACKBONES if "/" in name]
    hosted = [get_pretrained_cfg(*name)["hf_hub"].rstrip("/") for name in offered]
    assert front["models"] == hosted
