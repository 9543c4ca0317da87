"""Which processors are told to sort in another way, from what Linux says of them."""

from pathlib import Path

import pytest

from talweg.corpus.processor import avoid_slow_sorts

ZEN4 = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nflags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\n"


@pytest.mark.parametrize(
    ("cpuinfo", "told"),
    [
        (ZEN4, True),
        (ZEN4.replace("avx512f", "bmi1"), False),  # Zen 3
        (ZEN4.replace(": 25", ": 26"), False),  # Zen 5
        (ZEN4.replace("AuthenticAMD", "GenuineIntel"), False),
        ("", False),
    ],
)
def test_only_zen_4_is_told(tmp_path: Path, cpuinfo: str, told: bool) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    environment: dict[str, str] = {}
    avoid_slow_sorts(environment, tmp_path / "cpuinfo")
    assert ("NPY_DISABLE_CPU_FEATURES" in environment) is told


def test_what_a_person_has_set_stays_and_other_systems_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(ZEN4)
    environment = {"NPY_DISABLE_CPU_FEATURES": "AVX2"}
    avoid_slow_sorts(environment, tmp_path / "cpuinfo")
    assert environment == {"NPY_DISABLE_CPU_FEATURES": "AVX2"}
    avoid_slow_sorts(environment := {}, tmp_path / "absent")
    assert environment == {}
