"""The defects that gates must catch, each with the experiment and the metric that must show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gates.mutants import (
    calibration_mutants,
    canary_mutants,
    decoding_mutants,
    duplicate_mutants,
    evaluation_mutants,
    governance_mutants,
    guardrail_mutants,
    harness_mutants,
    model_mutants,
    monitoring_mutants,
    preprocessing_mutants,
    quantisation_mutants,
    runtime_mutants,
    serving_mutants,
)


@dataclass(frozen=True)
class Mutant:
    """One defect.

    Attributes
    ----------
    gate, experiment : str
        Which must go red.
    tests : str
        Node id that measures it.
    metric : str
        Which metric must fail: the stated reason. ``tests.missing`` and ``tests.skipped`` are counts of the record.
    plant : callable
        Puts the defect into the running process; may return a pytest plugin that does.
    bundle : str, optional
        Bundle that ships and can have the defect, in place of the one that is judged: for its network, for the weights
        in it, or because the test is red on the other.
    """

    gate: str
    experiment: str
    tests: str
    metric: str
    plant: Callable[[], Any]
    bundle: str | None = None


_SENT = ("E1.1", "test_e1_1_upload_invariance.py::test_every_golden_file_twice", "s0_differs")
_CHANGED = (
    "E1.1",
    "test_e1_1_upload_invariance.py::test_bytes_changed_on_the_way_are_refused",
    "changed_bytes_accepted",
)
_S1 = ("E1.3", "test_e1_3_one_decode_path.py::test_s1_equals_golden", "s1_differs")
_DECODER = (*_S1[:1], "test_e1_3_one_decode_path.py::test_decoder_is_the_contract_s", "decoder_version_differs")
_S3 = ("E1.8", "test_e1_8_resize.py::test_s3_equals_golden", "s3_max_difference")
_S4 = ("E1.9", "test_e1_9_normalisation.py::test_s4_equals_golden", "s4_max_difference")
_EXIF = ("E1.4", "test_e1_4_exif_orientation.py::test_eight_tags_give_one_s1", "PNG_orientations_differing")
_JPEG_EXIF = (
    "E1.4",
    "test_e1_4_exif_orientation.py::test_jpeg_tag_turns_the_same_pixels",
    "jpeg_orientations_differing",
)
_ORDER = ("E1.5", "test_e1_5_model_boundary.py::test_channels_keep_their_order", "max_difference")
_DEPTH = (
    "E1.5",
    "test_e1_5_model_boundary.py::test_sixteen_bits_become_the_high_byte",
    "max_difference_from_high_byte",
)
_ALPHA = ("E1.7", "test_e1_7_alpha.py::test_composite_over_the_background", "max_difference")
_ICC = ("E1.6", "test_e1_6_icc_and_gamma.py::test_profile_follows_the_policy", "formats_off_policy")
_CUT = ("E1.2", "test_e1_2_format_allowlist.py::test_truncation_is_noticed_at_every_offset", "truncated_without_IO-001")
_TALL = (*_CUT[:1], "test_e1_2_format_allowlist.py::test_rejections_have_their_own_code", "wrong_reason_codes")
_PIN = ("E2.1", "test_e2_1_detector_pin.py::test_weights_and_settings_are_pinned", "identity_differs")
_S2 = ("E2.1", "test_e2_1_detector_pin.py::test_s2_equals_golden", "score_difference")
_LEAK = ("E2.2", "test_e2_2_no_face_abstain.py::test_out_of_scope_abstains", "not_abstaining")
_CALLS = ("E2.2", "test_e2_2_no_face_abstain.py::test_out_of_scope_abstains", "model_calls")
_CODES = ("E2.2", "test_e2_2_no_face_abstain.py::test_out_of_scope_abstains", "wrong_reason_codes")
_GROUP = (
    "E2.5",
    "test_e2_5_multi_face.py::test_a_small_suspicious_face_decides",
    "small_face_decides",
)

_OPERATOR = (
    "E3.1",
    "test_e3_1_grid_shape.py::test_operator_is_named_by_the_weights_and_seen_in_the_logits",
    "named_operator_s5_differs",
)
_WEIGHTS = (
    "E3.1",
    "test_e3_1_grid_shape.py::test_weights_name_their_operator_and_load_unchanged",
    "tensors_differing_from_the_file",
)
_MODE = (*_WEIGHTS[:2], "networks_left_in_training_mode")
_ROWS = ("E3.1", "test_e3_1_grid_shape.py::test_cells_come_row_by_row", "boxes_that_move_another_cell")
_NOT_SQUARE = (
    "E3.1",
    "test_e3_1_grid_shape.py::test_export_keeps_rows_and_columns_of_a_picture_that_is_not_square",
    "torch_against_onnx",
)
_S5 = ("E3.1", "test_e3_1_grid_shape.py::test_shipped_files_give_the_golden_logits", "onnx_s5_differs")
_SHAPE = (
    "E3.1",
    "test_e3_1_grid_shape.py::test_networks_give_the_shape_and_order_too",
    "networks_of_another_shape_or_order",
)
_SUPPORT = (
    "E3.2",
    "test_e3_2_cell_mapping.py::test_gradients_of_networks_stay_inside_the_boxes",
    "tiny_ladeda_pixels_inside_without_gradient",
)
_PAIR = ("E3.3", "test_e3_3_pooling_rules.py::test_larger_means_fake", "known_pair_margin")
_LABELS = (
    "E3.3",
    "test_e3_3_pooling_rules.py::test_calibration_logits_follow_their_labels",
    "calibration_logits_auc",
)
_S6 = ("E3.3", "test_e3_3_pooling_rules.py::test_pooled_logit_is_the_golden_one", "s6_differs")
_K = (
    "E3.4",
    "test_e3_4_top_k_ratio.py::test_k_is_the_ceiling_of_the_ratio_as_written",
    "counts_differing_from_the_ceiling",
)

_PLANTED_T = (
    "E4.2",
    "test_e4_2_temperature_scaling.py::test_a_planted_temperature_is_found",
    "planted_0.2_relative_error",
)
_NLL = (
    "E4.2",
    "test_e4_2_temperature_scaling.py::test_applied_probabilities_are_the_recorded_ones",
    "nll_differs_from_record",
)
_OVERFIT = ("E4.3", "test_e4_3_platt_scaling.py::test_overfitting_of_small_sets_is_seen", "temperature_overfit_of_40")
_DISJOINT = (
    "E4.1",
    "test_e4_1_calibration_set.py::test_the_set_is_all_of_calibration_and_nothing_of_train_or_test",
    "pictures_not_tagged_calibration",
)
_PROMISE = (
    "E4.4",
    "test_e4_4_operating_point.py::test_the_promise_holds_when_it_is_repeated",
    "repetitions_within_max_fpr",
)

_PINNED = (
    "E5.5",
    "test_e5_5_runtime_invariance.py::test_the_pinned_configuration_is_the_one_that_ran",
    "settings_other_than_the_contract_s",
)
_BITS = (*_PINNED[:2], "maps_other_than_the_pinned_configuration_s")
_MAPS = "test_e5_2_patch_map_parity.py::test_maps_agree[float32]"
_ROUNDED_MAP = ("E5.2", _MAPS, "float32.patch.max_relative_difference")
_REMADE = "test_e5_2_patch_map_parity.py::test_a_file_made_again_agrees"
_REFUSED = ("E5.2", f"{_REMADE}[full_int8]", "full_int8.refused")
_CONVERTED = ("E5.2", f"{_REMADE}[float32]", "float32.patch.max_relative_difference")
_STEPS = (
    "E5.1",
    "test_e5_1_probability_parity.py::test_calibration_pictures[full_int8]",
    "full_int8.logits_that_meet_in_a_probability",
)
_FITTED_ON = (
    "E5.4",
    "test_e5_4_recalibration.py::test_the_calibration_of_another_file_is_refused[full_int8]",
    "full_int8.calibrations_of_another_file_accepted",
)
_BOUNDARY = ("E5.5", "test_e5_5_runtime_invariance.py::test_integer_boundary_is_exact")
_ROUNDED = (*_BOUNDARY, "values_inside_the_range_differing")
_CLIPPED = (*_BOUNDARY, "values_beyond_the_range_differing")
_SCALE = (
    "E5.5",
    "test_e5_5_runtime_invariance.py::test_a_scale_that_is_not_above_zero_is_refused",
    "files_accepted",
)
_STALE = ("E5.5", "test_e5_5_runtime_invariance.py::test_a_stale_file_is_refused", "stale_files_accepted")

_CRASH = ("E6.4", "test_e6_4_claims_hygiene.py::test_an_error_is_no_verdict", "errors_in_an_error_rate")
_NAN = ("E6.4", "test_e6_4_claims_hygiene.py::test_degenerate_scores_are_refused", "nan_scores_measured")
_CONSTANT = ("E6.4", "test_e6_4_claims_hygiene.py::test_degenerate_scores_are_refused", "constant_scores_measured")
_DROPPED = ("E6.4", "test_e6_4_claims_hygiene.py::test_missing_and_broken_files_stay_in_the_table", "rows_dropped")
_FLIPS = ("E6.3", "test_e6_3_transform_suite.py::test_golden_faces_survive_another_container", "golden_flips")
_ACCURACY = (
    "E6.4",
    "test_e6_4_claims_hygiene.py::test_only_decided_faces_enter_accuracy",
    "pictures_added_to_accuracy",
)
_STALE_TABLE = (
    "E6.4",
    "test_e6_4_claims_hygiene.py::test_stale_and_incomplete_tables_are_refused",
    "stale_tables_accepted",
)
_LOG = "test_e7_1_event_log.py::test_nothing_of_a_picture_is_in_the_database"
_PIXELS = ("E7.1", _LOG, "pixel_data_in_database")
_NAMES = ("E7.1", _LOG, "names_in_database")
_FOUND = ("E7.2", "test_e7_2_drift.py::test_drift_is_found_in_time", "heavy_compression_100_delay_95")
_QUIET = ("E7.2", "test_e7_2_drift.py::test_a_quiet_stream_fires_nothing", "false_alarms_upper_bound")
_EVIDENCE = (*_QUIET[:2], "false_alarms_of_evidence_alone_upper_bound")
_PLAYBOOK = (
    "E7.2",
    "test_e7_2_drift.py::test_the_playbook_is_named_once_and_escalates",
    "wrong_playbook_levels",
)

_CANARY = "test_e7_3_release_rehearsal.py::"
_NOT_ROLLED_BACK = ("E7.3", f"{_CANARY}test_degraded_bundles_are_rolled_back", "degraded_not_rolled_back")
_UNPAIRED = ("E7.3", f"{_CANARY}test_answers_to_other_streams_are_refused", "unpaired_streams_accepted")
_CRASHING = ("E7.3", f"{_CANARY}test_a_crashing_candidate_is_rolled_back", "crashing_not_rolled_back")
_TOO_FEW = ("E7.3", f"{_CANARY}test_too_few_pictures_hold", "decided_on_too_few")
_BY_CHANCE = ("E7.3", f"{_CANARY}test_the_same_bundle_is_promoted", "rollbacks_of_equally_good_bundles")

_LINEAGE = "test_e8_3_lineage.py::"
_CROSSING = ("E8.3", f"{_LINEAGE}test_whatever_crosses_is_named_with_both_ends", "crossings_accepted")
_CHANGE = ("E8.3", f"{_LINEAGE}test_tags_change_only_as_allowed", "forbidden_changes_appended")
_CHAIN = ("E8.3", f"{_LINEAGE}test_a_history_cannot_be_edited", "edits_accepted")

_HEADS = (*_CHAIN[:2], "other_histories_accepted")

_REVIEW = "test_e8_2_manual_review.py::"
_CONSENT = ("E8.2", f"{_REVIEW}test_no_consent_stores_nothing", "file_system_events_without_consent")
_PLAIN = ("E8.2", f"{_REVIEW}test_nothing_can_be_read_at_rest", "readable_pieces")
_FILE_READS = (
    "E1.5",
    "test_e1_5_model_boundary.py::test_the_files_read_what_the_contract_says",
    "files_reading_something_else",
)
_MEANING = (
    "E5.3",
    "test_e5_3_pooled_logit_parity.py::test_the_output_means_what_the_contract_says",
    "tflite.logit_differs_from_its_meaning",
)
_NONCE = (*_PLAIN[:2], "nonces_repeated")
_SWAPPED = ("E8.2", f"{_REVIEW}test_whatever_was_changed_does_not_open", "changed_records_opened")
_TRAIL = (*_SWAPPED[:2], "deleted_trails_accepted")
_TWICE = (*_CONSENT[:2], "consents_heard_beside_a_refusal")
_PURGE = ("E8.2", f"{_REVIEW}test_opted_out_at_once_and_purged_in_time", "overdue_items_left")
_OPT_OUT = (*_PURGE[:2], "opted_out_still_there")
_QUOTA = ("E8.2", f"{_REVIEW}test_strata_fill_to_their_quota_and_no_further", "correct_stored")
_AUDIT = ("E8.2", f"{_REVIEW}test_reviewed_pictures_are_audit_and_nothing_else", "items_without_audit")
_COPIES = "test_e8_1_near_duplicates.py::"
_MISSED = ("E8.1", f"{_COPIES}test_planted_copies_are_found", "whole_copies_missed")
_UNREADABLE = ("E8.1", f"{_COPIES}test_unreadable_files_are_errors", "unreadable_not_named")
_STRANGERS = ("E8.1", f"{_COPIES}test_strangers_stay_apart_and_groups_whole", "strangers_joined")
_LINKED = (*_STRANGERS[:2], "linked_in_two_groups")
_BY_TABLES = ("E8.1", f"{_COPIES}test_the_search_for_many_finds_what_comparing_all_finds", "pairs_missed_by_tables")
_MOVED = ("E8.1", f"{_COPIES}test_a_split_keeps_groups_together", "moved_copies_not_named")
_WHOLE = "test_e6_3_transform_suite.py"
_GONE = ("E6.3", _WHOLE, "tests.missing")
_SKIPPED = ("E6.3", _WHOLE, "tests.skipped")
_HYGIENE = "test_e6_4_claims_hygiene.py::"
_EDITED = ("E6.4", f"{_HYGIENE}test_edited_evidence_is_refused", "edits_accepted")
_WAIVED = ("E6.4", f"{_HYGIENE}test_a_release_cannot_be_talked_into", "expired_waivers_accepted")
_NOT_HELD_OUT = ("E6.4", f"{_HYGIENE}test_held_out_pictures_are_held_out", "pictures_not_held_out")
_OTHER_ROWS = ("E6.4", f"{_HYGIENE}test_scores_are_what_this_bundle_says", "held_out_rows_of_another_bundle")
_OTHER_LOGITS = (*_OTHER_ROWS[:2], "calibration_rows_of_another_bundle")
_GROUPS = ("E6.1", "test_e6_1_source_splits.py::test_no_group_is_much_worse", "source_fpr_increase")
_LATER = (
    "E6.2",
    "test_e6_2_time_split.py::test_later_reals_are_not_called_fake_more_often",
    "later_fpr_increase",
)
_FRAGILE = ("E6.3", "test_e6_3_transform_suite.py::test_errors_under_transforms", "fnr_increase")
_UNSEEN = "test_e6_5_unseen_sources.py::"
_OWN_THRESHOLDS = (
    "E6.5",
    f"{_UNSEEN}test_a_source_has_no_part_in_its_own_thresholds",
    "thresholds_that_saw_their_source",
)
_OWN_SCORES = ("E6.5", f"{_UNSEEN}test_scores_of_known_sources_are_refused", "tables_of_known_sources_accepted")
_FIELD = "test_e6_6_field_pixels.py::"
_RANGE = ("E6.6", f"{_FIELD}test_transforms_are_the_mistakes_that_they_are_named_after", "colours_differing")
_GREY = ("E6.6", f"{_FIELD}test_golden_fakes_do_not_become_real[grey]", "golden_grey_fake_to_real")
_DISHONEST = (*_WAIVED[:1], f"{_HYGIENE}test_no_dishonest_way_ends_in_a_release", "dishonest_ways_believed")
_FORGED = (
    *_WAIVED[:1],
    f"{_HYGIENE}test_scores_without_their_pictures_are_not_believed",
    "forged_tables_believed",
)
_UNSUPPORTED = (*_WAIVED[:2], "unsupported_claims_accepted")


def _mutant(where: tuple[str, str, str], plant: Callable[[], Any], bundle: str | None = None) -> Mutant:
    experiment, tests, metric = where
    gate = f"G{experiment[1]}" if experiment[1] <= "6" else f"phase{experiment[1]}"
    return Mutant(gate, experiment, f"gates/{gate.lower()}/{tests}", metric, plant, bundle)


MUTANTS: dict[str, Mutant] = {
    "client_reencodes": _mutant(_SENT, serving_mutants.client_reencodes),
    "server_strips_metadata": _mutant(_SENT, serving_mutants.server_strips_metadata),
    "digest_not_checked": _mutant(_CHANGED, serving_mutants.digest_not_checked),
    "resize_kernel_bicubic": _mutant(_S3, preprocessing_mutants.bicubic),
    "resize_kernel_area": _mutant(_S3, preprocessing_mutants.area),
    "resize_kernel_nearest": _mutant(_S3, preprocessing_mutants.nearest),
    "resize_opencv": _mutant(_S3, preprocessing_mutants.opencv),
    "no_antialias": _mutant(_S3, preprocessing_mutants.no_antialias),
    "reducing_gap": _mutant(_S3, preprocessing_mutants.reducing_gap),
    "squash_vs_crop": _mutant(_S3, preprocessing_mutants.squash),
    "scale_twice": _mutant(_S4, preprocessing_mutants.scale_twice),
    "range_minus1_1": _mutant(_S4, preprocessing_mutants.range_minus1_1),
    "wrong_mean_std": _mutant(_S4, preprocessing_mutants.wrong_mean_std),
    "draft_decode": _mutant(_S1, decoding_mutants.draft_decode),
    "other_decoder": _mutant(_S1, decoding_mutants.other_decoder),
    "another_pillow": _mutant(_DECODER, decoding_mutants.another_pillow),
    "no_exif": _mutant(_EXIF, decoding_mutants.no_exif),
    "double_exif": _mutant(_JPEG_EXIF, decoding_mutants.double_exif),
    "bgr": _mutant(_ORDER, decoding_mutants.bgr),
    "alpha_on_black": _mutant(_ALPHA, decoding_mutants.alpha_on_black),
    "alpha_dropped": _mutant(_ALPHA, decoding_mutants.alpha_dropped),
    "icc_other_policy": _mutant(_ICC, decoding_mutants.icc_other_policy),
    "sixteen_bit_cast": _mutant(_DEPTH, decoding_mutants.sixteen_bit_cast),
    "side_unbounded": _mutant(_TALL, decoding_mutants.side_unbounded),
    "truncated_accepted": _mutant(_CUT, decoding_mutants.truncated_accepted),
    "detector_swap": _mutant(_PIN, guardrail_mutants.detector_swap),
    "detector_drift": _mutant(_S2, guardrail_mutants.detector_drift),
    "threshold_lowered": _mutant(_LEAK, guardrail_mutants.threshold_lowered),
    "model_called_on_ood": _mutant(_CALLS, guardrail_mutants.model_called_on_ood),
    "wrong_reason_code": _mutant(_CODES, guardrail_mutants.wrong_reason_code),
    "largest_face_only": _mutant(_GROUP, guardrail_mutants.largest_face_only),
    "npr_scale_missing": _mutant(_OPERATOR, model_mutants.npr_scale_missing, "tiny"),
    "other_gradient_operator": _mutant(_OPERATOR, model_mutants.other_gradient_operator, "tiny"),
    "transpose_grid": _mutant(_ROWS, model_mutants.transpose_grid, "tiny"),
    "reshape_as_transpose": _mutant(_NOT_SQUARE, model_mutants.reshape_as_transpose, "tiny"),
    "reshape_as_transpose_onnx": _mutant(_S5, model_mutants.reshape_as_transpose_onnx),
    "padded_conv": _mutant(_SHAPE, model_mutants.padded_conv, "tiny"),
    "padded_conv_support": _mutant(_SUPPORT, model_mutants.padded_conv, "tiny"),
    "random_weights": _mutant(_WEIGHTS, model_mutants.random_weights, "tiny"),
    "strict_false_missing_key": _mutant(_WEIGHTS, model_mutants.strict_false_missing_key, "tiny"),
    "train_mode_batchnorm": _mutant(_MODE, model_mutants.train_mode_batchnorm, "tiny"),
    "inverted_score": _mutant(_PAIR, model_mutants.inverted_score),
    "colours_exchanged_for_the_file": _mutant(_FILE_READS, model_mutants.colours_exchanged_for_the_file),
    "negated_output": _mutant(_MEANING, model_mutants.negated_output),
    "inverted_label": _mutant(_LABELS, model_mutants.inverted_label),
    "pool_max_for_mean": _mutant(_S6, model_mutants.pool_max_for_mean),
    "topk_floor": _mutant(_K, model_mutants.topk_floor),
    "temperature_noop": _mutant(_PLANTED_T, calibration_mutants.temperature_noop),
    "double_sigmoid": _mutant(_NLL, calibration_mutants.double_sigmoid),
    "fit_on_report_split": _mutant(_OVERFIT, calibration_mutants.fit_on_report_split),
    "calibration_train_overlap": _mutant(_DISJOINT, calibration_mutants.calibration_train_overlap),
    "labels_shifted": _mutant(_NLL, calibration_mutants.labels_shifted),
    "threshold_point_estimate": _mutant(_PROMISE, calibration_mutants.threshold_point_estimate),
    "other_runtime_config_xnnpack_off": _mutant(_PINNED, runtime_mutants.xnnpack_off),
    "other_runtime_config_xnnpack_off_bits": _mutant(_BITS, runtime_mutants.xnnpack_off),
    "other_runtime_config_threads": _mutant(_PINNED, runtime_mutants.other_threads),
    "other_runtime_config_preserve_all": _mutant(_PINNED, runtime_mutants.preserve_all_tensors),
    "no_dequantise": _mutant(_ROUNDED, runtime_mutants.no_dequantise),
    "truncate_not_round": _mutant(_ROUNDED, runtime_mutants.truncate_not_round),
    "no_clip": _mutant(_CLIPPED, runtime_mutants.no_clip),
    "zero_scale": _mutant(_SCALE, runtime_mutants.zero_scale),
    "float_calibration_on_int8": _mutant(_FITTED_ON, quantisation_mutants.float_calibration_on_int8),
    "random_representative_data": _mutant(_REFUSED, quantisation_mutants.random_representative_data, "tiny"),
    "unnormalised_representative_data": _mutant(
        _REFUSED, quantisation_mutants.unnormalised_representative_data, "tiny"
    ),
    "empty_representative_data": _mutant(_REFUSED, quantisation_mutants.empty_representative_data, "tiny"),
    "one_outlier_image": _mutant(_REFUSED, quantisation_mutants.one_outlier_image, "tiny"),
    "per_tensor_weights": _mutant(_REFUSED, quantisation_mutants.per_tensor_weights, "tiny"),
    "nothing_quantised": _mutant(_REFUSED, quantisation_mutants.nothing_quantised, "tiny"),
    "converter_samples_the_wrong_pixel": _mutant(
        _CONVERTED, quantisation_mutants.converter_samples_the_wrong_pixel, "tiny"
    ),
    "quantised_sigmoid": _mutant(_STEPS, quantisation_mutants.quantised_sigmoid),
    "fp16_activations": _mutant(_ROUNDED_MAP, quantisation_mutants.fp16_activations),
    "transposed_output": _mutant(_ROUNDED_MAP, quantisation_mutants.transposed_output),
    "stale_tflite": _mutant(_STALE, runtime_mutants.stale_tflite),
    "crash_counts_as_real": _mutant(_CRASH, evaluation_mutants.crash_counts_as_real),
    "nan_score": _mutant(_NAN, evaluation_mutants.nan_score),
    "constant_score": _mutant(_CONSTANT, evaluation_mutants.constant_score),
    "missing_media_dropped": _mutant(_DROPPED, evaluation_mutants.missing_media_dropped),
    "format_shortcut": _mutant(_FLIPS, evaluation_mutants.format_shortcut),
    "ood_in_accuracy": _mutant(_ACCURACY, evaluation_mutants.ood_in_accuracy),
    "stale_score_table": _mutant(_STALE_TABLE, evaluation_mutants.stale_score_table),
    "pixel_in_log": _mutant(_PIXELS, monitoring_mutants.pixel_in_log),
    "filename_in_log": _mutant(_NAMES, monitoring_mutants.filename_in_log),
    "drift_never_fires": _mutant(_FOUND, monitoring_mutants.drift_never_fires),
    "drift_always_fires": _mutant(_QUIET, monitoring_mutants.drift_always_fires),
    "wrong_trigger": _mutant(_PLAYBOOK, monitoring_mutants.wrong_trigger),
    "peeking": _mutant(_EVIDENCE, monitoring_mutants.peeking),
    "reference_taken_for_the_truth": _mutant(_EVIDENCE, monitoring_mutants.reference_taken_for_the_truth),
    "rollback_ignored": _mutant(_NOT_ROLLED_BACK, canary_mutants.rollback_ignored),
    "unpaired_streams": _mutant(_UNPAIRED, canary_mutants.unpaired_streams),
    "crash_ignored": _mutant(_CRASHING, canary_mutants.crash_ignored),
    "canary_of_few": _mutant(_TOO_FEW, canary_mutants.canary_of_few),
    "rollback_by_chance": _mutant(_BY_CHANCE, canary_mutants.rollback_by_chance),
    "audit_in_train": _mutant(_CHANGE, governance_mutants.audit_in_train),
    "group_crossing_ignored": _mutant(_CROSSING, governance_mutants.group_crossing_ignored),
    "reviewed_copy_ignored": _mutant(_CROSSING, governance_mutants.reviewed_copy_ignored),
    "split_edited_past_the_history": _mutant(_CROSSING, governance_mutants.split_edited_past_the_history),
    "history_truncated": _mutant(_CHAIN, governance_mutants.history_truncated),
    "heads_not_asked_for": _mutant(_HEADS, governance_mutants.heads_not_asked_for),
    "deleted_trail_is_a_new_one": _mutant(_TRAIL, governance_mutants.deleted_trail_is_a_new_one),
    "first_consent_counts": _mutant(_TWICE, governance_mutants.first_consent_counts),
    "stored_without_consent": _mutant(_CONSENT, governance_mutants.stored_without_consent),
    "plaintext_at_rest": _mutant(_PLAIN, governance_mutants.plaintext_at_rest),
    "one_nonce": _mutant(_NONCE, governance_mutants.one_nonce),
    "header_not_authenticated": _mutant(_SWAPPED, governance_mutants.header_not_authenticated),
    "purge_skipped": _mutant(_PURGE, governance_mutants.purge_skipped),
    "opt_out_kept": _mutant(_OPT_OUT, governance_mutants.opt_out_kept),
    "quota_ignored": _mutant(_QUOTA, governance_mutants.quota_ignored),
    "reviewed_item_untagged": _mutant(_AUDIT, governance_mutants.reviewed_item_untagged),
    "rotated_duplicate_missed": _mutant(_MISSED, duplicate_mutants.rotated_duplicate_missed),
    "unreadable_skipped": _mutant(_UNREADABLE, duplicate_mutants.unreadable_skipped),
    "distance_limit_ignored": _mutant(_STRANGERS, duplicate_mutants.distance_limit_ignored),
    "groups_not_transitive": _mutant(_LINKED, duplicate_mutants.groups_not_transitive),
    "tables_without_mirrors": _mutant(_BY_TABLES, duplicate_mutants.tables_without_mirrors),
    "crossings_unseen": _mutant(_MOVED, duplicate_mutants.crossings_unseen),
    "calibration_as_held_out": _mutant(_NOT_HELD_OUT, evaluation_mutants.calibration_as_held_out),
    "duplicated_rows": _mutant(_NOT_HELD_OUT, evaluation_mutants.duplicated_rows),
    "relabelled_table": _mutant(_OTHER_LOGITS, evaluation_mutants.relabelled_table),
    "edited_probabilities": _mutant(_OTHER_ROWS, evaluation_mutants.edited_probabilities),
    "fails_on_one_source": _mutant(_GROUPS, evaluation_mutants.fails_on_one_source),
    "fails_on_later_pictures": _mutant(_LATER, evaluation_mutants.fails_on_later_pictures),
    "fails_on_jpeg": _mutant(_FRAGILE, evaluation_mutants.fails_on_jpeg),
    "video_range_swapped": _mutant(_RANGE, evaluation_mutants.video_range_swapped),
    "dithered_is_real_as_grey": _mutant(_GREY, evaluation_mutants.dithered_is_real_as_grey, "tiny"),
    "in_source_thresholds": _mutant(_OWN_THRESHOLDS, evaluation_mutants.in_source_thresholds),
    "in_source_scores": _mutant(_OWN_SCORES, evaluation_mutants.in_source_scores),
    "deleted_test": _mutant(_GONE, harness_mutants.deleted_test),
    "empty_parametrize": _mutant(_SKIPPED, harness_mutants.empty_parametrize),
    "xfail_as_pass": _mutant(_SKIPPED, harness_mutants.xfail_as_pass),
    "edited_junit": _mutant(_EDITED, harness_mutants.edited_junit),
    "edited_record": _mutant(_EDITED, harness_mutants.edited_record),
    "edited_chain": _mutant(_EDITED, harness_mutants.edited_chain),
    "expired_waiver": _mutant(_WAIVED, harness_mutants.expired_waiver),
    "waived_red_claim": _mutant(_UNSUPPORTED, harness_mutants.waived_red_claim),
    "evidence_of_another_bundle": _mutant(_UNSUPPORTED, harness_mutants.evidence_of_another_bundle),
    "recomputed_records": _mutant(_DISHONEST, harness_mutants.recomputed_records),
    "deleted_red_record": _mutant(_DISHONEST, harness_mutants.deleted_red_record),
    "waivers_without_end": _mutant(_DISHONEST, harness_mutants.waivers_without_end),
    "partial_as_full": _mutant(_DISHONEST, harness_mutants.partial_as_full),
    "own_declarations": _mutant(_DISHONEST, harness_mutants.own_declarations),
    "other_golden_set": _mutant(_DISHONEST, harness_mutants.other_golden_set),
    "other_gates_code": _mutant(_DISHONEST, harness_mutants.other_gates_code),
    "relabelled_records": _mutant(_DISHONEST, harness_mutants.relabelled_records),
    "patched_check": _mutant(_DISHONEST, harness_mutants.patched_check),
    "known_red_waived": _mutant(_DISHONEST, harness_mutants.known_red_waived),
    "unclean_run": _mutant(_DISHONEST, harness_mutants.unclean_run),
    "forged_scores": _mutant(_FORGED, harness_mutants.forged_scores),
}
