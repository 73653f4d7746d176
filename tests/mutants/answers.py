"""Which tests answer for which source file, the likeliest to notice a fault first; stated here once."""

from __future__ import annotations

GOLDEN = "tests/golden/test_runs.py"


def _golden(*names: str) -> tuple[str, ...]:
    """Golden runs by their names without the precision; of a bare method that of its CNN."""
    runs = (name if " " in name else f"{name} cnn" for name in names)
    return tuple(f"{GOLDEN}::test_a_run_gives_what_was_recorded[{run} fp32]" for run in runs)


def _of(file: str, *names: str) -> tuple[str, ...]:
    """Tests of a file in tests/pat; all names without their test_."""
    return tuple(f"tests/pat/test_{file}.py::test_{name}" for name in names)


METHODS = ("dist", "dkd", "ofa", "rkd", "scratch")
"""Those whose golden runs at the defaults and the contract of all say enough."""

ANSWERS: dict[str, tuple[str, ...]] = {
    "analysis/arrays.py": ("tests/analysis/test_arrays.py",),
    "analysis/bulk.py": ("tests/analysis/test_bulk.py", "tests/analysis/test_ledger.py"),
    "analysis/cells.py": ("tests/analysis/test_cells.py", "tests/analysis/test_cell_images.py"),
    "analysis/cost.py": ("tests/analysis/tables/test_costs.py",),
    "analysis/identity.py": ("tests/analysis/test_merge.py", "tests/sweeps/test_store.py"),
    "analysis/ledger.py": ("tests/analysis/test_cell_images.py", "tests/analysis/test_ledger.py"),
    "analysis/merge.py": ("tests/analysis/test_merge.py",),
    "analysis/published.py": ("tests/analysis/test_published.py",),
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
    "analysis/summary.py": ("tests/analysis/test_summary.py",),
    "analysis/tables/": ("tests/analysis/tables/test_study_tables.py",),
    "analysis/tables/costs.py": ("tests/analysis/tables/test_costs.py",),
    "analysis/tables/details.py": ("tests/analysis/test_metrics.py",),
    "analysis/tables/importance.py": ("tests/analysis/tables/test_importance.py",),
    "analysis/tables/published.py": ("tests/analysis/test_published.py",),
    "analysis/tables/transfer.py": ("tests/analysis/tables/test_transfer.py",),
    "pat/": (GOLDEN,),
    "pat/align.py": (
        "tests/pat/test_pat.py",
        *_of("workers", "global_batchnorm_is_batchnorm_over_all_workers"),
        *_golden("pat", "pat-current vit", "fitnet", "fitnet mlp"),
    ),
    "pat/areas.py": ("tests/pat/test_areas.py", "tests/pat/test_sokd.py"),
    "pat/clock.py": ("tests/pat/test_reviewkd.py", "tests/pat/test_sokd.py"),
    "pat/config.py": ("tests/pat/test_config.py", GOLDEN),
    "pat/counter.py": ("tests/pat/test_counter.py", "tests/pat/test_views.py"),
    "pat/data/base.py": ("tests/pat/test_data.py", GOLDEN),
    "pat/data/boxes.py": ("tests/pat/test_boxes.py",),
    "pat/data/coco.py": ("tests/pat/test_boxes.py",),
    "pat/data/mask_folder.py": ("tests/pat/test_masks.py",),
    "pat/data/masks.py": ("tests/pat/test_masks.py",),
    "pat/dense/": ("tests/pat/test_dense_models.py",),
    "pat/dense/anchors.py": ("tests/pat/test_sampling.py", "tests/pat/test_detector.py"),
    "pat/dense/ap.py": ("tests/pat/test_dense_measures.py",),
    "pat/dense/detector.py": ("tests/pat/test_detector.py",),
    "pat/dense/miou.py": ("tests/pat/test_dense_measures.py",),
    "pat/dense/sampling.py": ("tests/pat/test_sampling.py", "tests/pat/test_detector.py"),
    "pat/evaluate.py": ("tests/pat/test_train.py::test_selection_rules_by_hand", GOLDEN),
    "pat/feature_ops.py": ("tests/pat/test_feature_policy.py",),
    "pat/feature_policy.py": ("tests/pat/test_feature_policy.py", "tests/pat/test_sokd.py"),
    "pat/fusion.py": ("tests/pat/test_reviewkd.py",),
    "pat/groups.py": ("tests/pat/test_groups.py",),
    "pat/gather.py": ("tests/pat/test_gather.py",),
    "pat/losses/": (
        "tests/pat/test_losses.py",
        "tests/pat/test_logit_losses.py",
        "tests/pat/test_feature_losses.py",
        "tests/pat/test_areas.py",
        GOLDEN,
    ),
    "pat/memory.py": (
        "tests/pat/test_memory.py",
        *_of("dense_methods", "a_batch_is_not_done_in_parts"),
    ),
    "pat/options.py": (
        "tests/pat/test_config.py",
        *_of("tasks", "every_task_is_known_by_name", "a_module_of_one_s_own_meets_the_same_refusals"),
    ),
    "pat/prompts.py": (
        "tests/pat/test_pat.py",
        *_golden("pat", "pat-current vit"),
        *_of("dense_methods", "every_prompt_learns", "feedback_is_kept_at_the_nominal_size"),
    ),
    "pat/methods/": ("tests/pat/test_methods.py", GOLDEN),
    **{f"pat/methods/{name}.py": (*_golden(name), "tests/pat/test_methods.py") for name in METHODS},
    "pat/methods/base.py": (
        *_golden("scratch", "scratch vit", "pat"),
        *_of("methods", "method_modules_have_a_generator_of_their_own"),
        *_of("dense_methods", "the_teacher_s_padding_is_its_own_zero"),
        *_of("dense_methods", "methods_of_classification_are_refused_elsewhere"),
        "tests/pat/test_methods.py",
    ),
    "pat/methods/crd.py": (*_golden("crd"), "tests/pat/test_crd.py"),
    "pat/methods/pat.py": (
        *_golden("pat", "pat-current vit", "pat-none mlp"),
        "tests/pat/test_pat.py",
        *_of("dense_methods", "feedback_is_kept_at_the_nominal_size", "the_teacher_s_padding_is_its_own_zero"),
        *_of("dense_methods", "maps_teach_where_they_show_the_image[pat-segmentation]"),
        *_of("dense_methods", "the_losses_of_two_workers_are_those_of_one[pat-segmentation]"),
    ),
    "pat/methods/fitnet.py": (
        *_golden("fitnet", "fitnet-kd mlp"),
        *_of("methods", "hints_of_models_with_three_stages_and_with_four"),
        *_of("dense_methods", "maps_teach_where_they_show_the_image[fitnet-segmentation]"),
        *_of("dense_methods", "the_losses_of_two_workers_are_those_of_one[fitnet-segmentation]"),
        *_of("dense_methods", "nothing_is_learnt_from_oneself"),
        "tests/pat/test_methods.py",
    ),
    "pat/methods/reviewkd.py": ("tests/pat/test_reviewkd.py", *_golden("reviewkd", "reviewkd-warm mlp")),
    "pat/methods/sokd.py": (
        "tests/pat/test_sokd.py",
        *_of("methods", "the_loss_is_the_weighted_sum_of_its_parts[sokd]"),
        *_of("dense_methods", "maps_teach_where_they_show_the_image[sokd-segmentation]"),
        *_golden("sokd", "sokd-reviewkd vit"),
    ),
    "pat/methods/kd.py": (
        *_golden("kd"),
        *_of("dense_methods", "the_losses_of_two_workers_are_those_of_one[kd-segmentation]"),
        "tests/pat/test_methods.py",
    ),
    "pat/methods/cc.py": (*_golden("cc", "cc-kernel vit"), "tests/pat/test_methods.py"),
    "pat/train.py": (
        GOLDEN,
        "tests/pat/test_train.py::test_what_a_step_draws_depends_on_seed_and_step_alone",
        "tests/pat/test_train.py::test_the_bits_that_are_kept_are_those_of_the_chosen_epoch",
        "tests/pat/test_memory.py",
    ),
    "pat/tasks/base.py": (
        *_of("tasks", "a_share_scales_a_mean", "a_module_of_one_s_own_meets_the_same_refusals"),
        *_of("dense_shapes", "students_and_batches_are_functions_of_the_seed", "levels_are_the_shapes_of_the_maps"),
        *_of("dense_runs", "refusals_are_one_line"),
        *_of("dense_methods", "maps_teach_where_they_show_the_image[fitnet-segmentation]"),
        *_golden("crd"),
    ),
    "pat/tasks/classification.py": (
        *_golden("scratch", "pat"),
        *_of("dense_shapes", "two_workers_score_what_one_does"),
        *_of("streams", "evaluation_sees_what_timm_shows"),
    ),
    "pat/tasks/dense.py": (
        "tests/pat/test_dense_shapes.py",
        *_of("dense_runs", "refusals_are_one_line"),
        *_of("dense_methods", "a_batch_is_not_done_in_parts", "nothing_is_learnt_from_oneself"),
        *_of("dense_methods", "maps_teach_where_they_show_the_image[fitnet-detection]"),
    ),
    "pat/tasks/detection.py": (
        "tests/pat/test_dense_shapes.py",
        *_of("dense_runs", "the_truth_scores_100", "scoring_leaves_the_model_as_it_was", "refusals_are_one_line"),
        *_of("dense_methods", "the_losses_of_two_workers_are_those_of_one[kd-detection]"),
        *_of("tasks", "regions_cost_as_many_as_there_can_be"),
    ),
    "pat/tasks/segmentation.py": (
        *_of("tasks", "segmentation_is_scored_pixel_by_pixel"),
        *_of("dense_methods", "samples_of_segmentation_are_cells_with_a_class"),
        *_of("dense_methods", "the_losses_of_two_workers_are_those_of_one[kd-segmentation]"),
        *_of("dense_runs", "refusals_are_one_line"),
        "tests/pat/test_dense_shapes.py",
    ),
    "pat/training.py": (
        *_of("recipe", "the_rate_of_every_step"),
        "tests/pat/test_groups.py",
        *_of("workers", "shared_statistics_leave_the_activations"),
        *_of("train", "the_bits_that_are_kept_are_those_of_the_chosen_epoch"),
        *_of("train", "a_checkpoint_that_calls_scores_top1_goes_on"),
        "tests/pat/test_train.py::test_outcome_is_complete",
        "tests/pat/test_train.py::test_teacher_identity",
        GOLDEN,
        "tests/pat/test_train.py::test_interrupted_and_resumed_equals_uninterrupted",
    ),
    "pat/starting.py": ("tests/pat/test_starting.py",),
    "pat/views/": ("tests/pat/test_views.py", GOLDEN),
    "pat/views/colour_jitter.py": ("tests/pat/test_augment_draws.py", GOLDEN),
    "pat/views/dense.py": ("tests/pat/test_dense_views.py", "tests/pat/test_placing.py"),
    "pat/views/erasing.py": ("tests/pat/test_augment_draws.py", GOLDEN),
    "pat/views/order.py": ("tests/pat/test_placing.py", *_golden("scratch")),
    "pat/views/pipeline.py": ("tests/pat/test_views.py", GOLDEN, "tests/pat/test_streams.py"),
    "pat/views/placing.py": ("tests/pat/test_placing.py", "tests/pat/test_dense_views.py"),
    "pat/views/randaugment.py": ("tests/pat/test_augment_draws.py", GOLDEN),
    "sweeps/configs.py": ("tests/sweeps/test_search.py", "tests/sweeps/test_planner.py"),
    "sweeps/costs/": ("tests/sweeps/test_forecast.py",),
    "sweeps/costs/expect.py": ("tests/sweeps/test_plan_text.py",),
    "sweeps/costs/flops.py": ("tests/sweeps/test_probe.py",),
    "sweeps/costs/probe_file.py": ("tests/sweeps/test_forecast.py",),
    "sweeps/costs/speeds.py": ("tests/sweeps/test_speeds.py",),
    "sweeps/engine/driver.py": (
        "tests/sweeps/test_driver.py::test_a_process_that_dies_before_the_run_begins_is_no_fault_of_the_run",
        "tests/sweeps/test_driver.py::test_a_run_whose_process_is_lost_too_often_fails",
        "tests/sweeps/test_driver.py::test_losses_of_a_run_that_gets_on_do_not_add_up",
        "tests/sweeps/test_keep.py",
        "tests/sweeps/test_handing_out.py",
    ),
    "sweeps/engine/keep.py": ("tests/sweeps/test_keep.py", "tests/sweeps/test_records.py"),
    "sweeps/engine/launch.py": ("tests/sweeps/test_launch.py",),
    "sweeps/engine/lock.py": ("tests/sweeps/test_lock.py",),
    "sweeps/engine/progress.py": ("tests/sweeps/test_progress.py",),
    "sweeps/engine/records.py": ("tests/sweeps/test_records.py",),
    "sweeps/engine/runs.py": (
        "tests/sweeps/test_keep.py",
        "tests/sweeps/test_faults.py::test_memory_that_does_not_suffice_is_saved",
        "tests/sweeps/test_faults.py::test_memory_that_nothing_saves_fails_with_the_workers_it_needs",
        "tests/sweeps/test_driver.py::test_losses_of_a_run_that_gets_on_do_not_add_up",
    ),
    "sweeps/engine/siblings.py": tuple(
        f"tests/sweeps/test_siblings.py::{name}"
        for name in (
            "test_what_was_begun_here_is_replaced_by_what_has_finished_there",
            "test_what_is_not_whole_is_trained",
            "test_initial_weights_that_cannot_be_used",
            "test_initial_weights_are_kept_where_the_study_is",
            "test_finished_teachers_are_adopted_and_all_is_as_if_they_had_been_trained",
        )
    ),
    "sweeps/planning/": ("tests/sweeps/test_search.py", "tests/sweeps/test_planner.py"),
    "sweeps/planning/anchors.py": ("tests/sweeps/test_anchors.py",),
    "sweeps/planning/cells.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_forecast.py",
        "tests/sweeps/test_needed.py",
    ),
    "sweeps/planning/halving.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_forecast.py",
        "tests/sweeps/test_planner.py",
    ),
    "sweeps/planning/planner.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_handing_out.py",
        "tests/sweeps/test_anchors.py",
        "tests/sweeps/test_needed.py",
    ),
    "sweeps/planning/units.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_planner.py",
        "tests/sweeps/test_needed.py",
        "tests/sweeps/test_both_sides.py",
    ),
    "sweeps/planning/spaces.py": (
        "tests/sweeps/test_search.py",
        "tests/sweeps/test_store.py",
        "tests/sweeps/test_anchors.py",
    ),
    "sweeps/planning/urgency.py": ("tests/sweeps/test_handing_out.py",),
    "sweeps/planning/view.py": ("tests/sweeps/test_view.py",),
    "sweeps/published.py": ("tests/analysis/test_published.py", "tests/sweeps/test_store.py"),
    "sweeps/store.py": ("tests/sweeps/test_store.py",),
    "sweeps/study.py": ("tests/sweeps/test_search.py", "tests/sweeps/test_store.py"),
    "sweeps/teachers.py": ("tests/sweeps/test_teachers.py",),
}
"""A source file, or a folder that ends in "/", and its tests; of several that fit a file the longest counts."""


def answering(file: str) -> tuple[str, ...]:
    """The tests that answer for a source file; none where nothing is stated."""
    fitting = [place for place in ANSWERS if file == place or (place.endswith("/") and file.startswith(place))]
    return ANSWERS[max(fitting, key=len)] if fitting else ()
