"""The parts of the logit's difference as a table, and the largest of them in words."""

from __future__ import annotations

import numpy as np

from drople.lab.direct_path import Explained

HEADERS = ("part", "patches", "prompts", "[CLS]", "attention bias", "MLP", "sum")


def parts_rows(explained: Explained) -> list[list[str]]:
    """The rows under `HEADERS`; their last column sums to the difference."""
    path = explained.image
    columns = [path.patches.sum(axis=(1, 2)), path.prompts, path.cls, path.bias, path.mlp]
    rows = [_row("class token at the start", None, path.start)]
    rows += [
        _row(f"layer {i + 1}", [one[i] for one in columns], path.layers[i])
        for i in range(len(path.mlp))
    ]
    rows.append(_row("bias of the last layer norm", None, path.constant))
    rows.append(_row("image features differ", [one.sum() for one in columns], path.total))
    rows.append(_row("text features differ", None, explained.text))
    rows.append(_row("logit scales differ", None, explained.scale))
    rows.append(["remainder (rounding)", *[""] * 5, f"{explained.remainder:+.1e}"])
    return [*rows, _row("difference", None, explained.difference)]


def _row(name: str, parts: list[float] | None, total: float) -> list[str]:
    cells = [""] * 5 if parts is None else [f"{part:+.4f}" for part in parts]
    return [name, *cells, f"{total:+.4f}"]


def parts_sentence(explained: Explained, what: str) -> str:
    """How large the difference is, and which parts make it."""
    path = explained.image
    largest = int(np.abs(path.layers).argmax())
    attention = path.layers[largest] - path.mlp[largest]
    return (
        f"{what} moves by {explained.difference:+.3f} from frozen to adapted: {path.total:+.3f} "
        f"because the image feature moves, {explained.text:+.3f} because the text features do, "
        f"{explained.scale:+.3f} by the logit scale. Of the first, layer {largest + 1} adds most "
        f"({path.layers[largest]:+.3f}; attention {attention:+.3f}, MLP {path.mlp[largest]:+.3f})."
    )
