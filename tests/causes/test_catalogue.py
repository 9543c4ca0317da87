"""Finding causes, and their pages."""

import importlib.metadata
from types import ModuleType

import pytest

from talweg import causes
from talweg.errors import InputError


def test_page_and_its_parts() -> None:
    module = causes.catalogue()["overfitting"]
    assert causes.page("overfitting").startswith("Overfitting: validation loss has passed its minimum")
    assert causes.summary(module).startswith("validation loss has passed")
    assert "no minimum" in causes.refuted_by(module)
    assert "\n" not in causes.refuted_by(module)


def test_a_wrong_name_gets_the_nearest_one() -> None:
    with pytest.raises(InputError, match="did you mean overfitting"):
        causes.page("overfiting")
    with pytest.raises(InputError, match=r"the catalogue has .*bad_initialisation, "):
        causes.page("zzzz")


def test_a_package_adds_causes_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new name joins the catalogue; a name of ours is not replaced."""
    foreign = ModuleType("foreign")

    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> ModuleType:
            return foreign

    entries = [Entry("moon_phase"), Entry("overfitting")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries if group == "talweg.causes" else [])
    causes.catalogue.cache_clear()
    try:
        found = causes.catalogue()
        assert found["moon_phase"] is foreign
        assert found["overfitting"] is not foreign
        assert list(found) == sorted(found)
    finally:
        causes.catalogue.cache_clear()
