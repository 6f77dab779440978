from pathlib import Path

import pytest

from tcssa.errors import UsageError
from tcssa_cli.crew_options import CrewOptions, crew_of, where_workers_find


@pytest.mark.parametrize(
    ("options", "device", "reason"),
    [
        ({"gpus": "all", "workers": 2}, "auto", "--gpus and --workers were both given"),
        ({"workers": 2}, "cuda", "--device cuda contradicts workers on cpu"),
        ({"address": "auto"}, "auto", "--address is of a Ray cluster"),
        ({"engine": "ray", "gpus": "0,1"}, "auto", "--gpus of a Ray cluster are all of them"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, object], device: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        crew_of(CrewOptions.model_validate(options), device, Path("job"))


def test_one_process_works_where_nothing_else_is_asked_for() -> None:
    assert crew_of(CrewOptions(), "cuda", Path("job")) is None
    crew = crew_of(CrewOptions(workers=3), "cpu", Path("job"))
    assert crew is not None
    assert (crew.num_workers, crew.device) == (3, "cpu")


def test_actors_of_a_cluster_are_given_whole_paths() -> None:
    ray = CrewOptions(engine="ray")
    assert where_workers_find("job", CrewOptions()) == "job"
    assert where_workers_find("job", ray).startswith("/")
    assert where_workers_find("s3://bucket/S.svs", ray) == "s3://bucket/S.svs"
