"""Pictures that an emulated machine judges where the whole golden set takes too long."""

from __future__ import annotations

from ecdd.bundle.loading import load_bundle
from ecdd.golden.golden_sets import load_checked
from ecdd.parity.device_reference import load_reference
from gates.edge.run import CONFIGURATIONS, SPECIAL, spread


def test_the_drawn_pictures_hold_every_kind_of_verdict_and_every_special_category() -> None:
    golden = load_checked()
    frozen = load_reference(load_bundle(), golden).dump.head.pictures
    kinds = {name: (one.s8.label, *one.s8.reason_codes) for name, one in frozen.items()}
    drawn = spread(golden, frozen)
    assert drawn == spread(golden, frozen)
    assert len(drawn) == len(set(drawn)) < len(golden.items) / 4
    assert {kinds[name] for name in drawn} == set(kinds.values())
    assert {golden.item(name).category for name in drawn} >= set(SPECIAL)
    assert any(len(frozen[name].faces) > 1 for name in drawn)


def test_one_configuration_judges_the_whole_set_with_the_pinned_kernels() -> None:
    whole = [one for one in CONFIGURATIONS if one.whole]
    assert [(one.mode, one.xnnpack) for one in whole] == [("float32", True)]
    names = {one.name for one in CONFIGURATIONS}
    assert len(names) == len(CONFIGURATIONS)
    assert {one.cpu for one in CONFIGURATIONS} == {"cortex-a76", "cortex-a72"}
    assert {(one.mode, one.xnnpack) for one in CONFIGURATIONS} == {
        (m, x) for m in ("float32", "full_int8") for x in (True, False)
    }
