"""Defects of model, calibration and runtimes, G3 to G5: each with the experiment and the metric that must show it."""

from __future__ import annotations

from typing import Final

from gates.mutants import (
    calibration_mutants,
    model_mutants,
    quantisation_mutants,
    runtime_mutants,
)
from gates.mutants.mutant import Mutant, planted

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
_MEANING = (
    "E5.3",
    "test_e5_3_pooled_logit_parity.py::test_the_output_means_what_the_contract_says",
    "tflite.logit_differs_from_its_meaning",
)
_ALONE = (
    "E3.5",
    "test_e3_5_attention_pooling.py::test_a_map_is_pooled_alone_whatever_it_is_batched_with",
    "pooled_by_its_neighbours",
)
_BIAS = ("E4.3", "test_e4_3_platt_scaling.py::test_slope_and_bias_reach_the_verdict", "platt_probability_difference")
_EDGES = (
    "E4.5",
    "test_e4_5_abstain_band.py::test_thresholds_are_ordered_and_decide_at_their_own_value",
    "edges_decided_wrongly",
)
_RATES = (
    *_EDGES[:1],
    "test_e4_5_abstain_band.py::test_every_count_decides_as_the_detector_does",
    "rates_that_decide_otherwise",
)

MUTANTS: Final[dict[str, Mutant]] = {
    "npr_scale_missing": planted(_OPERATOR, model_mutants.npr_scale_missing, "tiny"),
    "other_gradient_operator": planted(_OPERATOR, model_mutants.other_gradient_operator, "tiny"),
    "transpose_grid": planted(_ROWS, model_mutants.transpose_grid, "tiny"),
    "reshape_as_transpose": planted(_NOT_SQUARE, model_mutants.reshape_as_transpose, "tiny"),
    "reshape_as_transpose_onnx": planted(_S5, model_mutants.reshape_as_transpose_onnx),
    "padded_conv": planted(_SHAPE, model_mutants.padded_conv, "tiny"),
    "padded_conv_support": planted(_SUPPORT, model_mutants.padded_conv, "tiny"),
    "random_weights": planted(_WEIGHTS, model_mutants.random_weights, "tiny"),
    "strict_false_missing_key": planted(_WEIGHTS, model_mutants.strict_false_missing_key, "tiny"),
    "train_mode_batchnorm": planted(_MODE, model_mutants.train_mode_batchnorm, "tiny"),
    "inverted_score": planted(_PAIR, model_mutants.inverted_score),
    "negated_output": planted(_MEANING, model_mutants.negated_output, pictures=4),
    "inverted_label": planted(_LABELS, model_mutants.inverted_label),
    "pool_max_for_mean": planted(_S6, model_mutants.pool_max_for_mean),
    "topk_floor": planted(_K, model_mutants.topk_floor),
    "temperature_noop": planted(_PLANTED_T, calibration_mutants.temperature_noop),
    "double_sigmoid": planted(_NLL, calibration_mutants.double_sigmoid),
    "fit_on_report_split": planted(_OVERFIT, calibration_mutants.fit_on_report_split),
    "calibration_train_overlap": planted(_DISJOINT, calibration_mutants.calibration_train_overlap),
    "labels_shifted": planted(_NLL, calibration_mutants.labels_shifted),
    "threshold_point_estimate": planted(_PROMISE, calibration_mutants.threshold_point_estimate),
    "other_runtime_config_xnnpack_off": planted(_PINNED, runtime_mutants.xnnpack_off, pictures=4),
    "other_runtime_config_xnnpack_off_bits": planted(_BITS, runtime_mutants.xnnpack_off, pictures=4),
    "other_runtime_config_threads": planted(_PINNED, runtime_mutants.other_threads),
    "other_runtime_config_preserve_all": planted(_PINNED, runtime_mutants.preserve_all_tensors),
    "no_dequantise": planted(_ROUNDED, runtime_mutants.no_dequantise),
    "truncate_not_round": planted(_ROUNDED, runtime_mutants.truncate_not_round),
    "no_clip": planted(_CLIPPED, runtime_mutants.no_clip),
    "zero_scale": planted(_SCALE, runtime_mutants.zero_scale),
    "float_calibration_on_int8": planted(_FITTED_ON, quantisation_mutants.float_calibration_on_int8),
    "random_representative_data": planted(_REFUSED, quantisation_mutants.random_representative_data, "tiny"),
    "unnormalised_representative_data": planted(
        _REFUSED, quantisation_mutants.unnormalised_representative_data, "tiny"
    ),
    "empty_representative_data": planted(_REFUSED, quantisation_mutants.empty_representative_data, "tiny"),
    "one_outlier_image": planted(_REFUSED, quantisation_mutants.one_outlier_image, "tiny"),
    "per_tensor_weights": planted(_REFUSED, quantisation_mutants.per_tensor_weights, "tiny"),
    "nothing_quantised": planted(_REFUSED, quantisation_mutants.nothing_quantised, "tiny"),
    "converter_samples_the_wrong_pixel": planted(
        _CONVERTED, quantisation_mutants.converter_samples_the_wrong_pixel, "tiny", pictures=4
    ),
    "quantised_sigmoid": planted(_STEPS, quantisation_mutants.quantised_sigmoid),
    "fp16_activations": planted(_ROUNDED_MAP, quantisation_mutants.fp16_activations, pictures=4),
    "transposed_output": planted(_ROUNDED_MAP, quantisation_mutants.transposed_output, pictures=4),
    "stale_tflite": planted(_STALE, runtime_mutants.stale_tflite),
    "softmax_over_the_batch": planted(_ALONE, model_mutants.softmax_over_the_batch),
    "bias_dropped": planted(_BIAS, calibration_mutants.bias_dropped),
    "thresholds_decide_nothing": planted(_EDGES, calibration_mutants.thresholds_decide_nothing),
    "band_rates_beyond_the_thresholds": planted(_RATES, calibration_mutants.band_rates_beyond_the_thresholds),
    "table_rates_beyond_the_thresholds": planted(_RATES, calibration_mutants.table_rates_beyond_the_thresholds),
}
