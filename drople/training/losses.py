"""The terms of the objective, as pure functions (METHOD.md 4 and 5.1). Features come normalised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def l1_consistency(adapted: Tensor, frozen: Tensor) -> Tensor:
    """Mean absolute difference of two sets of unit features (B, E); a scalar at least 0."""
    return (adapted - frozen).abs().mean()


def distillation(logits: Tensor, frozen_logits: Tensor) -> Tensor:
    """KL(frozen || adapted) over logits (B, K), divided by B K; a scalar at least 0.

    METHOD.md 5.1, its third line; the division by B K rather than B is the released code's.
    """
    adapted, frozen = (one.log_softmax(dim=-1) for one in (logits, frozen_logits))
    return F.kl_div(adapted, frozen, reduction="sum", log_target=True) / logits.numel()


def residual(adapted: Tensor, frozen: Tensor, lam: float) -> Tensor:
    """What is left of unit features once `lam` times the frozen ones is taken out, (B, E).

    Z^r = (Z^d - lam Z^o) / (1 - lam), not normalised again; near 0 and 1 the divisor is moved by
    0.001 (METHOD.md 4.1, utils/residual_entropy_loss.py).
    """
    divisor = 1 - lam
    if divisor < 1e-3:
        divisor += 1e-3
    if 1 - divisor < 1e-3:
        divisor -= 1e-3
    return (adapted - lam * frozen) / divisor


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy of softmax(logits) over the rows of (B, K), in nats, at most ln K."""
    p = logits.softmax(dim=-1)
    return -(p * (p + 1e-5).log()).sum(dim=-1).mean()


def residual_logits(
    image: Tensor, text: Tensor, *,
    frozen_image: Tensor, frozen_text: Tensor, scale: Tensor, lam: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Logits (B, K) of p(y|Z_v^r) and of p(y|Z_t^r) (METHOD.md 4.1).

    Residual image features are classified by the frozen text, frozen image features by the
    residual text.

    Args:
        image, frozen_image: unit features (B, E).
        text, frozen_text: unit features (K, E).
        scale: factor between cosines and logits.
    """
    image_logits = scale * residual(image, frozen_image, lam) @ frozen_text.T
    text_logits = scale * frozen_image @ residual(text, frozen_text, lam).T
    return image_logits, text_logits


def residual_entropy(
    image: Tensor, text: Tensor, *,
    frozen_image: Tensor, frozen_text: Tensor, scale: Tensor, lam: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """H_v and H_t, which training maximises (METHOD.md 4.1); takes what `residual_logits` does."""
    of_image, of_text = residual_logits(
        image, text, frozen_image=frozen_image, frozen_text=frozen_text, scale=scale, lam=lam
    )
    return entropy(of_image), entropy(of_text)


def lambda_at(epoch: int, epochs: int, lam: float = 0.1) -> float:
    """The residual's lambda in an epoch counted from 0; rises from 0 (METHOD.md 4.2)."""
    return lam - lam * (1 + 10 * epoch / epochs) ** -0.75


def alignment(image: Sequence[Tensor], text: Sequence[Tensor], labels: Tensor) -> Tensor:
    """(1 - cos) / 2 between what each bridge token gathers in an image and in its class.

    METHOD.md 2.3; equal to the released code's "JS" distance.

    Args:
        image: one (B, M, E) a layer.
        text: one (K, M, E) a layer; the layers both towers have are paired in order.
        labels: (B,) class of each image.
    """
    gaps = [
        (1 - F.cosine_similarity(v.float(), t.float()[labels], dim=-1)).mean() / 2
        for v, t in zip(image, text, strict=False)
    ]
    return torch.stack(gaps).mean()


def knowledge(text: Tensor, frozen_text: Tensor) -> Tensor:
    """1 - mean cosine of adapted and frozen class features (K, E) (KgCoOp, METHOD.md 8)."""
    return 1 - F.cosine_similarity(text, frozen_text, dim=-1).mean()
