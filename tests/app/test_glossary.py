"""Words that need one are explained where they are first used."""

from __future__ import annotations

from app.glossary import WORDS, listed, with_tooltips


def test_the_first_use_of_a_word_is_explained_and_no_other():
    said = with_tooltips("A token drops; other tokens stay, as does a class token.")
    assert said.count("<abbr") == 2
    assert said.startswith(f'A <abbr tabindex="0" title="{WORDS["token"]}">token</abbr> drops; ')
    assert said.endswith(f'a <abbr tabindex="0" title="{WORDS["class token"]}">class token</abbr>.')


def test_a_word_is_found_in_the_plural_but_not_within_another():
    assert ">patches</abbr>" in with_tooltips("all patches")
    assert with_tooltips("separate, normalised, seeded") == "separate, normalised, seeded"


def test_a_quote_in_a_meaning_ends_no_attribute(monkeypatch):
    monkeypatch.setitem(WORDS, "norm", 'a "length" <b>')
    assert 'title="a &quot;length&quot; &lt;b&gt;"' in with_tooltips("norm")


def test_every_word_is_listed():
    assert len(listed().splitlines()) == len(WORDS)
    assert all(f"**{word}**: {meaning}" in listed() for word, meaning in WORDS.items())
