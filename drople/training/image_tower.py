"""Trains a small CLIP's image tower: a transformer over a frozen stem, into a frozen text space.

    python -m drople.training.image_tower --labelled photos --kinds kinds.json --unlabelled more \
        --text mini --stem tf_efficientnet_lite2 --stem-weights lite2.pth --teacher-names imagenet \
        --out runs/tower

What that took for `mini`, quoted from its card (checkpoints/mini/README.md):

    data    "Tiny-ImageNet (100,000 of 64 px) and 75 more classes of mini-ImageNet (37,500 of 84
            px), 275 concepts in all, and 47,952 sharper photographs (160 px [...])"
    hours   "two CPU cores, about four hours in all", the text tower's 1.5 (not trained here) too
    result  "zero-shot", 64 px sources: imagenette "77.5 %", Caltech-101 "43.8 %"

The shipped weights were made by the scripts that this was rewritten from; it has not been run on
those data. It leaves out: stages (smaller pictures first, more tokens last), two photographs in
one, several kinds of a name, the teacher over groups of names, and photographs' names against its.

The loss is cross entropy over names and over kinds and, where the stem's classifier teaches, its
Kullback-Leibler divergence on every picture, named or not. --out gets the model, which
`load_backbone("local-dir:FOLDER")` reads, the log train.jsonl, and state.pt, from which the same
command goes on after a cut, to the same weights: seed and step fix all that is drawn.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from open_clip import CLIP
from open_clip.pos_embed import get_2d_sincos_pos_embed
from open_clip.transform import PreprocessCfg, image_transform_v2
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from drople.devices import device_of
from drople.errors import BackboneError, DropleError, SettingsError
from drople.models.backbone import CHECKPOINTS, Backbone, load_backbone
from drople.models.stem import build_clip
from drople.storage.files import write_bytes, write_text
from drople.texts import read_json
from drople.training.data import load_task, load_unlabelled
from drople.training.image_sets import ImageSet
from drople.training.run import read_log
from drople.training.states import read_state, write_state
from drople.training.tower_recipe import Recipe, recipe_of

TEMPLATES = ("a photo of a {}.", "{}", "a picture of the {}.", "a close-up photo of a {}.")


@dataclass(frozen=True)
class Batch:
    """All that is drawn for one step."""

    pixels: Tensor  # (B, 3, S, S), normalised
    labels: Tensor  # (B,) long, first the pictures with a name; -1 for the others
    kept: Tensor  # (B, n) long, the patch tokens that are not dropped
    template: int


class Batches(Dataset[Batch]):
    """The batch of each step."""

    def __init__(self, recipe: Recipe, sets: Sequence[ImageSet], normalise: nn.Module):
        others = int(recipe.batch * recipe.unlabelled_share) if len(sets) == 2 else 0
        self.recipe, self.counts = recipe, [(sets[0], recipe.batch - others), (sets[-1], others)]
        bicubic = transforms.InterpolationMode.BICUBIC
        view = transforms.RandomResizedCrop(recipe.size, (0.36, 1), (0.76, 1.32), bicubic)
        colours = transforms.ColorJitter(brightness=0.25, contrast=0.25, saturation=0.4)
        steps = [view, transforms.RandomHorizontalFlip(), colours, transforms.ToTensor(), normalise]
        self.augment = transforms.Compose(steps)

    def __getitem__(self, step: int) -> Batch:
        recipe, patches = self.recipe, (self.recipe.size // 16) ** 2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed << 32 | step)
            drawn = [(images, i) for images, count in self.counts
                     for i in torch.randint(len(images), (count,)).tolist()]  # fmt: skip
            share = float(torch.empty(()).uniform_(recipe.keep_low, recipe.keep_high))
            order = torch.rand(len(drawn), patches).argsort(dim=1)
            return Batch(
                torch.stack([self.augment(images.read(i)) for images, i in drawn]),
                torch.tensor([int(images.labels[i]) for images, i in drawn]),
                order[:, : max(1, round(patches * share))],
                int(torch.randint(len(TEMPLATES), ())),
            )


@dataclass(frozen=True)
class Texts:
    """What pictures are compared with: text features of length 1."""

    names: Tensor  # (templates, K, E)
    kinds: Tensor | None  # (templates, kinds, E)
    kind_of: Tensor  # (K,) long, a name's row of `kinds`
    taught: Tensor | None  # (outputs of the teacher, E), mean over the templates


def read_texts(recipe: Recipe, text: Backbone, names: Sequence[str]) -> Texts:
    """Encodes the folders' names, their kinds and the teacher's names."""
    taught, kind_of = recipe.read_taught(), recipe.read_kinds(names)
    kinds = sorted({*kind_of.values()})
    rows = [kinds.index(kind_of[name]) for name in names if kinds]

    def encode(those: Sequence[str]) -> Tensor:
        each = [text.encode_text([t.format(name) for name in those]) for t in TEMPLATES]
        return F.normalize(torch.stack(each), dim=-1)

    return Texts(
        encode(names),
        encode(kinds) if kinds else None,
        torch.tensor(rows, dtype=torch.long, device=text.device),
        F.normalize(encode(taught).mean(0), dim=-1) if taught else None,
    )


class Student(nn.Module):
    """A CLIP whose image tower is learnt, all of it but the stem's network."""

    def __init__(self, clip: CLIP, precision: str):
        super().__init__()
        self.clip, self.bf16 = clip.eval().requires_grad_(False), precision == "bf16"
        self.clip.visual.requires_grad_(True).conv1.trunk.requires_grad_(False)
        self.clip.logit_scale = nn.Parameter(torch.tensor(math.log(25.0)))
        self.teacher_scale = nn.Parameter(torch.tensor(math.log(40.0)))

    @torch.no_grad()
    def initialise(self, mid: Tensor, deep: Tensor) -> None:
        """First values: sines and cosines as places; on a first batch, tokens of unit scale."""
        visual = self.clip.visual
        places = get_2d_sincos_pos_embed(visual.conv1.out_channels, mid.shape[-1], cls_token=True)
        visual.positional_embedding.copy_(0.3 * torch.from_numpy(places))
        for project, seen in ((visual.conv1.mid, mid), (visual.conv1.deep, deep)):
            project.bias.zero_()
            project.weight.mul_(0.7 / project(seen).std())
        nn.init.trunc_normal_(visual.class_embedding, std=0.02)
        for block in visual.transformer.resblocks:
            nn.init.trunc_normal_(block.attn.out_proj.weight, std=0.02)
            nn.init.trunc_normal_(block.mlp.c_proj.weight, std=0.02)

    def forward(self, mid: Tensor, deep: Tensor, kept: Tensor | None = None) -> Tensor:
        """Image features (B, E) of length 1, from the stem's at strides 16 and 32.

        Args:
            kept: (B, n) patch tokens that are not dropped; None keeps all.
        """
        visual = self.clip.visual
        with torch.autocast(mid.device.type, torch.bfloat16, enabled=self.bf16):
            coarse = F.interpolate(visual.conv1.deep(deep), size=mid.shape[-2:], mode="bilinear")
            grid = visual.conv1.mid(mid) + coarse  # (B, D, G, G), as `Stem` adds them
            tokens = grid.flatten(2).mT + visual.positional_embedding[1:]  # (B, G*G, D)
            if kept is not None:
                tokens = tokens.take_along_dim(kept[..., None], dim=1)  # (B, n, D)
            cls = visual.class_embedding + visual.positional_embedding[0]
            tokens = torch.cat([cls.expand(len(tokens), 1, -1), tokens], dim=1)  # (B, 1 + n, D)
            tokens = visual.transformer(visual.ln_pre(tokens))
            feature = visual.ln_post(tokens[:, 0]) @ visual.proj
        return F.normalize(feature.float(), dim=-1)

    def learnt(self) -> dict[str, nn.Parameter]:
        """What training changes, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}


def build(recipe: Recipe, text: Backbone, outputs: int) -> tuple[dict[str, Any], CLIP, Any]:
    """The config and the CLIP to train, and the stem's whole network, with its classifier.

    Args:
        outputs: of the classifier; 0 leaves it away.
    """
    if "text" in text.clip._modules:
        raise BackboneError(f"{recipe.text} has its text tower apart; expected open_clip's CLIP.")
    folder = CHECKPOINTS / "mini" if recipe.text == "mini" else Path(recipe.text)
    config = read_json(folder / "open_clip_config.json")
    shape = {"image_size": recipe.size, "patch_size": 16, "width": recipe.width, "head_width": 64}
    config["model_cfg"]["vision_cfg"] = shape | {"layers": recipe.layers, "ls_init_value": 0.1}
    config["stem"] = {"arch": recipe.stem}
    clip = build_clip(config)
    of_text = {k: v for k, v in text.clip.state_dict().items() if not k.startswith("visual.")}
    clip.load_state_dict(of_text, strict=False)  # the image tower's own are missing
    network: Any = timm.create_model(recipe.stem, num_classes=outputs)
    seen = {name: network.pretrained_cfg[name] for name in ("mean", "std")}
    config["preprocess_cfg"] = seen | {"interpolation": "bicubic", "resize_mode": "shortest"}
    # As features only, timm joins some of a network's names with "_" in place of ".".
    trunk = {name.replace(".", "_"): name for name in clip.visual.conv1.trunk.state_dict()}
    if recipe.stem_weights:
        file = Path(recipe.stem_weights)
        try:
            packed = file.suffix == ".safetensors"
            state = load_file(file) if packed else torch.load(file, "cpu", weights_only=True)
            for name in network.load_state_dict(state, strict=False).missing_keys:
                if outputs or name.replace(".", "_") in trunk:  # without a teacher, no head
                    raise RuntimeError(f"it lacks {name}")
        except (OSError, RuntimeError, SafetensorError, UnpicklingError) as error:
            problem = f"{file.name} does not give {recipe.stem} its weights"
            raise BackboneError(f"{problem} with {outputs} outputs: {error}.") from error
    state = {name.replace(".", "_"): value for name, value in network.state_dict().items()}
    clip.visual.conv1.trunk.load_state_dict({own: state[name] for name, own in trunk.items()})
    return config, clip, network.eval().requires_grad_(False)


@torch.no_grad()
def look(network: Any, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the frozen stem sees at strides 16 and 32, and its logits (B, outputs)."""
    final, (mid, deep) = network.forward_intermediates(pixels, indices=[3, 4])
    return mid, deep, network.forward_head(final)


def losses(student: Student, network: Any, batch: Batch, *, texts: Texts) -> dict[str, Tensor]:
    """The terms of one batch, and `total`."""
    device = texts.names.device
    mid, deep, logits = look(network, batch.pixels.to(device))
    features = student(mid, deep, batch.kept.to(device))  # (B, E)
    labels = batch.labels[batch.labels >= 0].to(device)
    named = student.clip.logit_scale.exp().clamp(max=100) * features[: len(labels)]
    answers = named @ texts.names[batch.template].T
    terms = {"names": F.cross_entropy(answers, labels, label_smoothing=0.05)}
    total = terms["names"]
    if texts.kinds is not None:
        answers = named @ texts.kinds[batch.template].T
        terms["kinds"] = F.cross_entropy(answers, texts.kind_of[labels])
        total = total + 0.3 * terms["kinds"]
    if texts.taught is not None:
        answers = student.teacher_scale.exp().clamp(max=100) * features @ texts.taught.T
        guessed, taught = answers.log_softmax(dim=1), logits.softmax(dim=1)
        terms["teacher"] = F.kl_div(guessed, taught, reduction="batchmean")
        total = total + terms["teacher"]
    return terms | {"total": total}


@torch.no_grad()
def accuracy(
    student: Student, network: Any, images: ImageSet, *, crop: transforms.Compose, names: Tensor
) -> float | None:
    """Percent of images nearest to their own of names (K, E), no token dropped; None of none."""
    right = 0
    for rows in torch.arange(len(images)).split(64):
        pixels = torch.stack([crop(images.read(row)) for row in rows.tolist()])
        mid, deep, _ = look(network, pixels.to(names.device))
        nearest = (student(mid, deep) @ names.T).argmax(dim=1).cpu()
        right += int((nearest == torch.from_numpy(images.labels)[rows]).sum())
    return round(100 * right / len(images), 2) if len(images) else None


def train(recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Trains, and writes the model at the end; yields the lines of the log."""
    device, out = device_of(recipe.device), Path(recipe.out)
    task = load_task(recipe.labelled)
    sets = [task.train, *([load_unlabelled(recipe.unlabelled)] if recipe.unlabelled else [])]
    text = load_backbone("mini" if recipe.text == "mini" else f"local-dir:{recipe.text}", device)
    texts = read_texts(recipe, text, task.classes)
    outputs = 0 if texts.taught is None else len(texts.taught)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        config, clip, network = build(recipe, text, outputs)
        student, network = Student(clip, recipe.precision).to(device), network.to(device)
        preprocess = PreprocessCfg(size=recipe.size, **config["preprocess_cfg"])
        crop = image_transform_v2(preprocess, is_train=False)
        batches = Batches(recipe, sets, crop.transforms[-1])
        student.initialise(*look(network, batches[0].pixels.to(device))[:2])
    average, learnt = deepcopy(student), student.learnt()
    matrices = {"params": [v for v in learnt.values() if v.ndim > 1], "weight_decay": 0.05}
    others = {"params": [v for v in learnt.values() if v.ndim <= 1], "weight_decay": 0.0}
    optimiser = torch.optim.AdamW([matrices, others], betas=(0.9, 0.98))
    first, state = 0, out / "state.pt"
    if saved := read_state(state, device):
        if saved["recipe"] != recipe.lasting():
            raise SettingsError(f"{state} is of a training with other options; choose another out.")
        student.load_state_dict(saved["student"], strict=False)
        average.load_state_dict(saved["average"], strict=False)
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    stem = f"weights of {recipe.stem_weights}" if recipe.stem_weights else "WARNING: random weights"
    out.mkdir(parents=True, exist_ok=True)
    yield {"step": first, "pictures": [len(s) for s in sets], "taught": outputs, "stem": stem}
    steps, began = range(first + 1, recipe.steps + 1), time.perf_counter()
    loader = DataLoader(batches, batch_size=None, sampler=steps, num_workers=recipe.workers)
    for step, batch in zip(steps, loader, strict=True):
        cosine = 0.51 + 0.49 * math.cos(math.pi * step / recipe.steps)  # 1 down to 0.02
        lr = recipe.lr * min(1, step / 200) * cosine
        for group in optimiser.param_groups:
            group["lr"] = lr
        terms = losses(student, network, batch, texts=texts)
        values = {name: round(float(term.detach()), 5) for name, term in terms.items()}
        if not math.isfinite(values["total"]):
            raise SettingsError(f"The loss is {values['total']} at step {step}; lower lr.")
        optimiser.zero_grad()
        terms["total"].backward()
        nn.utils.clip_grad_norm_(learnt.values(), 1.0)
        optimiser.step()
        with torch.no_grad():
            for mean, value in zip(average.learnt().values(), learnt.values(), strict=True):
                mean.lerp_(value, 1 - min(0.998, step / (step + 20)))
        seconds = round(time.perf_counter() - began, 1)  # since the start or the last cut
        yield {"step": step, "lr": lr, "kept": batch.kept.shape[1], "seconds": seconds, **values}
        if step % recipe.every == 0 or step == recipe.steps:
            saved = {"recipe": recipe.lasting(), "step": step, "optimiser": optimiser.state_dict()}
            saved |= {"student": learnt, "average": average.learnt()}
            write_state(state, saved)
            right = accuracy(average, network, task.val, crop=crop, names=texts.names[0])
            yield {"step": step, "val_percent": right}
    write_model(out, config, average.clip)
    right = accuracy(average, network, task.test, crop=crop, names=texts.names[0])
    yield {"step": recipe.steps, "test_percent": right, "test_pictures": len(task.test)}


def write_model(out: Path, config: dict[str, Any], clip: CLIP) -> None:
    """Writes a CLIP in half precision as `load_backbone` reads it."""
    state = clip.state_dict() | {"logit_scale": clip.logit_scale.detach().clamp(max=math.log(100))}
    halves = {name: v.half() if v.is_floating_point() else v for name, v in state.items()}
    write_bytes(out / "open_clip_model.safetensors", save(halves, metadata={"format": "pt"}))
    write_text(out / "open_clip_config.json", json.dumps(config, indent=2))


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains with the options of the command; an error becomes one line and exit code 2."""
    try:
        recipe = recipe_of(arguments)
        lines, log = train(recipe), Path(recipe.out) / "train.jsonl"
        step = (opening := next(lines))["step"]
        earlier = [one for one in (read_log(log) if log.is_file() else []) if one["step"] <= step]
        with log.open("w", buffering=1) as file:
            file.writelines(json.dumps(line) + "\n" for line in earlier)
            for line in chain([opening], lines):
                file.write(json.dumps(line) + "\n")
                if "total" not in line:
                    print(json.dumps(line), flush=True)
    except (DropleError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
