"""Names that nearly match: by the barcode alone where it is unique, else shown side by side."""

from tcssa.features.name_matching import by_barcode, matched_names, nearest, shown

BARCODE = "TCGA-55-A48Z-01Z-00-DX1"
WHOLE = f"{BARCODE}.0867DC6A-1111-2222-3333-444455556666"
OTHER = f"{BARCODE}.FFFFFFFF-1111-2222-3333-444455556666"


def test_a_barcode_finds_the_name_with_its_uuid_and_the_other_way_round() -> None:
    assert matched_names([BARCODE, "x"], [WHOLE, "x", "y"]) == {BARCODE: WHOLE, "x": "x"}
    assert matched_names([WHOLE], [BARCODE.lower()]) == {WHOLE: BARCODE.lower()}
    assert by_barcode({BARCODE: WHOLE, "x": "x"}, "features") == [
        f"1 name found among the features by the barcode, without its UUID: {BARCODE} is {WHOLE}"
    ]
    assert by_barcode({"x": "x"}, "features") == []


def test_what_may_be_another_slide_is_not_taken() -> None:
    assert matched_names([BARCODE], [WHOLE, OTHER]) == {}
    assert matched_names([WHOLE], [OTHER]) == {}
    assert matched_names([BARCODE, WHOLE], [WHOLE]) == {WHOLE: WHOLE}
    assert matched_names([BARCODE], [f"{BARCODE}0.{WHOLE[-36:]}"]) == {}
    assert matched_names(["S00"], ["S00.0A1B-22"]) == {}


def test_names_are_shown_by_threes_with_the_nearest_pair() -> None:
    assert shown(["d", "b", "a", "c"]) == "a, b, c …"
    assert shown(["b", "a"]) == "a, b"
    assert nearest(["S01", "S02"], ["zz", "S02.x"]) == "nearest: 'S02' and 'S02.x'"
    assert nearest(["a"], []) == ""
