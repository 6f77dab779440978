"""Small cohorts of features with a signal in them."""

from pathlib import Path

from factories import write_bag

from tcssa.mil.settings import CohortSettings, MilSettings, ModelSettings, TrainSettings


def write_cohort(folder: Path, num_slides: int = 18, *, shift: float = 0.9) -> CohortSettings:
    """Slides of two classes; the mean of every second feature tells them apart."""
    rows = ["case_id,slide_id,label"]
    for i in range(num_slides):
        label = i % 2
        write_bag(folder / "features" / f"s{i:02d}.h5", 20 + i, seed=i, shift=shift * label)
        rows.append(f"p{i:02d},s{i:02d},{'ab'[label]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return CohortSettings(labels=folder / "labels.csv", features=folder / "features")


def small_run(cohort: CohortSettings, **train: object) -> MilSettings:
    """Settings under which a cohort of `write_cohort` trains in about a second."""
    return MilSettings(
        cohort=cohort,
        model=ModelSettings(num_slots=4, hidden_dim=8, head_dim=8),
        train=TrainSettings.model_validate(
            {"epochs": 12, "batch_size": 2, "lr": 1e-2, "folds": 3, **train}
        ),
    )
