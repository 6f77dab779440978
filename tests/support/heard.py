"""A reporter that remembers what it was told."""

from tcssa.reporter import Silent


class Heard(Silent):
    """Keeps notes, as `Silent` keeps warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
