"""Readers of features, whichever tool wrote them."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutations.hdf5 import mutate_hdf5
from fuzz.mutations.members import mutate_member
from fuzz.mutations.npy import mutate_npy
from fuzz.mutations.pickles import mutate_torch_legacy
from fuzz.mutations.text import mutate_text
from fuzz.mutations.zip_file import mutate_torch_zip
from fuzz.oracles import arrays, pictures
from fuzz.seeds import features as seeds
from fuzz.seeds import slides as slide_seeds
from fuzz.target import Target
from tcssa.errors import FeatureFileError, NonFiniteFeatureError
from tcssa.features import open_bag

_ERRORS = (FeatureFileError, NonFiniteFeatureError)
_PICKLES = ("tcssa.files.pickled", "tcssa.files.pickled_names")


def read_bag(path: Path) -> dict[str, Any]:
    """Read all that a bag tells, with its numbers as they are stored."""
    with open_bag(path) as bag:
        features, coords = bag.read(), bag.read_coords()
        return {
            "features": features,
            "coords": coords,
            "facts": (bag.encoder, bag.patch_size_level0, bag.coords_unit, bag.feature_dim),
        }


def read_encoded(path: Path) -> Any:
    """Read what an encoded slide says of itself."""
    from tcssa_runtimes.archive.slot_files import require_facts

    facts = require_facts(path)
    return {"mass": facts.mass_entropy, "patches": facts.num_patches, "origin": facts.origin}


def mutate_torch(rng: Random, seed: bytes) -> bytes:
    """Damage a torch file of either kind."""
    return (mutate_torch_zip if seed[:2] == b"PK" else mutate_torch_legacy)(rng, seed)


TARGETS = (
    Target("hdf5", ".h5", seeds.hdf5_files, read_bag, _ERRORS, mutate_hdf5, arrays.check_hdf5),
    Target(
        "npy", ".npy", seeds.npy_files, read_bag, _ERRORS, mutate_npy, arrays.check_npy,
        covered=("tcssa.files.npy",),
    ),
    Target(
        "npy-pickled", ".npy", seeds.pickled_npy_files, read_bag, _ERRORS, mutate_npy,
        arrays.check_pickled_npy, covered=("tcssa.files.npy", *_PICKLES),
    ),
    Target(
        "pt", ".pt", seeds.pt_files, read_bag, _ERRORS, mutate_torch, arrays.check_pt,
        covered=("tcssa.files.torch_file", "tcssa.files.torch_names", *_PICKLES),
    ),
    Target(
        "feature-csv", ".csv", seeds.csv_files, read_bag, _ERRORS, mutate_text,
        arrays.check_feature_csv,
        covered=("tcssa.features.readers.patch_table", "tcssa.files.table"),
    ),
    Target(
        "lazyslide", ".zarr", seeds.lazyslide_stores, read_bag, _ERRORS, mutate_member,
        pictures.check_lazyslide, is_folder=True,
    ),
    Target("encoded", ".h5", slide_seeds.encoded_slides, read_encoded, _ERRORS, mutate_hdf5),
)  # fmt: skip
