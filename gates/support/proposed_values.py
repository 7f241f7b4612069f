"""Values proposed for knobs that the shipped contract, of an older schema, does not have yet.

Tonal limits lie between what was measured on 89 faces of ``--data``: 30 effective levels at least and 3 % of large
steps at most in photographs (also at RGB-565, half contrast, a palette of 256), 17 levels at most in two-level
and dithered pictures and 32 % of large steps at least once dithered. 30 degrees of roll turn away 0.7 % of 731 faces.
"""

from __future__ import annotations

from typing import Final

PROPOSED: Final = {
    "face_detector.second_look": "border_and_turns",
    "quality_gates.min_tonal_levels": 22.0,
    "quality_gates.max_large_steps": 0.1,
    "quality_gates.max_roll": 30.0,
}
