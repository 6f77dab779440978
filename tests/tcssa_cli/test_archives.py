"""Archives of Parquet on the command line."""

from pathlib import Path

from command_line import Run
from factories import make_compressor, write_bag

from tcssa.compressor import save_compressor
from tcssa_runtimes.archive.slot_parts import find_parts


def test_an_archive_of_parquet_is_encoded_looked_at_and_converted(
    tcssa: Run, tmp_path: Path
) -> None:
    model, archive = tmp_path / "m.safetensors", tmp_path / "encoded"
    save_compressor(make_compressor(), model)
    for name in ("a", "b"):
        write_bag(tmp_path / "bags" / f"{name}.h5")
    encode = ("encode", tmp_path / "bags", "--model", model, "--device", "cpu", "--out", archive)
    done = tcssa(*encode, "--to", "parquet", "--json")
    assert (done.code, done.json["num_encoded"]) == (0, 2)
    assert "2 of slots: 0 faulty" in tcssa("verify", archive).stdout
    assert tcssa("inspect", archive, "--json").json["kind"] == "encoded archive, of Parquet"
    refused = tcssa(*encode)
    assert (refused.code, "is an archive of parquet, not of hdf5" in refused.stderr) == (2, True)
    files = tmp_path / "files"
    done = tcssa("convert", archive, "--to", "hdf5", "--out", files, "--json")
    assert (done.code, done.json["num_converted"]) == (0, 2)
    assert "2 of slots: 0 faulty" in tcssa("verify", files).stdout
    refused = tcssa("convert", archive, "--to", "hdf5", "--out", files, "--dtype", "float16")
    assert "--to hdf5 converts one encoded archive, as it is" in refused.stderr
    (part,) = find_parts(archive)
    refused = tcssa("merge", part, part, "--model", model, "--out", tmp_path / "merged.h5")
    assert "tcssa convert ARCHIVE --to hdf5" in refused.stderr
