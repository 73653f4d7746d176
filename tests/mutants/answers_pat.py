"""Which tests answer for which source file of `pat`."""

from __future__ import annotations

GOLDEN = "tests/golden/test_runs.py"


def _golden(*names: str) -> tuple[str, ...]:
    """Golden runs by their names without the precision; of a bare method that of its CNN."""
    runs = (name if " " in name else f"{name} cnn" for name in names)
    return tuple(f"{GOLDEN}::test_a_run_gives_what_was_recorded[{run} fp32]" for run in runs)


def _of(file: str, *names: str) -> tuple[str, ...]:
    """Tests of a file in tests/pat; all names without their test_."""
    return tuple(f"tests/pat/test_{file}.py::test_{name}" for name in names)


METHODS = ("dist", "ofa", "rkd", "scratch")
"""Those whose golden runs at the defaults and the contract of all say enough."""
NEWER = ("nkd", "wttm", "rld", "rsd", "vkd", "uskd")
TWO_WORKERS = "two_workers_give_the_weights_of_one"

PAT: dict[str, tuple[str, ...]] = {
    "pat/": (GOLDEN,),
    "pat/align.py": (
        "tests/pat/test_pat.py",
        "tests/pat/test_published_parts.py",
        "tests/pat/test_targets.py",
        *_of("workers", "global_batchnorm_is_batchnorm_over_all_workers"),
        *_of("newer_methods", "the_projection_of_vkd_stays_orthogonal"),
        *_golden("pat", "pat-current vit", "fitnet", "fitnet mlp"),
    ),
    "pat/areas.py": ("tests/pat/test_areas.py", "tests/pat/test_sokd.py"),
    "pat/clock.py": ("tests/pat/test_reviewkd.py", "tests/pat/test_newer_methods.py", "tests/pat/test_sokd.py"),
    "pat/canonical.py": ("tests/pat/test_config.py", GOLDEN),
    "pat/data/scan.py": ("tests/pat/test_scan.py",),
    "pat/state_dicts.py": ("tests/pat/test_weights.py",),
    "pat/values.py": ("tests/pat/test_values.py",),
    "pat/config.py": ("tests/pat/test_config.py", GOLDEN),
    "pat/counter.py": ("tests/pat/test_counter.py", "tests/pat/test_views.py"),
    "pat/data/annotations.py": ("tests/pat/test_annotations.py", "tests/pat/test_boxes.py"),
    "pat/data/beside.py": ("tests/pat/test_scored.py",),
    "pat/data/base.py": ("tests/pat/test_data.py", GOLDEN),
    "pat/data/boxes.py": ("tests/pat/test_boxes.py",),
    "pat/data/coco.py": ("tests/pat/test_boxes.py",),
    "pat/data/mask_folder.py": ("tests/pat/test_masks.py",),
    "pat/data/masks.py": ("tests/pat/test_masks.py",),
    "pat/dense/": ("tests/pat/test_dense_models.py",),
    "pat/dense/anchors.py": (
        "tests/pat/test_sampling.py",
        "tests/pat/test_detector.py",
        "tests/pat/test_detector_losses.py",
    ),
    "pat/dense/ap.py": ("tests/pat/test_dense_measures.py",),
    "pat/dense/detector.py": ("tests/pat/test_detector.py", "tests/pat/test_detector_losses.py"),
    "pat/dense/miou.py": ("tests/pat/test_dense_measures.py",),
    "pat/dense/sampling.py": (
        "tests/pat/test_sampling.py",
        "tests/pat/test_detector.py",
        "tests/pat/test_detector_losses.py",
    ),
    "pat/evaluate.py": (
        "tests/pat/test_train.py::test_selection_rules_by_hand",
        GOLDEN,
        *_of("teacher_size", "a_run_with_a_larger_teacher"),
    ),
    "pat/feature_ops.py": ("tests/pat/test_feature_policy.py",),
    "pat/feature_policy.py": ("tests/pat/test_feature_policy.py", "tests/pat/test_sokd.py"),
    "pat/fusion.py": ("tests/pat/test_reviewkd.py",),
    "pat/groups.py": ("tests/pat/test_groups.py",),
    "pat/gather.py": ("tests/pat/test_gather.py",),
    "pat/hints.py": (
        "tests/pat/test_hints.py",
        *_of("dense_methods", "hints_are_for_what_shows_the_image"),
    ),
    "pat/stages.py": _of("taps", "a_first_stage_that_widens_its_tokens_starts_with_itself"),
    "pat/losses/": (
        "tests/pat/test_losses.py",
        "tests/pat/test_logit_losses.py",
        "tests/pat/test_newer_losses.py",
        "tests/pat/test_feature_losses.py",
        "tests/pat/test_areas.py",
        "tests/pat/test_targets.py",
        GOLDEN,
    ),
    "pat/heads.py": (*_golden("ofa", "ofa vit"), "tests/pat/test_published_parts.py", "tests/pat/test_embedding.py"),
    "pat/moments.py": (
        "tests/pat/test_targets.py",
        *_of("dense_methods", "the_losses_of_two_workers_are_those_of_one[fitnet-variance-segmentation]"),
    ),
    "pat/targets.py": ("tests/pat/test_targets.py", "tests/pat/test_pat_remedies.py"),
    "pat/models.py": _of("fbt", "convolution_is_local"),
    "pat/memory.py": (
        "tests/pat/test_memory.py",
        *_of("dense_methods", "a_batch_is_not_done_in_parts"),
    ),
    "pat/options.py": (
        "tests/pat/test_config.py",
        *_of("pat_remedies", "a_variant_is_a_set_of_defaults"),
        *_of("tasks", "every_task_is_known_by_name", "a_module_of_one_s_own_meets_the_same_refusals"),
    ),
    "pat/prompts.py": (
        "tests/pat/test_pat.py",
        *_golden("pat", "pat-current vit"),
        *_of("dense_methods", "every_prompt_learns", "feedback_is_kept_at_the_nominal_size"),
    ),
    "pat/methods/": ("tests/pat/test_methods.py", GOLDEN),
    **{f"pat/methods/{name}.py": (*_golden(name), "tests/pat/test_methods.py") for name in METHODS},
    **{
        f"pat/methods/{name}.py": (
            "tests/pat/test_newer_methods.py",
            *_golden(name),
            *(_of("workers", f"{TWO_WORKERS}[{name}]") if name in ("rsd", "uskd") else ()),
            "tests/pat/test_methods.py",
        )
        for name in NEWER
    },
    "pat/methods/dkd.py": (*_golden("dkd", "dkd-standardised vit"), "tests/pat/test_methods.py"),
    "pat/methods/base.py": (
        *_of("generation", "which_methods_serve_it"),
        *_golden("scratch", "scratch vit", "pat"),
        *_of("methods", "method_modules_have_a_generator_of_their_own"),
        *_of("dense_methods", "the_teacher_s_padding_is_its_own_zero"),
        *_of("dense_methods", "methods_of_classification_are_refused_elsewhere"),
        *_of("teacher_size", "a_smaller_size_averages_what_it_cannot_show"),
        "tests/pat/test_methods.py",
    ),
    "pat/methods/crd.py": (*_golden("crd"), "tests/pat/test_crd.py"),
    "pat/methods/fbt.py": (
        "tests/pat/test_fbt.py",
        *_of("unused", "fbt_says_what_its_links_leave_out"),
        *_golden("fbt", "fbt-last vit"),
        *_of("workers", "two_workers_give_the_weights_of_one[fbt]"),
    ),
    "pat/methods/pat.py": (
        *_golden("pat", "pat-current vit", "pat-none mlp"),
        "tests/pat/test_pat.py",
        "tests/pat/test_pat_remedies.py",
        *_of("workers", f"{TWO_WORKERS}[pat-relational]", f"{TWO_WORKERS}[pat-hinted]"),
        *_of("dense_methods", "feedback_is_kept_at_the_nominal_size", "the_teacher_s_padding_is_its_own_zero"),
        *_of("dense_methods", "maps_teach_where_they_show_the_image[pat-segmentation]"),
        *_of("dense_methods", "the_losses_of_two_workers_are_those_of_one[pat-segmentation]"),
    ),
    "pat/methods/fitnet.py": (
        *_golden("fitnet", "fitnet-kd mlp"),
        *_of("pat_remedies", "hints_over_the_teacher_s_variance"),
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
        *_golden("kd", "kd-standardised vit"),
        *_of("dense_methods", "the_losses_of_two_workers_are_those_of_one[kd-segmentation]"),
        "tests/pat/test_methods.py",
    ),
    "pat/methods/cc.py": (*_golden("cc", "cc-kernel vit"), "tests/pat/test_methods.py"),
    "pat/lockstep.py": ("tests/pat/test_lockstep.py",),
    "pat/plain.py": ("tests/pat/test_lockstep.py",),
    "pat/captured.py": ("tests/pat/test_captured.py",),
    "pat/compiled.py": ("tests/pat/test_compiled.py",),
    "pat/epochs.py": (
        GOLDEN,
        "tests/pat/test_train.py::test_what_a_step_draws_depends_on_seed_and_step_alone",
        "tests/pat/test_checkpoints.py::test_interrupted_within_an_epoch_equals_uninterrupted",
    ),
    "pat/finite.py": ("tests/pat/test_scored.py",),
    "pat/precision.py": ("tests/pat/test_precision.py",),
    "pat/steps.py": (
        GOLDEN,
        "tests/pat/test_train.py::test_what_a_step_draws_depends_on_seed_and_step_alone",
        "tests/pat/test_checkpoints.py::test_interrupted_within_an_epoch_equals_uninterrupted",
        "tests/pat/test_memory.py",
    ),
    "pat/train.py": (
        GOLDEN,
        "tests/pat/test_train.py::test_what_a_step_draws_depends_on_seed_and_step_alone",
        "tests/pat/test_train.py::test_the_bits_that_are_kept_are_those_of_the_chosen_epoch",
        "tests/pat/test_memory.py",
        *_of("teacher_size", "a_run_with_a_larger_teacher"),
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
        *_of("scored", "several_models_on_one_stream_score_as_each_alone"),
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
        *_of("teacher_size", "a_run_with_a_larger_teacher"),
        "tests/pat/test_groups.py",
        *_of("train", "the_average_of_every_step"),
        *_of("workers", "shared_statistics_leave_the_activations"),
        *_of("unused", "runs_say_so"),
        *_of("train", "the_bits_that_are_kept_are_those_of_the_chosen_epoch"),
        *_of("train", "a_checkpoint_that_calls_scores_top1_goes_on"),
        "tests/pat/test_train.py::test_outcome_is_complete",
        "tests/pat/test_train.py::test_teacher_identity",
        GOLDEN,
        "tests/pat/test_train.py::test_interrupted_and_resumed_equals_uninterrupted",
    ),
    "pat/unused.py": ("tests/pat/test_unused.py",),
    "pat/suffix.py": ("tests/pat/test_suffix.py",),
    "pat/sparse.py": ("tests/pat/test_sparse.py",),
    "pat/islands.py": ("tests/pat/test_sparse.py",),
    **dict.fromkeys(
        (
            "pat/decoder.py",
            "pat/losses/generation.py",
            "pat/tasks/generation.py",
            "pat/methods/spark.py",
            "pat/methods/hgkd.py",
        ),
        ("tests/pat/test_generation.py",),
    ),
    "pat/starting.py": ("tests/pat/test_starting.py",),
    "pat/views/": ("tests/pat/test_views.py", GOLDEN),
    "pat/views/colour_jitter.py": ("tests/pat/test_augment_draws.py", GOLDEN),
    "pat/views/dense.py": ("tests/pat/test_dense_views.py", "tests/pat/test_placing.py"),
    "pat/views/erasing.py": ("tests/pat/test_augment_draws.py", GOLDEN),
    "pat/views/order.py": ("tests/pat/test_placing.py", *_golden("scratch")),
    "pat/views/pipeline.py": ("tests/pat/test_views.py", GOLDEN, "tests/pat/test_streams.py"),
    "pat/views/placing.py": ("tests/pat/test_placing.py", "tests/pat/test_dense_views.py"),
    "pat/views/scored.py": ("tests/pat/test_scored.py",),
    "pat/views/randaugment.py": ("tests/pat/test_augment_draws.py", GOLDEN),
}
