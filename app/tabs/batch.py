"""Batch: a folder or a ZIP of pictures as the table that `python -m drople explain` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from gradio.components import Component

from app.calls import model_call, user_errors
from app.figures.theme import CONDITION_NAMES
from app.form import Form, settings_of
from app.host import Host
from app.markdown import plain_text
from app.studio import Studio
from app.tabs.export import download, zipped
from app.tabs.shared import QUIET
from app.uploads import Upload, find_uploads
from drople.analysis import AnalysisSettings
from drople.class_texts import ClassTexts
from drople.classes import parse_class_list
from drople.errors import ImageError, SettingsError
from drople.explain import explain
from drople.models.backbone import Backbone
from drople.models.prompted_clip import PromptedClip
from drople.storage.tables import COLUMNS, COLUMNS_TEXT, HEADER, Row, about_table, table_text

AT_ONCE = 4  # pictures explained in one turn at the model
TIMEOUT = 1800.0  # seconds of a whole batch
# Two batches at a time, which take turns with each other and with everybody else.
BATCH: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "batch"}
NAMED = 5  # of the files left out
INTRO = (
    "Many pictures asked alike: drop a folder, a ZIP or several pictures here (at most {pictures}, "
    "of 20 MB together). Each becomes a row with both branches' answers, how far IWTD chooses, "
    "and how often draws of the dropout compared first (IWTD, unless you chose another) change the "
    "answer, with the classes, prompts and settings above. It is drawn at its own p, not at a "
    "matched rate; the second dropout plays no part. For more: `python -m drople explain FOLDER`."
)
NOTHING = "There is no picture yet. Drop a folder, a ZIP or several pictures."


@dataclass(frozen=True)
class Batch:
    """Pictures explained so far, and what they were asked with."""

    rows: tuple[Row, ...]
    about: Mapping[str, Any]
    wanted: int  # pictures in all
    left_out: tuple[str, ...]  # files that are no pictures

    @property
    def unread(self) -> list[str]:
        """Pictures that have a row, but could not be read."""
        return [row.image for row in self.rows if row.error]

    @property
    def sentence(self) -> str:
        """How far it is, what was drawn, and what could not be read."""
        done = f"{len(self.rows)} of {self.wanted} pictures."
        if self.about["prompts_hash"] is None:
            done += " Without prompts there is no adapted branch and no dropout."
        elif draws := self.about["draws"]:
            drawn = CONDITION_NAMES[self.about["strategy"]]
            done += f" Dropout drawn: {drawn}, {draws} times a picture."
        else:
            done += " Nothing is drawn: the columns of flips are empty."
        if self.unread:
            done += f" Cannot be read: {_some(self.unread)}; the table says why."
        if self.left_out:
            done += f" Left out, being no pictures: {_some(self.left_out)}."
        return done


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def build(studio: Studio, form: Mapping[str, Component], host: Host) -> None:
    """Lays the tab out; pictures are asked with what the form holds."""
    gr.Markdown(INTRO.format(pictures=host.pictures), elem_classes="lens-intro")
    files = gr.File(label="Pictures", file_count="multiple", elem_id="batch-files", height=180)
    gr.HTML('<p role="alert"></p>', elem_id="batch-refused")
    with gr.Row(elem_classes="lens-controls"):
        folder = gr.UploadButton(
            "Choose a folder", file_count="directory", elem_id="batch-folder", scale=0,
            min_width=210,
        )  # fmt: skip
        draws = gr.Slider(
            0, 32, 8, step=1, label="Draws a picture", elem_id="batch-draws", min_width=290, scale=0
        )
        run = gr.Button("Explain", variant="primary", elem_id="batch-run", scale=0, min_width=110)
        stop = gr.Button("Stop", elem_id="batch-stop", scale=0, min_width=90)
    note = gr.Markdown(elem_id="batch-note", elem_classes="lens-note", min_height=48)
    table = gr.Dataframe(
        headers=list(HEADER), datatype="str", interactive=False, show_label=False, wrap=True,
        elem_id="batch-table", elem_classes="lens-table", max_height=480,
        column_widths=["220px", *["190px"] * (len(HEADER) - 1)],
    )  # fmt: skip
    with gr.Accordion("What the columns mean", open=False):
        gr.Markdown("\n".join(f"* `{name}`: {text}" for name, text in COLUMNS.items()))
    save = gr.Button("Save the table (CSV, with its settings)", size="sm", elem_id="batch-save",
                     elem_classes="lens-save")  # fmt: skip
    done: gr.State = gr.State(None, time_to_live=3600)
    call = model_call(partial(explained, studio, host), timeout=TIMEOUT, gpu_seconds=_gpu_seconds)
    asked = {name: one for name, one in form.items() if name not in ("image", "target")}

    def started(
        files: list[str] | None,
        draws: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio puts its own here
        **values: Any,
    ) -> Iterator[tuple[Any, ...]]:
        for batch in call(files or [], int(draws), Form(**values), progress):
            yield batch, plain_text(batch.sentence), shown(batch)

    folder.upload(lambda files: files, folder, files, **QUIET)
    running = run.click(
        started, [files, draws], [done, note, table], inputs_kwargs=asked,
        show_progress_on=note, api_visibility="private", **BATCH,
    )  # fmt: skip
    stop.click(None, None, None, cancels=running, api_visibility="private")
    download(save, saved, [done])


def _gpu_seconds(files: Sequence[str], *_: Any) -> int:
    return min(120, 20 + len(files))


def explained(
    studio: Studio, host: Host, files: Sequence[str], draws: int, form: Form, progress: gr.Progress
) -> Iterator[Batch]:
    """The rows so far, a few pictures at a time; others compute in between."""
    uploads, others = find_uploads(files)
    if not uploads:
        raise SettingsError(NOTHING)
    if len(uploads) > host.pictures:
        raise SettingsError(
            f"These are {len(uploads):,} pictures; at most {host.pictures:,} are taken at a "
            "time. Give fewer, or run python -m drople explain FOLDER on your own machine."
        )
    loaded = studio.load(form.backbone, form.prompts)
    settings = settings_of(form, trained=loaded.dropout)
    # What is said of the table is what `explain` does.
    dropout = replace(settings.dropout, strategy="iwtd")
    settings = replace(settings, dropout=dropout, matched=False, drop_text=False)
    texts = studio.texts(loaded, parse_class_list(form.classes or ""), form.template)
    options: dict[str, Any] = {"strategy": form.compared, "draws": draws}
    batch = Batch((), about_table(loaded.model, texts, settings, **options), len(uploads),
                  tuple(others))  # fmt: skip
    progress((0, len(uploads)), unit="pictures")
    left = iter(uploads)
    while some := [*islice(left, AT_ONCE)]:
        rows = rows_of(studio, loaded.model, some, texts=texts, settings=settings, **options)
        batch = replace(batch, rows=(*batch.rows, *rows))
        progress((len(batch.rows), len(uploads)), unit="pictures")
        yield batch


def rows_of(
    studio: Studio, model: Backbone | PromptedClip, uploads: Sequence[Upload], *, texts: ClassTexts,
    settings: AnalysisSettings, strategy: str, draws: int,
) -> list[Row]:  # fmt: skip
    """A row for each picture, in their order; those that cannot be read say why."""
    rows: dict[int, Row] = {}
    with TemporaryDirectory() as name:
        folder, files = Path(name), {}
        for i, upload in enumerate(uploads):
            file = folder / f"{i}{upload.suffix}"
            try:
                file.write_bytes(upload.content())
                files[file] = i
            except ImageError as error:
                rows[i] = Row(upload.name, error=str(error))
        steps = explain(
            model, folder, [*files], classes=texts, settings=settings,
            strategy=strategy, draws=draws, batch=len(uploads),
        )  # fmt: skip
        for i, row in zip(files.values(), studio.in_turn(lambda: next(steps, [])), strict=True):
            rows[i] = replace(row, image=uploads[i].name)
    return [rows[i] for i in sorted(rows)]


def shown(batch: Batch) -> dict[str, Any]:
    """The table with numbers of three digits."""
    return {"headers": list(HEADER), "data": [[_cell(v) for v in astuple(r)] for r in batch.rows]}


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def saved(batch: Batch | None) -> dict[str, str]:
    """The files of `python -m drople explain`, as one ZIP: its name and, in base64, it.

    about.json says besides how far the batch came, and of what.
    """
    with user_errors():
        if batch is None:
            raise SettingsError("There is no table yet. Press Explain first.")
        done, unread = len(batch.rows), batch.unread
        about = {
            **batch.about,
            "complete": done == batch.wanted,
            "pictures_given": batch.wanted,
            "pictures_explained": done - len(unread),
            "unread": unread,
            "left_out": batch.left_out,
        }
        files = {
            "rows.csv": table_text(batch.rows),
            "about.json": json.dumps(about, indent=1),
            "columns.txt": COLUMNS_TEXT,
        }
        packed = {name: text.encode() for name, text in files.items()}
        return zipped(f"drople-batch-{done}-of-{batch.wanted}", packed)
