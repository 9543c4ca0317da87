"""The part of YAML that trainers write, against PyYAML; what goes beyond it is left out, never misread."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg.settings.documents import Settings, namespace, nested
from talweg.settings.yaml_lines import parse

KEYS = st.one_of(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_./ -]{0,10}[a-z0-9_]", fullmatch=True),
    st.sampled_from(["lr", "a b", "x:y", "on# x", "a: b", "#k"]),
)
TEXTS = st.text(alphabet=st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=30)
AWKWARD = ["1e-3", "a: b", "# x", "- y", "yes", "it's", '"q"', "0.1", "null", "[a", "{b", "x " * 60, "a, b", "-", "? x"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_subnormal=False),
    TEXTS,
    st.sampled_from(AWKWARD),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


def agree(ours: Any, theirs: Any) -> None:
    """Ours is theirs, less what was left out; and a number where they see 1e-3 as a text."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert set(ours) <= set(theirs)
        for key, value in ours.items():
            agree(value, theirs[key])
    elif isinstance(theirs, list):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            agree(one, other)
    elif isinstance(theirs, str) and isinstance(ours, float):
        assert float(theirs) == ours
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.sampled_from([None, True, False]),
    st.integers(20, 200),
    st.integers(2, 6),
)
def test_what_pyyaml_writes_is_read_as_pyyaml_reads_it(
    document: dict[str, Any], flow: bool | None, width: int, indent: int
) -> None:
    yaml = pytest.importorskip("yaml")
    text = yaml.safe_dump(document, default_flow_style=flow, width=width, indent=indent)
    agree(parse(text), yaml.safe_load(text))


NAMES = st.text(alphabet="abcdefgh_", min_size=3, max_size=8)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers() | st.booleans(), max_size=4), max_size=4))
def test_nothing_of_a_plain_document_is_left_out(document: dict[str, dict[str, int | bool]]) -> None:
    yaml = pytest.importorskip("yaml")
    assert parse(yaml.safe_dump(document, default_flow_style=False)) == document


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    nested(text)
    Settings.of(nested(text))
    namespace(text)


TRAINER = """\
# a comment
%YAML 1.1
---
run: first  # behind a value
"quoted key": 'it''s'
url: http://host:80/#x
train:
    betas:
    - 0.9
    - 0.95
    lr: 6e-4
    steps: 10_000
    data: [{path: a, weight: .5}, {path: "b",
           weight: 1}]  # over two lines
    empty:
    disabled: off
    nothing: ~
model: {width: 64, name: gpt, deep: {bias: false}}
items:
  - name: a
    size: 1
  -
    name: b
  - - 1
    - 2
inf: .inf
"""


def test_a_document_by_eye() -> None:
    assert parse(TRAINER) == {
        "run": "first",
        "quoted key": "it's",
        "url": "http://host:80/#x",
        "train": {
            "betas": [0.9, 0.95],
            "lr": 6e-4,
            "steps": 10_000,
            "data": [{"path": "a", "weight": 0.5}, {"path": "b", "weight": 1}],
            "empty": None,
            "disabled": False,
            "nothing": None,
        },
        "model": {"width": 64, "name": "gpt", "deep": {"bias": False}},
        "items": [{"name": "a", "size": 1}, {"name": "b"}, [1, 2]],
        "inf": math.inf,
    }
    yaml = pytest.importorskip("yaml")
    agree(parse(TRAINER), yaml.safe_load(TRAINER))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: &x 3\nb: *x\nc: 1\n", {"c": 1}),
        ("base: &b\n  lr: 1\n  k: 2\nrun:\n  <<: *b\n  lr: 3\nc: 1\n", {"c": 1}),
        ("a: |\n  lr: 3\n\n  b: 4\nc: 1\n", {"c": 1}),
        ("a: >-\n  lr: 3\nc: 1\n", {"c": 1}),
        ("a: a text\n  that goes on\nc: 1\n", {"c": 1}),
        ('a: "a text\n  lr: 3"\nc: 1\n', {"c": 1}),
        ("a: !!python/object:x.Y {lr: 3}\nb: !!python/name:f ''\nc: 1\n", {"c": 1}),
        ("betas: !!python/tuple\n- 0.9\n- 0.95\nc: 1\n", {"betas": [0.9, 0.95], "c": 1}),
        ("a: &x\n- 1\n- 2\nc: 1\n", {"c": 1}),
        ("c: 1\n---\nc: 2\n", {"c": 1}),
    ],
)
def test_what_goes_beyond_it_is_left_out_and_the_rest_is_read(text: str, found: dict[str, Any]) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n   b: 2\n",
        "a:\n\tb: 1\n",
        "a: 'x\nb: 1\n",
        "a: [1, 2\n",
        "a: 1\nwords\n",
        "a: {b: 1}}\n",
        "a: @x\n",
        "a: 'x' y\n",
    ],
)
def test_what_is_no_yaml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_a_setting_in_two_places() -> None:
    text = "seed: 1\ntrain:\n  batch_size: 8\neval:\n  batch_size: 64\n  seed: 7\n"
    assert Settings.of(nested(text)).get("batch_size") == 8
    assert Settings.of(nested(text)).get("seed") == 1
    assert Settings.of(nested("eval:\n  batch_size: 64\n")).get("batch_size") is None  # not of the training
    two = Settings.of(nested("encoder:\n  width: 1\ndecoder:\n  width: 2\n"))
    assert two.get("width") is None
    assert Settings.of(nested("encoder:\n  width: 2\ndecoder:\n  width: 2\n")).get("width") == 2


def test_a_printed_namespace() -> None:
    line = "Namespace(lr=0.1, betas=(0.9, 0.95), name='a, b=c', d=device(type='cuda'), sub=Namespace(x=1), t=True)"
    assert namespace(line) == {"lr": 0.1, "betas": (0.9, 0.95), "name": "a, b=c", "sub": {"x": 1}, "t": True}
    assert namespace("Namespace(lr=0.1, fn=<function f at 0x7f>, seed=3)\n") == {"lr": 0.1, "seed": 3}
