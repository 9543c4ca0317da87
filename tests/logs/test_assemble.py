"""From columns to a run, by hand: which points are in force, what was overtaken, whose they are."""

import numpy as np
import pytest

from talweg.logs.assemble import Column, assemble
from talweg.run import Facts, Run, Series


def column(
    role: str | None,
    steps: list[float],
    values: list[float] | None = None,
    *,
    places: list[int] | None = None,
    ranks: list[int] | None = None,
    name: str = "",
) -> Column:
    value = np.arange(len(steps), dtype=float) + 1 if values is None else np.array(values)
    place = np.array(range(len(steps)) if places is None else places, dtype=np.int64)
    rank = None if ranks is None else np.array(ranks, dtype=np.int64)
    return Column(name or role or "?", np.array(steps, dtype=float), value, role, place=place, rank=rank)


def made(*columns: Column, facts: Facts | None = None) -> Run:
    return assemble(columns, source="here", format="test", facts=facts)


def rows(series: Series) -> list[tuple[float, float]]:
    return list(zip(series.step.tolist(), series.value.tolist(), strict=True))


def test_a_series_of_any_order() -> None:
    assert rows(Series.of([0, 1, 2], [5, 6, 7])) == [(0, 5), (1, 6), (2, 7)]
    assert rows(Series.of([1, 1, 2], [5, 6, 7])) == [(1, 6), (2, 7)]
    assert rows(Series.of([2, 0, 1], [5, 6, 7])) == [(0, 6), (1, 7), (2, 5)]
    assert rows(Series.of([0, float("nan"), 1], [5, 6, 7])) == [(0, 5), (1, 7)]
    assert rows(Series.of([0, 1, float("inf")], [5, 6, 7])) == [(0, 5), (1, 6)]
    assert rows(Series.of([], [])) == []


def test_a_plain_run() -> None:
    run = made(column("train_loss", [0, 1, 2], [5, 4, 3]), column(None, [0, 2], [0.5, 0.6], name="acc"))
    assert rows(run.train_loss) == [(0, 5), (1, 4), (2, 3)]
    assert rows(run.others["acc"]) == [(0, 0.5), (2, 0.6)]
    assert (run.superseded, run.facts.resumed_at, run.reading.notes) == ({}, None, ())
    assert run.last_step == 2


def test_a_resume_in_one_column_cuts_all() -> None:
    """The evaluation of step 3 and the rates of steps 2 and 3 are of the part that was trained anew from step 2 on."""
    losses = column("train_loss", [0, 1, 2, 3, 2, 3], [5, 4, 3, 2, 3.5, 2.5], places=[0, 1, 3, 5, 7, 8])
    vals = column("val_loss", [1, 3], [4.5, 2.2], places=[2, 6])
    rates = column("learning_rate", [0, 1, 2, 3], [0.1, 0.2, 0.3, 0.4], places=[0, 1, 3, 5])
    run = made(losses, vals, rates)
    assert rows(run.train_loss) == [(0, 5), (1, 4), (2, 3.5), (3, 2.5)]
    assert rows(run.val_loss) == [(1, 4.5)]
    assert rows(run.learning_rate) == [(0, 0.1), (1, 0.2)]
    assert {name: [rows(piece) for piece in pieces] for name, pieces in run.superseded.items()} == {
        "train_loss": [[(2, 3), (3, 2)]],
        "val_loss": [[(3, 2.2)]],
        "learning_rate": [[(2, 0.3), (3, 0.4)]],
    }
    assert run.facts.resumed_at == (2,)
    assert "train loss: the log goes back to step 2 (a resume); 2 points that were trained anew were left out" in (
        run.reading.notes
    )


def test_an_evaluation_before_the_first_update_of_a_resume_is_of_the_new_part() -> None:
    losses = column("train_loss", [0, 1, 2, 3, 2, 3], [5, 4, 3, 2, 3.5, 2.5], places=[0, 1, 3, 5, 8, 9])
    vals = column("val_loss", [2, 2], [4.5, 4.4], places=[2, 7])
    run = made(losses, vals)
    assert rows(run.val_loss) == [(2, 4.4)]
    assert rows(run.superseded["val_loss"][0]) == [(2, 4.5)]


def test_two_resumes_leave_two_pieces() -> None:
    run = made(column("train_loss", [0, 1, 2, 3, 2, 3, 1, 2], [9, 8, 7, 6, 5, 4, 3, 2]))
    assert rows(run.train_loss) == [(0, 9), (1, 3), (2, 2)]
    assert [rows(piece) for piece in run.superseded["train_loss"]] == [[(1, 8), (2, 7), (3, 6)], [(2, 5), (3, 4)]]
    assert run.facts.resumed_at == (1, 2)


def test_what_a_log_says_of_resumes_and_what_its_steps_show_are_one_list() -> None:
    losses = column("train_loss", [0, 1, 2, 1, 2, 3], [9, 8, 7, 6, 5, 4])
    told = Facts.stated("the log tells of a checkpoint", resumed_at=(3.0,))
    facts = made(losses, facts=told).facts
    assert facts.resumed_at == (1, 3)
    assert facts.conflicts == {}
    same = made(losses, facts=Facts.stated("the log tells of a checkpoint", resumed_at=(1.0,))).facts
    assert (same.resumed_at, same.sources["resumed_at"]) == ((1,), "the log tells of a checkpoint")
    plain = made(column("train_loss", [0, 1]), facts=Facts.stated("a manifest", resumed_at=())).facts
    assert plain.resumed_at == ()


def test_a_log_that_starts_over_holds_two_runs() -> None:
    run = made(column("train_loss", [0, 5, 10, 0, 5], [9, 8, 7, 6, 5], places=[2, 4, 6, 9, 11]))
    assert rows(run.train_loss) == [(0, 6), (5, 5)]
    assert run.reading.run_starts == (0, 7)
    assert run.reading.runs == ("1", "2")
    assert run.facts.resumed_at is None


def test_repeated_lines_count_once_and_are_no_pieces() -> None:
    run = made(column("train_loss", [0, 0, 1, 1, 2], [5, 5, 4, 4, 3]))
    assert rows(run.train_loss) == [(0, 5), (1, 4), (2, 3)]
    assert run.superseded == {}
    assert any("counted once (2 left out)" in note for note in run.reading.notes)


def test_columns_that_are_no_losses_cut_nothing() -> None:
    run = made(column("train_loss", [0, 1, 2]), column("mfu", [0, 2, 1], [0.1, 0.2, 0.3]))
    assert len(run.train_loss) == 3
    assert rows(run.mfu) == [(0, 0.1), (1, 0.3)]


def test_processes_that_write_at_the_same_time_are_no_resumes() -> None:
    """The steps go back at every second point: more often than any run is taken up."""
    steps = [float(step) for pair in range(0, 200, 2) for step in (pair + 1, pair)]
    run = made(column("train_loss", steps), column("val_loss", [100], [3.0], places=[50]))
    assert rows(run.val_loss) == [(100, 3.0)]


def test_of_two_columns_with_one_role_the_first_counts() -> None:
    run = made(column("val_loss", [1], [3.0], name="a"), column("val_loss", [1], [4.0], name="b"))
    assert rows(run.val_loss) == [(1, 3.0)]
    assert rows(run.others["b"]) == [(1, 4.0)]


def test_points_without_a_step_are_left_out() -> None:
    run = made(column("train_loss", [float("nan"), 1, 2], [9, 8, 7]))
    assert rows(run.train_loss) == [(1, 8), (2, 7)]


def test_of_several_processes_the_first_is_taken_and_their_spread_is_kept() -> None:
    steps, ranks = [0.0, 0, 1, 1, 2, 2], [1, 0, 1, 0, 1, 0]
    run = made(column("train_loss", steps, [5.5, 5, 4.25, 4, 3.5, 3], ranks=ranks))
    assert rows(run.train_loss) == [(0, 5), (1, 4), (2, 3)]
    assert rows(run.rank_loss_spread) == [(0, 0.5), (1, 0.25), (2, 0.5)]
    assert run.facts.ranks == 2
    assert "2 processes print their losses; those of the first were taken" in run.reading.notes


def test_processes_that_print_the_same_have_no_spread() -> None:
    run = made(column("train_loss", [0, 0, 1, 1], [5, 5, 4, 4], ranks=[0, 1, 0, 1]))
    assert rows(run.train_loss) == [(0, 5), (1, 4)]
    assert not run.rank_loss_spread
    assert run.facts.ranks == 2


def test_numbers_before_lines_that_are_no_ranks() -> None:
    """grep -n numbers them: each step stands there once."""
    run = made(column("train_loss", [0, 1, 2, 3], ranks=[1, 2, 3, 4]))
    assert len(run.train_loss) == 4
    assert run.facts.ranks is None


def test_not_finite_points_stay() -> None:
    run = made(column("train_loss", [0, 1, 2], [5, float("nan"), float("inf")]))
    assert np.isnan(run.train_loss.value[1])
    assert np.isinf(run.train_loss.value[2])


@pytest.mark.parametrize("columns", [[], [column("train_loss", [])]])
def test_nothing_is_an_empty_run(columns: list[Column]) -> None:
    run = made(*columns)
    assert run.last_step is None
    assert not run.train_loss


def test_thousands_of_resumes_are_cut_in_no_time() -> None:
    """A step back after each 25 of half a million points: against the rule applied to the points one by one."""
    steps = np.arange(500_000, dtype=float) - 3 * (np.arange(500_000) // 25)
    losses = Column("loss", steps, np.arange(500_000.0), "train_loss", place=np.arange(500_000) * 2)
    vals = Column("val", steps, -np.arange(500_000.0), "val_loss", place=np.arange(500_000) * 2 + 1)
    run = made(losses, vals)
    lowest_after = np.append(np.minimum.accumulate(steps[::-1])[::-1][1:], np.inf)
    assert np.array_equal(run.train_loss.step, steps[steps < lowest_after])
    assert np.array_equal(run.val_loss.step, run.train_loss.step)
