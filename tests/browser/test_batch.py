"""Batch: many pictures become a table, here as in a folder."""

from __future__ import annotations

import csv
import io
import re
import zipfile

import pytest
from steps import expect, open_tab
from tiny import noise_picture

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")
ZIP = re.compile(r"set\s*\.zip")  # Gradio sets the ending apart
NOTE = "#batch-note"
# A folder with a folder in it, as a browser gives what is dropped.
DROP = """([names, bytes]) => {
    const file = name => ({ isFile: true, isDirectory: false,
        file: done => done(new File([Uint8Array.from(bytes)], name)) })
    const folder = entries => ({ isFile: false, isDirectory: true, createReader: () => ({
        readEntries: done => done(entries.splice(0, 2)) }) })
    const [first, ...rest] = names.map(file)
    const event = new Event("drop", { bubbles: true, cancelable: true })
    event.dataTransfer = { items: [{ webkitGetAsEntry: () => folder([first, folder(rest)]) }],
        files: [] }
    document.querySelector("#batch-files button").dispatchEvent(event)
}"""


@pytest.fixture
def pictures(tmp_path):
    """Six pictures in a ZIP, and one more file that is none."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for i in range(6):
            noise_picture(40, 40, seed=i).save(tmp_path / f"{i}.png")
            packed.write(tmp_path / f"{i}.png", f"set/{i}.png")
        packed.writestr("set/broken.jpg", b"no picture")
    return tmp_path / "set.zip"


def clear(page):
    """Lets the pictures of another test go."""
    open_tab(page, "Batch")
    for button in page.locator("#batch-files").get_by_label("Clear").all():
        button.click()


def test_a_zip_becomes_a_table_that_can_be_kept(stay, pictures):
    clear(stay)
    stay.locator("#batch-files input[type=file]").set_input_files(pictures)
    expect(stay.locator("#batch-files")).to_contain_text(ZIP)
    stay.locator("#batch-run").click()
    expect(stay.locator(NOTE)).to_contain_text("7 of 7 pictures.")
    expect(stay.locator(NOTE)).to_contain_text("Cannot be read: set/broken.jpg")
    expect(stay.locator("#batch-table")).to_contain_text("set/5.png")
    with stay.expect_download() as kept:
        stay.locator("#batch-save").click()
    with zipfile.ZipFile(kept.value.path()) as packed:
        rows = [*csv.DictReader(io.StringIO(packed.read("rows.csv").decode()))]
    assert [row["image"] for row in rows] == [*(f"set/{i}.png" for i in range(6)), "set/broken.jpg"]
    assert all(row["frozen"] in ("cat", "bird", "dog", "rabbit", "horse", "fish")
               for row in rows[:6])  # fmt: skip


def test_stop_leaves_the_rows_there_are(stay, site, pictures):
    clear(stay)
    stay.locator("#batch-files input[type=file]").set_input_files(pictures)
    expect(stay.locator("#batch-files")).to_contain_text(ZIP)
    stay.locator("#batch-run").click()
    expect(stay.locator(NOTE)).to_contain_text("4 of 7 pictures.")
    site.studio.free.clear()
    stay.locator("#batch-stop").click()
    site.studio.free.set()
    expect(stay.locator(f"{NOTE} .progress-text")).to_have_count(0)
    stay.wait_for_timeout(1000)  # what was under way arrives
    said = stay.locator(NOTE).inner_text()
    assert re.match("[47] of 7 pictures", said)
    turns = site.studio.turns
    stay.wait_for_timeout(1000)
    assert (stay.locator(NOTE).inner_text(), site.studio.turns) == (said, turns)


def test_more_than_a_request_holds_is_refused_in_words(stay, tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(b"\0" * 8 * 2**20)
    clear(stay)
    stay.locator("#batch-files input[type=file]").set_input_files(sorted(tmp_path.iterdir()))
    expect(stay.locator("#batch-refused")).to_have_text(
        "These are 24 MB; at most 20 are taken at a time."
    )
    expect(stay.locator("#batch-files")).not_to_contain_text("0.jpg")


def test_a_folder_can_be_dropped(stay, tmp_path):
    noise_picture(40, 40).save(tmp_path / "one.png")
    clear(stay)
    content = [*(tmp_path / "one.png").read_bytes()]
    stay.evaluate(DROP, [["a.png", "b.png", "c.png", "d.png"], content])
    for name in "abcd":
        expect(stay.locator("#batch-files")).to_contain_text(re.compile(f"{name}\\s*\\.png"))
