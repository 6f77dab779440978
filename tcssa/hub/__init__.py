"""Models on the Hugging Face hub: their addresses, and copies of them on this machine."""

from tcssa.hub.address import HubAddress, is_hub_address
from tcssa.hub.fetch import HubCopy, fetch, local_model, require_out

__all__ = ["HubAddress", "HubCopy", "fetch", "is_hub_address", "local_model", "require_out"]
