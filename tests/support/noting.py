"""A reporter for tests that look at remarks."""

from tcssa.reporter import Silent


class Noting(Silent):
    """A reporter that remembers remarks."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)
