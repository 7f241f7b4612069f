"""Defects of release battery and harness, G6: each with the experiment and the metric that must show it."""

from __future__ import annotations

from typing import Final

from gates.mutants import evaluation_mutants, harness_mutants
from gates.mutants.mutant import Mutant, planted

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
_ENDS = (*_WAIVED[:1], f"{_HYGIENE}test_limits_have_hard_ends", "limits_beyond_their_end")
_NO_LIMIT = (
    *_WAIVED[:1],
    f"{_HYGIENE}test_nothing_passes_without_a_number_and_a_limit",
    "passed_without_number_or_limit",
)
_AT_THE_LIMIT = (*_NO_LIMIT[:2], "wrong_at_the_limit")
_LAST_DAY = (
    *_WAIVED[:1],
    f"{_HYGIENE}test_as_many_waivers_as_allowed_until_their_last_day",
    "waivers_judged_off_their_limits",
)
_CARDS = (
    *_WAIVED[:1],
    f"{_HYGIENE}test_the_report_s_gate_cards_follow_their_experiments",
    "gate_cards_off_their_experiments",
)

MUTANTS: Final[dict[str, Mutant]] = {
    "crash_counts_as_real": planted(_CRASH, evaluation_mutants.crash_counts_as_real),
    "nan_score": planted(_NAN, evaluation_mutants.nan_score),
    "constant_score": planted(_CONSTANT, evaluation_mutants.constant_score),
    "missing_media_dropped": planted(_DROPPED, evaluation_mutants.missing_media_dropped),
    "format_shortcut": planted(_FLIPS, evaluation_mutants.format_shortcut, pictures=4),
    "ood_in_accuracy": planted(_ACCURACY, evaluation_mutants.ood_in_accuracy),
    "stale_score_table": planted(_STALE_TABLE, evaluation_mutants.stale_score_table),
    "calibration_as_held_out": planted(_NOT_HELD_OUT, evaluation_mutants.calibration_as_held_out),
    "duplicated_rows": planted(_NOT_HELD_OUT, evaluation_mutants.duplicated_rows),
    "relabelled_table": planted(_OTHER_LOGITS, evaluation_mutants.relabelled_table),
    "edited_probabilities": planted(_OTHER_ROWS, evaluation_mutants.edited_probabilities),
    "fails_on_one_source": planted(_GROUPS, evaluation_mutants.fails_on_one_source),
    "fails_on_later_pictures": planted(_LATER, evaluation_mutants.fails_on_later_pictures),
    "fails_on_jpeg": planted(_FRAGILE, evaluation_mutants.fails_on_jpeg),
    "video_range_swapped": planted(_RANGE, evaluation_mutants.video_range_swapped),
    "dithered_is_real_as_grey": planted(_GREY, evaluation_mutants.dithered_is_real_as_grey, "tiny", pictures=4),
    "in_source_thresholds": planted(_OWN_THRESHOLDS, evaluation_mutants.in_source_thresholds),
    "in_source_scores": planted(_OWN_SCORES, evaluation_mutants.in_source_scores),
    "deleted_test": planted(_GONE, harness_mutants.deleted_test, pictures=4),
    "empty_parametrize": planted(_SKIPPED, harness_mutants.empty_parametrize, pictures=4),
    "xfail_as_pass": planted(_SKIPPED, harness_mutants.xfail_as_pass, pictures=4),
    "edited_junit": planted(_EDITED, harness_mutants.edited_junit),
    "edited_record": planted(_EDITED, harness_mutants.edited_record),
    "edited_chain": planted(_EDITED, harness_mutants.edited_chain),
    "expired_waiver": planted(_WAIVED, harness_mutants.expired_waiver),
    "waived_red_claim": planted(_UNSUPPORTED, harness_mutants.waived_red_claim),
    "evidence_of_another_bundle": planted(_UNSUPPORTED, harness_mutants.evidence_of_another_bundle),
    "recomputed_records": planted(_DISHONEST, harness_mutants.recomputed_records),
    "deleted_red_record": planted(_DISHONEST, harness_mutants.deleted_red_record),
    "waivers_without_end": planted(_DISHONEST, harness_mutants.waivers_without_end),
    "partial_as_full": planted(_DISHONEST, harness_mutants.partial_as_full),
    "own_declarations": planted(_DISHONEST, harness_mutants.own_declarations),
    "other_golden_set": planted(_DISHONEST, harness_mutants.other_golden_set),
    "other_gates_code": planted(_DISHONEST, harness_mutants.other_gates_code),
    "relabelled_records": planted(_DISHONEST, harness_mutants.relabelled_records),
    "patched_check": planted(_DISHONEST, harness_mutants.patched_check),
    "known_red_waived": planted(_DISHONEST, harness_mutants.known_red_waived),
    "unclean_run": planted(_DISHONEST, harness_mutants.unclean_run),
    "forged_scores": planted(_FORGED, harness_mutants.forged_scores),
    "limits_without_ends": planted(_ENDS, harness_mutants.limits_without_ends),
    "missing_limit_passes": planted(_NO_LIMIT, harness_mutants.missing_limit_passes),
    "strict_limits": planted(_AT_THE_LIMIT, harness_mutants.strict_limits),
    "waiver_ends_a_day_early": planted(_LAST_DAY, harness_mutants.waiver_ends_a_day_early),
    "last_run_counts": planted(_DISHONEST, harness_mutants.last_run_counts),
    "gate_green_by_majority": planted(_CARDS, harness_mutants.gate_green_by_majority),
}
