"""Patients of slides, from a table or from TCGA's barcodes."""

from pathlib import Path

import pytest

from tcssa.errors import UsageError
from tcssa.features.patients import cases_of, read_cases, require_file_names, warn_of_unknown
from tcssa.reporter import Silent

BARCODE = "TCGA-05-4244-01Z-00-DX1"
UUID = "d4ff32cd-38cf-40ea-8213-45c2b100ac01"


def test_a_table_says_who_and_barcodes_speak_for_themselves(tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    table.write_text(f"slide_id,case_id\nS1,P1\nS2,P1\n{BARCODE},TCGA-05-4244\n")
    told: list[str] = []
    cases = cases_of(
        ["S1", "S2", "S3", f"{BARCODE}.{UUID}"], read_cases(table, Silent()), told.append
    )
    assert cases == {"S1": "P1", "S2": "P1", f"{BARCODE}.{UUID}": "TCGA-05-4244"}
    assert len(told) == 1
    assert "UUID" in told[0]


def test_slides_of_unknown_patients_are_counted() -> None:
    reporter = Silent()
    warn_of_unknown(["S1", "S2", "S3"], {"S1": "P1"}, reporter)
    warn_of_unknown(["S1"], {"S1": "P1"}, reporter)
    assert len(reporter.warnings) == 1
    assert "2 slides" in reporter.warnings[0]


@pytest.mark.parametrize("case_id", ["../P1", "P/1", ""])
def test_a_patient_that_cannot_name_a_file_is_refused(case_id: str) -> None:
    require_file_names(["P1", "TCGA-05-4244"])
    with pytest.raises(UsageError, match="case_id"):
        require_file_names(["P1", case_id])
