"""Addresses of servers, and what a server that is not there leads to."""

import pytest

from tcssa.errors import EndpointError, UsageError
from tcssa.vqa.endpoint.connection import Connection


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://host", "http://", "http://[::1", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a server"):
        Connection(address, 1.0)


@pytest.mark.parametrize("address", ["http://a..b", "http://127.0.0.1:9"])
def test_a_host_that_cannot_be_reached_is_one_error(address: str) -> None:
    with pytest.raises(EndpointError, match="no server answers"):
        Connection(address, 1.0).get("/v1/models")


def test_the_version_may_end_the_address() -> None:
    assert Connection("http://gpu:8000/v1/", 1.0).address == "http://gpu:8000"
