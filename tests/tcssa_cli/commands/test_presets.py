"""`tcssa presets`, and what a run of a preset shows of it."""

from pathlib import Path

from cohorts import write_cohort
from command_line import SMALL, Run
from html_pages import read_page

from tcssa.config.presets import preset_names


def test_all_are_listed(tcssa: Run) -> None:
    done = tcssa("presets")
    assert done.code == 0
    assert all(name in done.stdout for name in preset_names())
    assert set(tcssa("presets", "--json").json["presets"]) == set(preset_names())


def test_one_is_shown_wholly(tcssa: Run) -> None:
    done = tcssa("presets", "nsclc")
    assert done.code == 0
    shown = " ".join(done.stdout.split())
    for part in (
        "nsclc/labels.csv",
        "gdc-client download -m MANIFEST",
        "38 test slides are of patients in training",
        "98.27 %",
        "97.88 ± 1.18 %",
        "the epoch is chosen on test",
        "Settings of --model abmil or abmilx",
        "From: Camelyon/TransMIL.yaml",
    ):
        assert part in shown, part
    assert tcssa("presets", "nsclc", "--json").json["models"]["transmil"]["settings"]


def test_an_unknown_one_offers_near_names(tcssa: Run) -> None:
    done = tcssa("presets", "camelyon")
    assert done.code == 2
    assert "did you mean camelyon16?" in done.stderr


def test_a_run_shows_what_was_published(tcssa: Run, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "data" / "nsclc")
    assert cohort.labels is not None
    named = cohort.labels.read_text().replace(",a\n", ",0\n").replace(",b\n", ",LUSC\n")
    cohort.labels.write_text(named)
    out = tmp_path / "run"
    small = (*SMALL, "--num-slots", "64", "--epochs", "1")
    command = ("train-mil", "--dataset", "nsclc", "--data-root", tmp_path / "data", "--out", out)
    done = tcssa(*command, *small)
    assert done.code == 0, done.stderr
    assert "0.9827" in done.stdout
    assert "tcssa inspect slots" in done.stderr
    page = read_page(out / "report.html")
    assert "98.27 % (AUC, K = 64): stated by TC-SSA" in page.text
    assert ["", "here, pooled (95 %)", "stated"] in page.cells
    again = tcssa(*command, *small, "--json").json
    assert [row["stated_percent"] for row in again["expected"]] == [98.27]
    assert again["expected"][0]["here"] == again["pooled"]["auc"]
