"""Few-shot and long-tailed samples: how many, of which class, and what moves none of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from toys import image_set, task

from drople.training.data import Task, imbalanced_counts, sample_shots


@pytest.mark.parametrize("shots", [1, 3, 4, 16])
def test_few_shots_take_that_many_of_each_class(shots):
    sampled = task(classes=5, each=4).few(shots, seed=0).train
    assert np.bincount(sampled.labels).tolist() == [min(shots, 4)] * 5
    assert len(set(sampled.keys)) == len(sampled)


def test_a_sample_keeps_each_image_with_its_label():
    images = image_set([0, 0, 0, 1, 1, 1])
    sampled = sample_shots(images, ("cat", "dog"), shots=2, seed=1)
    assert sampled.labels.tolist() == [images.labels[int(key)] for key in sampled.keys]


def test_a_seed_fixes_the_sample_and_another_changes_it():
    images = image_set([0] * 40 + [1] * 40)
    classes = ("cat", "dog")
    first, again, other = (
        sample_shots(images, classes, shots=8, seed=seed).keys for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def named_task(**counts):
    """A task whose keys say class and number, so that they can be compared between tasks."""
    labels = [label for label, count in enumerate(counts.values()) for _ in range(count)]
    keys = tuple(f"{name}{i}" for name, count in counts.items() for i in range(count))
    images = replace(image_set(labels), keys=keys)
    return Task("pets", tuple(counts), images, images, images)


DOGS = {"cat": 30, "dog": 30}


def keys_of(task, name):
    return [key for key in task.train.keys if key.startswith(name)]


@pytest.mark.parametrize("changed", [{"cat": 31, "dog": 30}, {"bee": 31, "cat": 30, "dog": 30}])
def test_a_picture_or_class_added_moves_no_other_classs_shots(changed):
    before, after = (named_task(**counts).few(5, seed=1) for counts in (DOGS, changed))
    assert keys_of(before, "dog") == keys_of(after, "dog")


@pytest.mark.parametrize("changed", [{"cat": 31, "dog": 30}, {"bee": 31, "cat": 30, "dog": 30}])
def test_a_long_tail_may_keep_more_of_a_class_but_never_others(changed):
    before, after = (named_task(**counts).long_tail(3, seed=1) for counts in (DOGS, changed))
    fewer, more = sorted((set(keys_of(one, "dog")) for one in (before, after)), key=len)
    assert 0 < len(fewer) < 30
    assert fewer <= more


def test_two_classes_of_one_size_draw_by_themselves():
    few = named_task(cat=30, dog=30).few(10, seed=1)
    cat, dog = ([key[3:] for key in keys_of(few, name)] for name in ("cat", "dog"))
    assert cat != dog


def test_fewer_shots_are_among_more():
    task = named_task(cat=30, dog=20)
    drawn = [set(task.few(shots, seed=3).train.keys) for shots in (1, 2, 4, 8, 16)]
    assert all(few < more for few, more in pairwise(drawn))


def test_sampling_touches_the_training_images_only():
    few = task().few(1, seed=0)
    assert (len(few.val), len(few.test)) == (20, 20)


@pytest.mark.parametrize(
    ("counts", "ratio", "expected"),
    [
        ([100, 50, 80], 10, [100, 10, 32]),  # 100, 100/sqrt(10) = 31.6 rounded up, 10
        ([100, 4, 80], 10, [100, 4, 32]),  # at most what there is
        ([20, 20, 20], 100, [20, 2, 1]),  # at least one
        ([7, 7], 1, [7, 7]),
        ([9], 10, [9]),
    ],
)
def test_imbalance_falls_exponentially_from_the_largest_class(counts, ratio, expected):
    labels = np.repeat(np.arange(len(counts)), counts)
    assert imbalanced_counts(labels, len(counts), ratio).tolist() == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 0, 1, 1], [2, 1]), ([1, 0, 1, 0], [1, 2]), ([2, 1, 1, 2], [0, 1, 2])],
)
def test_of_equal_classes_the_one_seen_first_keeps_more(labels, expected):
    """As Counter.most_common ranks them in the released code."""
    assert imbalanced_counts(np.array(labels), len(expected), 10).tolist() == expected


def test_a_long_tail_keeps_the_images_it_says():
    tail = task(classes=3, each=10).long_tail(10, seed=0).train
    assert np.bincount(tail.labels).tolist() == [10, 4, 1]


# --- folders ----------------------------------------------------------------------------------
