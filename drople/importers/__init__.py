"""Prompts that other people's public code has saved, in our format.

A checkpoint of CoOp, KgCoOp, MaPLe, PromptSRC, IVLP, VPT, MPL or DroPLe itself becomes a
`PromptedClip` and a card, with a report of what was used and what was not. To add a method: one
function, one line of `READERS` and one of `KEYS` in `readers`.
"""

from drople.importers.convert import ImportReport, import_prompts
from drople.importers.readers import READERS

__all__ = ["READERS", "ImportReport", "import_prompts"]
