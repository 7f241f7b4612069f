"""Defects of monitoring and governance, phases 7 and 8: each with the experiment and the metric that must show it."""

from __future__ import annotations

from typing import Final

from gates.mutants import (
    canary_mutants,
    duplicate_mutants,
    governance_mutants,
    monitoring_mutants,
)
from gates.mutants.mutant import Mutant, planted

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
_DRIFT_LIMIT = (
    "E7.2",
    "test_e7_2_drift.py::test_a_trigger_fires_above_its_limit_and_not_at_it",
    "abstain_spike_off_its_limits",
)
_CANARY_LIMIT = ("E7.3", "test_e7_3_release_rehearsal.py::test_a_canary_at_its_limits", "findings_off_the_limits")
_RETENTION = (
    "E7.1",
    "test_e7_1_event_log.py::test_events_are_kept_until_their_retention_ends",
    "purged_at_the_end_of_retention",
)
_NEAR = (
    "E8.1",
    "test_e8_1_near_duplicates.py::test_a_pair_at_the_limit_is_near_and_one_beyond_is_not",
    "pairs_off_the_limit",
)
_SILENCE = (*_CONSENT[:2], "silence_taken_for_consent")

MUTANTS: Final[dict[str, Mutant]] = {
    "pixel_in_log": planted(_PIXELS, monitoring_mutants.pixel_in_log, pictures=4),
    "filename_in_log": planted(_NAMES, monitoring_mutants.filename_in_log, pictures=4),
    "drift_never_fires": planted(_FOUND, monitoring_mutants.drift_never_fires),
    "drift_always_fires": planted(_QUIET, monitoring_mutants.drift_always_fires),
    "wrong_trigger": planted(_PLAYBOOK, monitoring_mutants.wrong_trigger),
    "peeking": planted(_EVIDENCE, monitoring_mutants.peeking),
    "reference_taken_for_the_truth": planted(_EVIDENCE, monitoring_mutants.reference_taken_for_the_truth),
    "rollback_ignored": planted(_NOT_ROLLED_BACK, canary_mutants.rollback_ignored),
    "unpaired_streams": planted(_UNPAIRED, canary_mutants.unpaired_streams),
    "crash_ignored": planted(_CRASHING, canary_mutants.crash_ignored),
    "canary_of_few": planted(_TOO_FEW, canary_mutants.canary_of_few),
    "rollback_by_chance": planted(_BY_CHANCE, canary_mutants.rollback_by_chance),
    "audit_in_train": planted(_CHANGE, governance_mutants.audit_in_train),
    "group_crossing_ignored": planted(_CROSSING, governance_mutants.group_crossing_ignored),
    "reviewed_copy_ignored": planted(_CROSSING, governance_mutants.reviewed_copy_ignored),
    "split_edited_past_the_history": planted(_CROSSING, governance_mutants.split_edited_past_the_history),
    "history_truncated": planted(_CHAIN, governance_mutants.history_truncated),
    "heads_not_asked_for": planted(_HEADS, governance_mutants.heads_not_asked_for),
    "deleted_trail_is_a_new_one": planted(_TRAIL, governance_mutants.deleted_trail_is_a_new_one),
    "first_consent_counts": planted(_TWICE, governance_mutants.first_consent_counts),
    "stored_without_consent": planted(_CONSENT, governance_mutants.stored_without_consent),
    "plaintext_at_rest": planted(_PLAIN, governance_mutants.plaintext_at_rest),
    "one_nonce": planted(_NONCE, governance_mutants.one_nonce),
    "header_not_authenticated": planted(_SWAPPED, governance_mutants.header_not_authenticated),
    "purge_skipped": planted(_PURGE, governance_mutants.purge_skipped),
    "opt_out_kept": planted(_OPT_OUT, governance_mutants.opt_out_kept),
    "quota_ignored": planted(_QUOTA, governance_mutants.quota_ignored),
    "reviewed_item_untagged": planted(_AUDIT, governance_mutants.reviewed_item_untagged),
    "rotated_duplicate_missed": planted(_MISSED, duplicate_mutants.rotated_duplicate_missed, pictures=4),
    "unreadable_skipped": planted(_UNREADABLE, duplicate_mutants.unreadable_skipped, pictures=4),
    "distance_limit_ignored": planted(_STRANGERS, duplicate_mutants.distance_limit_ignored, pictures=4),
    "groups_not_transitive": planted(_LINKED, duplicate_mutants.groups_not_transitive, pictures=4),
    "tables_without_mirrors": planted(_BY_TABLES, duplicate_mutants.tables_without_mirrors, pictures=4),
    "crossings_unseen": planted(_MOVED, duplicate_mutants.crossings_unseen, pictures=4),
    "drift_at_the_limit": planted(_DRIFT_LIMIT, monitoring_mutants.drift_at_the_limit),
    "canary_at_the_limit": planted(_CANARY_LIMIT, canary_mutants.canary_at_the_limit),
    "retention_a_minute_short": planted(_RETENTION, monitoring_mutants.retention_a_minute_short),
    "scan_below_its_limit": planted(_NEAR, duplicate_mutants.scan_below_its_limit),
    "silence_is_consent": planted(_SILENCE, governance_mutants.silence_is_consent),
}
