"""How patches were made, read from feature files."""

import json

from tcssa.features.extraction_record import ExtractionRecord

OURS = {"mpp": 0.25, "patch_size": 112, "overlap": 0, "tissue": "otsu", "encoder": "e", "mask": 1}


def test_our_files_state_their_parameters_and_those_of_trident_the_grid() -> None:
    ours = ExtractionRecord.of({"params": json.dumps(OURS), "target_magnification": 20})
    assert ours.stated() == {"mpp": 0.25, "patch_size": 112, "overlap": 0, "tissue": "otsu"}
    theirs = {"target_magnification": 20, "patch_size": 256, "overlap": 0}
    assert ExtractionRecord.of(theirs).stated() == {"mpp": 0.5, "patch_size": 256, "overlap": 0}


def test_what_makes_no_sense_counts_as_not_stated() -> None:
    for attributes in (
        {},
        {"params": "[1"},
        {"params": "[" * 50_000},
        {"patch_size": 10**400, "mpp_target": 0.5},
        {"mpp_target": 1e300, "patch_size": 224},
        {"params": "[]"},
        {"params": 3},
        {"patch_size": -1},
        {"params": '{"mpp": 1e999}'},
        {"target_magnification": "20x"},
    ):
        assert ExtractionRecord.of(attributes).stated() == {}


def test_several_files_state_what_they_have_in_common() -> None:
    one = ExtractionRecord(mpp=0.5, patch_size=224)
    other = ExtractionRecord(mpp=0.5, patch_size=112)
    assert ExtractionRecord.agreed([one, one]) == one
    assert ExtractionRecord.agreed([one, other]).stated() == {"mpp": 0.5}
    assert ExtractionRecord.agreed([]).stated() == {}
