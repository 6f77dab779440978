"""Time and event in the tables of the field: which columns, and which way round."""

from pathlib import Path

import pytest

from tcssa.errors import TableError, UsageError
from tcssa.mil.settings import CohortSettings
from tcssa.mil.tasks.reading import TaskLabels, read_task


def read(tmp_path: Path, text: str, **settings: object) -> TaskLabels:
    path = tmp_path / "t.csv"
    header, *rows = text.split()
    path.write_text("\n".join([f"slide_id,{header}", *(f"S{i},{r}" for i, r in enumerate(rows))]))
    values = {"labels": path, "kind": "survival", **settings}
    return read_task(CohortSettings.model_validate(values))


def truths(found: TaskLabels) -> list[tuple[float | None, ...]]:
    return [slide.label for slide in found.slides]


EXPECTED = [(5.0, 1.0), (7.0, 0.0), (9.0, 1.0)]


@pytest.mark.parametrize(
    ("text", "named", "said"),
    [
        ("time,event 5,1 7,0 9,1", {}, "event"),
        ("survival_months,censorship 5,0 7,1 9,0", {}, "1 − censorship"),
        ("time,censorship 5,0 7,1 9,0", {"event_column": "censorship"}, "1 − censorship"),
        ("time,os_censorship 5,0 7,1 9,0", {"event_column": "os_censorship"}, "1 − os_censorship"),
        (
            "os_days,os_censorship,dss_censorship 5,0,1 7,1,1 9,0,1",
            {},
            "1 − os_censorship",
        ),
        ("time,Is.Censored 5,FALSE 7,TRUE 9,FALSE", {}, "1 − Is.Censored"),
        ("time,right_censoring 5,0.0 7,1.0 9,0.0", {}, "1 − right_censoring"),
        ("time,x 5,0 7,1 9,0", {"censorship_column": "x"}, "1 − x"),
        ("time,uncensored 5,1 7,0 9,1", {}, "uncensored"),
        ("time,censored 5,dead 7,alive 9,Deceased", {}, "1 − censored"),
        ("OS.time,OS,DSS.time,DSS 5,1,5,0 7,0,7,0 9,1,9,1", {}, "OS"),
        ("OS.time,OS,PFI.time,PFI 1,0,5,1 1,0,7,0 1,0,9,1", {"time_column": "PFI.time"}, "PFI"),
        ("OS_MONTHS,OS_STATUS 5,1:DECEASED 7,0:LIVING 9,1:DECEASED", {}, "OS_STATUS"),
        ("time,event,censorship 5,1,0 7,0,1 9,1,0", {}, "event"),
        ("time,event,status 5,1,Primary 7,0,Primary 9,1,Other", {}, "event"),
        (
            "vital_status,days_to_death,days_to_last_follow_up Dead,5,NA Alive,--,7 Dead,9,2",
            {},
            "vital_status",
        ),
    ],
)
def test_tables_of_the_field_say_the_same(
    tmp_path: Path, text: str, named: dict[str, str], said: str
) -> None:
    found = read(tmp_path, text, **named)
    assert truths(found) == EXPECTED
    assert found.readings[-1] == f"event = 2 of 3 slides (from {said})"


def test_the_columns_that_were_taken_are_told(tmp_path: Path) -> None:
    found = read(tmp_path, "survival_days,survival_months,status,event 5,1,1,1 7,1,0,0 9,1,1,1")
    assert found.readings[0] == (
        "t.csv: time from 'survival_months' (not 'survival_days'), event from 'event' "
        "(not 'status')"
    )
    gdc = read(
        tmp_path, "vital_status,days_to_death,days_to_last_followup Dead,5, Alive,,7 Dead,9,"
    )
    assert (
        "time = days_to_death where the event happened, days_to_last_followup where it"
        in (gdc.readings[1])
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("time,event,censored 5,1,0 7,0,0", "event and censored may both be the event.* in line 3"),
        ("time,event,status 5,1,1 7,0,1", "event and status may both be the event, .* in line 3"),
        ("dss_survival_days,pfi_survival_days,event 5,5,1", "several columns may be the time: dss"),
        ("os_time,dss_status 5,1 7,0", "needs the columns slide_id, time and event"),
        (
            "vital_status,days_to_death Dead,5",
            "needs the columns slide_id, time and event",
        ),
        (
            "vital_status,days_to_death,days_to_last_follow_up Alive,5,7",
            "line 2: vital_status is 'Alive', and days_to_death is 5",
        ),
        ("time,censorship 5,maybe", r"event 'maybe' is neither 1 \(censored\) nor 0 \(it happened"),
    ],
)
def test_what_has_two_readings_or_none_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(TableError, match=reason):
        read(tmp_path, text)


def test_both_columns_of_the_event_cannot_be_given(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--event-column and --censorship-column are both given"):
        read(tmp_path, "time,a,b 5,1,0", event_column="a", censorship_column="b")


@pytest.mark.parametrize("word", ["", "NA", "nan", "Unknown", "null", "--"])
def test_unknown_times_and_events_are_named_or_left_out(tmp_path: Path, word: str) -> None:
    text = f"time,event 5,1 {word},1 7,{word} 9,1"
    with pytest.raises(TableError) as caught:
        read(tmp_path, text)
    assert [fault.partition(" (")[0].split(" is")[0] for fault in caught.value.faults] == [
        "line 3: the time",
        "line 4: the event",
    ]
    assert "--skip-missing" in str(caught.value.hint)
    found = read(tmp_path, text, skip_missing=True)
    assert truths(found) == [(5.0, 1.0), (9.0, 1.0)]
    assert list(found.left_out) == ["S1", "S2"]
