"""Defects of pixels and guardrails, G1 and G2: each with the experiment and the metric that must show it."""

from __future__ import annotations

from typing import Final

from gates.mutants import (
    decoding_mutants,
    guardrail_mutants,
    model_mutants,
    preprocessing_mutants,
    serving_mutants,
)
from gates.mutants.mutant import Mutant, planted

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
_FILE_READS = (
    "E1.5",
    "test_e1_5_model_boundary.py::test_the_files_read_what_the_contract_says",
    "files_reading_something_else",
)
_GREY_PROFILE = (
    *_ICC[:1],
    "test_e1_6_icc_and_gamma.py::test_a_grey_profile_follows_both_policies",
    "grey_convert_to_srgb_difference",
)
_GREY_IGNORED = (*_GREY_PROFILE[:2], "grey_assume_srgb_difference")
_TWO_CONTRACTS = (
    *_S4[:1],
    "test_e1_9_normalisation.py::test_contracts_that_differ_in_one_constant_differ_in_s4",
    "s4_of_another_contract",
)
_MARGIN = ("E2.4", "test_e2_4_crop_determinism.py::test_margin_is_of_the_longer_side", "crops_off_the_margin")
_FAILED_FACE = (
    *_GROUP[:1],
    "test_e2_5_multi_face.py::test_a_face_that_failed_a_gate_is_not_forgotten",
    "failed_face_forgotten",
)
_FACES = (
    *_GROUP[:1],
    "test_e2_5_multi_face.py::test_judged_and_failed_faces_in_every_combination",
    "decisions_off_the_rule",
)

_GROUP_RECALL = ("E2.9", "test_e2_9_framing.py::test_every_face_of_a_group", "group_recall")
_STACK_RECALL = (*_GROUP_RECALL[:1], "test_e2_9_framing.py::test_every_face_of_a_long_picture", "stacked_recall")
_HALF_TURN = ("E2.10", "test_e2_10_tonal_range_and_pose.py::test_turned_faces_abstain", "half_turn_judged")
_LEAST_SHARP = ("E2.7", "test_e2_7_blur.py::test_least_sharp_faces_that_pass", "fnr_increase_near_limit")

MUTANTS: Final[dict[str, Mutant]] = {
    "client_reencodes": planted(_SENT, serving_mutants.client_reencodes, pictures=6),
    "server_strips_metadata": planted(_SENT, serving_mutants.server_strips_metadata, pictures=6),
    "digest_not_checked": planted(_CHANGED, serving_mutants.digest_not_checked),
    "resize_kernel_bicubic": planted(_S3, preprocessing_mutants.bicubic, pictures=4),
    "resize_kernel_area": planted(_S3, preprocessing_mutants.area, pictures=4),
    "resize_kernel_nearest": planted(_S3, preprocessing_mutants.nearest, pictures=4),
    "resize_opencv": planted(_S3, preprocessing_mutants.opencv, pictures=4),
    "no_antialias": planted(_S3, preprocessing_mutants.no_antialias, pictures=4),
    "reducing_gap": planted(_S3, preprocessing_mutants.reducing_gap),
    "squash_vs_crop": planted(_S3, preprocessing_mutants.squash, pictures=4),
    "scale_twice": planted(_S4, preprocessing_mutants.scale_twice),
    "range_minus1_1": planted(_S4, preprocessing_mutants.range_minus1_1),
    "wrong_mean_std": planted(_S4, preprocessing_mutants.wrong_mean_std),
    "draft_decode": planted(_S1, decoding_mutants.draft_decode, pictures=4),
    "other_decoder": planted(_S1, decoding_mutants.other_decoder, pictures=4),
    "another_pillow": planted(_DECODER, decoding_mutants.another_pillow, pictures=4),
    "no_exif": planted(_EXIF, decoding_mutants.no_exif),
    "double_exif": planted(_JPEG_EXIF, decoding_mutants.double_exif),
    "bgr": planted(_ORDER, decoding_mutants.bgr),
    "alpha_on_black": planted(_ALPHA, decoding_mutants.alpha_on_black),
    "alpha_dropped": planted(_ALPHA, decoding_mutants.alpha_dropped),
    "icc_other_policy": planted(_ICC, decoding_mutants.icc_other_policy),
    "sixteen_bit_cast": planted(_DEPTH, decoding_mutants.sixteen_bit_cast),
    "side_unbounded": planted(_TALL, decoding_mutants.side_unbounded),
    "truncated_accepted": planted(_CUT, decoding_mutants.truncated_accepted),
    "detector_swap": planted(_PIN, guardrail_mutants.detector_swap),
    "detector_drift": planted(_S2, guardrail_mutants.detector_drift, pictures=4),
    "threshold_lowered": planted(_LEAK, guardrail_mutants.threshold_lowered),
    "model_called_on_ood": planted(_CALLS, guardrail_mutants.model_called_on_ood),
    "wrong_reason_code": planted(_CODES, guardrail_mutants.wrong_reason_code),
    "largest_face_only": planted(_GROUP, guardrail_mutants.largest_face_only),
    "colours_exchanged_for_the_file": planted(_FILE_READS, model_mutants.colours_exchanged_for_the_file),
    "alpha_truncated": planted(_ALPHA, decoding_mutants.alpha_truncated),
    "deep_grey_profile_unread": planted(_GREY_PROFILE, decoding_mutants.deep_grey_profile_unread),
    "grey_profile_always_read": planted(_GREY_IGNORED, decoding_mutants.grey_profile_always_read),
    "constants_of_the_first_contract": planted(_TWO_CONTRACTS, preprocessing_mutants.constants_of_the_first_contract),
    "first_face_ends_the_search": planted(_GROUP_RECALL, guardrail_mutants.first_face_ends_the_search),
    "only_rows_in_parts": planted(_STACK_RECALL, guardrail_mutants.only_rows_in_parts),
    "nearly_a_face_is_a_face": planted(_HALF_TURN, guardrail_mutants.nearly_a_face_is_a_face),
    "limit_of_another_network": planted(_LEAST_SHARP, guardrail_mutants.limit_of_another_network),
    "margin_of_the_width": planted(_MARGIN, guardrail_mutants.margin_of_the_width),
    "failed_face_forgotten": planted(_FAILED_FACE, guardrail_mutants.failed_face_forgotten, pictures=4),
    "places_of_judged_faces": planted(_FAILED_FACE, guardrail_mutants.places_of_judged_faces, pictures=4),
    "last_of_equals_decides": planted(_FACES, guardrail_mutants.last_of_equals_decides),
}
