"""Which tests answer for which source file, the likeliest to notice a fault first; stated here once."""

from __future__ import annotations

from tests.mutants.answers_pat import PAT

ANSWERS: dict[str, tuple[str, ...]] = {
    "analysis/arrays.py": ("tests/analysis/test_arrays.py",),
    "analysis/bulk.py": ("tests/analysis/test_bulk.py", "tests/analysis/test_ledger.py"),
    "analysis/cells.py": ("tests/analysis/test_cells.py", "tests/analysis/test_cell_images.py"),
    "analysis/cost.py": ("tests/analysis/tables/test_costs.py",),
    "analysis/identity.py": (
        "tests/analysis/test_merge_refusals.py",
        "tests/analysis/test_merge.py",
        "tests/sweeps/test_store.py",
    ),
    "analysis/ledger.py": ("tests/analysis/test_cell_images.py", "tests/analysis/test_ledger.py"),
    "analysis/merge.py": ("tests/analysis/test_merge.py", "tests/analysis/test_merge_refusals.py"),
    "analysis/published.py": ("tests/analysis/test_published.py",),
    "analysis/rectangle.py": ("tests/analysis/test_arrays.py",),
    "analysis/schema.py": ("tests/analysis/test_ledger.py",),
    "analysis/searches.py": ("tests/analysis/test_searches.py", "tests/analysis/tables/test_transfer.py"),
    "analysis/stats/": ("tests/analysis/stats",),
    "analysis/stats/aggregates.py": ("tests/analysis/stats/test_aggregates.py",),
    "analysis/stats/cellwise.py": ("tests/analysis/test_cells.py", "tests/analysis/test_cell_images.py"),
    "analysis/stats/images.py": ("tests/analysis/stats/test_images.py",),
    "analysis/stats/moderated.py": ("tests/analysis/stats/test_moderated.py",),
    "analysis/stats/multiple.py": ("tests/analysis/stats/test_multiple.py",),
    "analysis/stats/offered.py": ("tests/analysis/stats/test_aggregates.py", "tests/analysis/stats/test_paired.py"),
    "analysis/stats/paired.py": ("tests/analysis/stats/test_paired.py",),
    "analysis/stats/ranks.py": ("tests/analysis/stats/test_ranks.py",),
    "analysis/versions.py": ("tests/analysis/test_versions.py", "tests/analysis/test_merge.py"),
    "analysis/verdicts.py": ("tests/analysis/stats/test_shrink.py",),
    "analysis/summary.py": ("tests/analysis/test_summary.py",),
    "analysis/tables/": ("tests/analysis/tables/test_study_tables.py",),
    "analysis/tables/costs.py": ("tests/analysis/tables/test_costs.py",),
    "analysis/tables/duels.py": ("tests/analysis/tables/test_duels.py",),
    "analysis/tables/details.py": ("tests/analysis/test_metrics.py",),
    "analysis/tables/importance.py": ("tests/analysis/tables/test_importance.py",),
    "analysis/tables/published.py": ("tests/analysis/test_published.py",),
    "analysis/tables/transfer.py": ("tests/analysis/tables/test_transfer.py",),
    **PAT,
    "sweeps/configs.py": (
        "tests/sweeps/test_teacher_sizes.py",
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_planner.py",
        "tests/sweeps/test_pretraining.py",
    ),
    "sweeps/costs/": ("tests/sweeps/test_forecast.py",),
    "sweeps/costs/disk.py": ("tests/sweeps/test_forecast.py", "tests/sweeps/test_needed.py"),
    "sweeps/costs/expect.py": ("tests/sweeps/test_plan_text.py",),
    "sweeps/costs/flops.py": ("tests/sweeps/test_probe.py",),
    "sweeps/costs/groups.py": ("tests/sweeps/test_together.py", "tests/sweeps/test_plan_text.py"),
    "sweeps/costs/known.py": ("tests/sweeps/test_known.py",),
    "sweeps/costs/shapes.py": ("tests/sweeps/test_known.py", "tests/sweeps/test_probe.py"),
    "sweeps/costs/probe_file.py": ("tests/sweeps/test_forecast.py",),
    "sweeps/planning/speeds.py": ("tests/sweeps/test_speeds.py",),
    "sweeps/engine/driver.py": (
        "tests/sweeps/test_driver.py::test_a_process_that_dies_before_the_run_begins_is_no_fault_of_the_run",
        "tests/sweeps/test_driver.py::test_a_run_whose_process_is_lost_too_often_fails",
        "tests/sweeps/test_driver.py::test_losses_of_a_run_that_gets_on_do_not_add_up",
        "tests/sweeps/test_keep.py",
        "tests/sweeps/test_handing_out.py",
        "tests/sweeps/test_endings.py",
        "tests/sweeps/test_pretraining.py::test_searched_settings_stand_in_the_ledger",
    ),
    "sweeps/engine/kept.py": ("tests/sweeps/test_keep.py",),
    "sweeps/planning/together.py": ("tests/sweeps/test_together.py",),
    "sweeps/engine/keep.py": ("tests/sweeps/test_keep.py", "tests/sweeps/test_records.py"),
    "sweeps/engine/health.py": ("tests/sweeps/test_health.py",),
    "sweeps/engine/launch.py": ("tests/sweeps/test_launch.py", "tests/sweeps/test_endings.py"),
    "sweeps/engine/lock.py": ("tests/sweeps/test_lock.py",),
    "sweeps/engine/patience.py": ("tests/sweeps/test_patience.py",),
    "sweeps/engine/progress.py": ("tests/sweeps/test_progress.py",),
    "sweeps/engine/records.py": ("tests/sweeps/test_records.py", "tests/sweeps/test_pretraining.py"),
    "sweeps/engine/runs.py": (
        "tests/sweeps/test_keep.py",
        "tests/sweeps/test_faults.py::test_memory_that_does_not_suffice_is_saved",
        "tests/sweeps/test_faults.py::test_memory_that_nothing_saves_fails_with_the_workers_it_needs",
        "tests/sweeps/test_driver.py::test_losses_of_a_run_that_gets_on_do_not_add_up",
    ),
    "sweeps/engine/siblings.py": tuple(
        f"tests/sweeps/test_{name}"
        for name in (
            "siblings.py::test_what_was_begun_here_is_replaced_by_what_has_finished_there",
            "siblings.py::test_what_is_not_whole_is_trained",
            "initial_runs.py::test_initial_weights_that_cannot_be_used",
            "initial_runs.py::test_initial_weights_are_kept_where_the_study_is",
            "siblings.py::test_finished_teachers_are_adopted_and_all_is_as_if_they_had_been_trained",
        )
    ),
    "sweeps/planning/": ("tests/sweeps/test_search.py", "tests/sweeps/test_planner.py"),
    "sweeps/planning/anchors.py": ("tests/sweeps/test_anchors.py",),
    "sweeps/planning/cells.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_forecast.py",
        "tests/sweeps/test_needed.py",
        "tests/sweeps/test_pretraining.py",
    ),
    "sweeps/planning/chain.py": (
        "tests/sweeps/test_progress.py",
        "tests/sweeps/test_needed.py",
        "tests/sweeps/test_both_sides.py",
        "tests/sweeps/test_anchors.py",
    ),
    "sweeps/planning/halving.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_forecast.py",
        "tests/sweeps/test_planner.py",
        "tests/sweeps/test_pretraining.py",
    ),
    "sweeps/planning/matrix.py": ("tests/sweeps/test_search.py", "tests/sweeps/test_teacherless.py"),
    "sweeps/planning/planner.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_handing_out.py",
        "tests/sweeps/test_anchors.py",
        "tests/sweeps/test_needed.py",
        "tests/sweeps/test_pretraining.py",
    ),
    "sweeps/planning/units.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_planner.py",
        "tests/sweeps/test_needed.py",
        "tests/sweeps/test_both_sides.py",
        "tests/sweeps/test_pretraining.py",
    ),
    "sweeps/planning/search.py": ("tests/sweeps/test_search.py", "tests/sweeps/test_waves.py"),
    "sweeps/planning/unsynced.py": ("tests/sweeps/test_keep.py",),
    "sweeps/planning/urgency.py": ("tests/sweeps/test_handing_out.py",),
    "sweeps/planning/view.py": ("tests/sweeps/test_view.py",),
    "sweeps/published.py": ("tests/analysis/test_published.py", "tests/sweeps/test_store.py"),
    "sweeps/search.py": ("tests/sweeps/test_search.py", "tests/sweeps/test_store.py", "tests/sweeps/test_cli.py"),
    "sweeps/spaces.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_store.py",
        "tests/sweeps/test_anchors.py",
        "tests/sweeps/test_waves.py",
    ),
    "sweeps/store.py": ("tests/sweeps/test_store.py",),
    "sweeps/study.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_store.py",
        "tests/sweeps/test_teacherless.py",
    ),
    "sweeps/waves.py": ("tests/sweeps/test_waves.py",),
    "sweeps/teachers.py": ("tests/sweeps/test_teachers.py",),
}
"""A source file, or a folder that ends in "/", and its tests; of several that fit a file the longest counts."""


def answering(file: str) -> tuple[str, ...]:
    """The tests that answer for a source file; none where nothing is stated."""
    fitting = [place for place in ANSWERS if file == place or (place.endswith("/") and file.startswith(place))]
    return ANSWERS[max(fitting, key=len)] if fitting else ()
