"""What a slot's place adds to its centre."""

import numpy as np
import torch
from factories import make_compressor, make_features, square
from torch import nn

from tcssa.compressor.place_map import PlaceMap
from tcssa.moments import VECTOR_LENGTH

K, D = 6, 5


def make_map() -> PlaceMap:
    torch.manual_seed(0)
    places = PlaceMap(K, D)
    nn.init.normal_(places.weight)
    return places


def vectors(num_slots: int = K) -> torch.Tensor:
    return make_features(2 * num_slots, VECTOR_LENGTH).reshape(2, num_slots, VECTOR_LENGTH)


@torch.no_grad()
def test_each_slot_has_a_linear_map_of_its_own() -> None:
    places, given = make_map(), vectors()
    found = places(given)
    for bag in range(2):
        for slot in range(K):
            expected = given[bag, slot].numpy() @ places.weight[slot].numpy()
            np.testing.assert_allclose(found[bag, slot], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_fewer_slots_take_the_first_maps() -> None:
    places, given = make_map(), vectors()
    torch.testing.assert_close(places(given[:, :3]), places(given)[:, :3])


@torch.no_grad()
def test_a_model_starts_as_the_same_one_without_places() -> None:
    placed, without = make_compressor(spatial=True), make_compressor()
    assert placed.places is not None
    placed.load_state_dict(without.state_dict(), strict=False)
    placed.places.weight.copy_(PlaceMap(6, 16).weight)
    features, coords = make_features(30)[None], square(30)[None]
    assert torch.equal(placed(features, coords=coords).slots, without(features).slots)
