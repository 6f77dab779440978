"""Question files of the field: the real ones whole, and what is wrong with broken ones."""

import json
from collections import Counter
from pathlib import Path

import pytest
from shared_data import require_shared

from tcssa.errors import TableError
from tcssa.vqa.conversation import Turn
from tcssa.vqa.data.benchmark import read_benchmark
from tcssa.vqa.data.faults import count_faults
from tcssa.vqa.data.slideinstruct import read_conversations
from tcssa.vqa.evaluation.baselines import baselines
from tcssa.vqa.evaluation.published import read_published

BCNB_HEADER = "ID,Slide,Task,Question,A,B,C,D,Answer\n"


def test_the_real_slidebench_is_read_whole() -> None:
    benchmark = read_benchmark("slidebench-tcga", require_shared("vqa/SlideBench-VQA-TCGA.csv"))
    assert benchmark.num_rows == len(benchmark.questions) == 1489
    assert benchmark.version == "other: 1,489 rows"
    assert Counter(question.answer for question in benchmark.questions) == {
        "A": 224, "B": 616, "C": 537, "D": 112,
    }  # fmt: skip
    broad = Counter(question.categories["broad"] for question in benchmark.questions)
    assert set(broad) == {"Microscopy", "Diagnosis", "Clinical"}
    first = benchmark.questions[0]
    assert first.slide.endswith("TCGA-05-4244-01Z-00-DX1.d4ff32cd-38cf-40ea-8213-45c2b100ac01.h5")
    assert (first.answer, first.answer_text) == ("C", "Papillary adenocarcinoma")


def test_always_b_is_right_in_616_of_the_real_rows() -> None:
    path = require_shared("vqa/SlideBench-VQA-TCGA.csv")
    (letter, *_) = baselines(read_benchmark("slidebench-tcga", path).questions)
    assert letter.rule == "always B"
    assert letter.scores.overall.accuracy["value"] == 616 / 1489


def test_the_real_wsi_vqa_is_read_whole() -> None:
    path = require_shared("vqa/WsiVQA_test.json")
    rows = json.loads(path.read_text())
    benchmark = read_benchmark("wsi-vqa", path)
    assert benchmark.num_rows == len(rows)
    left_out = {fault.row for fault in benchmark.row_faults if fault.left_out}
    assert len(benchmark.questions) + len(left_out) == len(rows)
    for question in benchmark.questions:
        row = rows[int(question.row_id) - 1]
        assert question.slide == row["Id"]
        assert (question.answer is None) == (not row.get("Choice"))
    assert any(question.answer is None for question in benchmark.questions)


def test_the_real_training_example_is_read_whole() -> None:
    read = read_conversations(require_shared("vqa/SlideChat_train_data_example.json"))
    assert read.faults == []
    assert len(read.conversations) == read.num_rows
    first = read.conversations[0]
    assert first.slide == "TCGA-A7-A0CJ-01Z-00-DX2.csv"
    assert [turn.role for turn in first.turns] == ["user", "assistant"]
    assert first.turns[0].text.endswith("\n<image>")


def test_options_c_and_d_may_be_empty_in_bcnb(tmp_path: Path) -> None:
    (tmp_path / "bcnb.csv").write_text(BCNB_HEADER + "1,s1,ER,Positive?,yes,no,,,B\n")
    (question,) = read_benchmark("slidebench-bcnb", tmp_path / "bcnb.csv").questions
    assert question.options == ("yes", "no")
    assert question.categories == {"task": "ER"}


def test_every_fault_of_a_benchmark_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = [
        "1,s1,ER,Positive?,yes,no,,,B",
        "2,s1,ER,Positive?,yes,no,,,C",
        "3,s1,ER,,yes,no,,,A",
        "4,,ER,Positive?,yes,no,,,A",
        "5,s1,ER,Positive?,yes,,no,,A",
        "1,s1,ER,Again?,yes,no,,,A",
        "7,s1,ER,Same?,yes,Yes,,,A",
    ]
    (tmp_path / "bcnb.csv").write_text(BCNB_HEADER + "\n".join(rows) + "\n")
    benchmark = read_benchmark("slidebench-bcnb", tmp_path / "bcnb.csv")
    assert [question.row_id for question in benchmark.questions] == ["1", "7"]
    assert benchmark.faults[0] == "row 2: the answer 'C' is none of A, B"
    assert count_faults(benchmark.row_faults) == {
        "malformed row": 2,
        "answer not among the options": 1,
        "empty question": 1,
        "id stands twice": 1,
        "option stands twice": 1,
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the table is empty"),
        ("a,b\n1,2\n", "lacks the columns ID, Slide"),
    ],
)
def test_a_file_that_is_no_benchmark_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(TableError, match=reason):
        read_benchmark("slidebench-tcga", tmp_path / "x.csv")
    with pytest.raises(TableError, match="not valid JSON"):
        read_benchmark("wsi-vqa", tmp_path / "x.csv")
    with pytest.raises(TableError, match="there is no such file"):
        read_benchmark("wsi-vqa", tmp_path / "nothing.json")


def row(*turns: tuple[str, str], image: object = ("s.csv",)) -> dict[str, object]:
    said = [{"from": who, "value": text} for who, text in turns]
    images = list(image) if isinstance(image, tuple) else image
    return {"id": f"r{len(str(turns))}", "image": images, "conversations": said}


def test_several_turns_are_kept_and_faulty_rows_are_named(tmp_path: Path) -> None:
    good = row(("human", "<image>\nOne?"), ("gpt", "1"), ("human", "Two?"), ("gpt", "2"))
    rows: list[object] = [
        good,
        "text",
        row(("human", "One?"), ("gpt", "1"), image=("a", "b")),
        row(("human", "One?")),
        row(("gpt", "1"), ("human", "One?")),
        row(("human", "<image> "), ("gpt", "1")),
        row(("human", "One?"), ("gpt", " ")),
        row(("robot", "One?"), ("gpt", "1")),
    ]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    read = read_conversations(tmp_path / "x.json")
    (conversation,) = read.conversations
    assert conversation.turns[2:] == (Turn("user", "Two?"), Turn("assistant", "2"))
    assert conversation.source == "x.json, row 1"
    assert [fault.row for fault in read.row_faults] == [2, 3, 4, 5, 6, 7, 8]
    assert read.faults[-1] == "row 8: a turn is from 'robot'"
    assert read.num_rows == 8


TOLD = (Turn("system", "Be brief."), Turn("user", "<image>\nOne?"), Turn("assistant", "1"))
MESSAGES = {
    "images": ["s.csv"],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "<image>\nOne?"},
        {"role": "assistant", "content": "1"},
    ],
}
PARTS = {
    "messages": [
        MESSAGES["messages"][0],
        {
            "role": "user",
            "content": [{"type": "image", "image": "s.csv"}, {"type": "text", "text": "One?"}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "1"}]},
    ]
}
LLAVA = {
    **row(("system", "Be brief."), ("human", "<image>\nOne?"), ("gpt", "1"), image="s.csv"),
    "id": 7,
}


@pytest.mark.parametrize("told", [MESSAGES, PARTS, LLAVA], ids=["messages", "parts", "llava"])
@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_messages_and_llava_are_read_as_a_list_and_by_line(
    tmp_path: Path, told: dict[str, object], name: str
) -> None:
    path, rows = tmp_path / name, [told, told]
    by_line = "\n\n".join(map(json.dumps, rows)) + "\n"
    path.write_text(by_line if name.endswith("l") else json.dumps(rows))
    read = read_conversations(path)
    assert read.num_rows == len(read.conversations) == 2
    first = read.conversations[0]
    assert (first.slide, first.turns, first.source) == ("s.csv", TOLD, f"{name}, row 1")


def test_slides_are_named_in_one_place_and_in_the_users_turns(tmp_path: Path) -> None:
    def told(images: list[str], asked: list[str], answered: list[str]) -> dict[str, object]:
        content = [
            [*({"type": "image", "image": name} for name in names), {"type": "text", "text": "x"}]
            for names in (asked, answered)
        ]
        said = [
            {"role": role, "content": parts}
            for role, parts in zip(("user", "assistant"), content, strict=True)
        ]
        return {"images": images, "messages": said}

    rows = [
        told(["a", "b"], ["a", "b"], []),
        told([], ["a", "b"], []),
        told(["a", "b"], ["b", "a"], []),
        told(["a"], ["b"], []),
        told(["a", "b"], ["a"], ["b"]),
        told(["a"], [], ["a"]),
    ]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    read = read_conversations(tmp_path / "x.json", "concat")
    assert [told.slides for told in read.conversations] == [("a", "b")] * 2
    assert [(fault.row, fault.kind) for fault in read.row_faults] == [
        (number, "malformed row") for number in (3, 4, 5, 6)
    ]
    assert "names ['a', 'b'] beside its turns and ['b', 'a'] in them" in read.faults[0]
    assert "has a slide in a turn from 'assistant'" in read.faults[2]


def test_a_conversation_is_an_open_question_to_score(tmp_path: Path) -> None:
    several = row(("human", "<image>\nOne?"), ("gpt", "1"), ("human", "Two?"), ("gpt", "2"))
    rows = [LLAVA, several, {**LLAVA, "image": "t.csv"}, "text"]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    benchmark = read_benchmark("conversations", tmp_path / "x.json")
    assert [(q.row_id, q.text, q.options, q.answer_text) for q in benchmark.questions] == [
        ("7", "One?", (), "1"),
        (several["id"], "One?", (), "1"),
    ]
    assert [(fault.row, fault.left_out) for fault in benchmark.row_faults] == [
        (1, False), (2, False), (3, True), (4, True),
    ]  # fmt: skip
    assert benchmark.num_rows == 4


def test_lines_that_cannot_be_read_are_named_by_row(tmp_path: Path) -> None:
    said = MESSAGES["messages"]
    rows: list[object] = [
        MESSAGES,
        {**MESSAGES, "conversations": LLAVA["conversations"]},
        {"messages": said},
        {**MESSAGES, "image": "another.csv"},
        {**MESSAGES, "messages": [*said[:2], {"role": "tool", "content": "1"}]},
        {**MESSAGES, "messages": [*said[:2], {"role": "assistant", "content": None}]},
        {
            **MESSAGES,
            "messages": [{"role": "user", "content": [{"type": "audio", "text": "x"}]}, said[2]],
        },
        {**MESSAGES, "messages": [{"role": "user", "content": "a", "value": "b"}, said[2]]},
        {**MESSAGES, "messages": [*said, {"role": "system", "content": "More."}]},
    ]
    lines = [*map(json.dumps, rows), "{half", "[1]"]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    read = read_conversations(tmp_path / "x.jsonl")
    assert len(read.conversations) == 1
    assert [fault.row for fault in read.row_faults] == list(range(2, 12))
    wanted = [
        "both conversations and messages", "must name one slide", "must name one slide",
        "from 'tool'", "no text", "no text", "or both", "must take turns", "not valid JSON",
        "must hold",
    ]  # fmt: skip
    for fault, said_of_it in zip(read.faults, wanted, strict=True):
        assert said_of_it in fault


@pytest.mark.parametrize(
    "change",
    [
        {"id": ["a"]},
        {"id": {}},
        {"image": {"a": 1}},
        {"image": [["a"]]},
        {"image": None},
        {"conversations": "text"},
        {"conversations": {"from": "human"}},
        {"conversations": [{"from": ["human"], "value": "x"}]},
        {"conversations": [{"from": "human", "value": ["x"]}]},
        {"conversations": [None]},
    ],
)
def test_a_conversation_of_other_kinds_is_a_fault_of_its_row(
    tmp_path: Path, change: dict[str, object]
) -> None:
    good = row(("human", "One?"), ("gpt", "1"))
    (tmp_path / "x.json").write_text(json.dumps([{**good, **change}, good]))
    read = read_conversations(tmp_path / "x.json")
    assert len(read.conversations) == 1
    assert [(fault.row, fault.kind) for fault in read.row_faults] == [(1, "malformed row")]


@pytest.mark.parametrize(
    "change",
    [
        {"Choice": "yes"},
        {"Choice": {"a": "b"}},
        {"Choice": 7},
        {"Choice": [["yes"], "no"]},
        {"Question": ["why"]},
        {"Answer": 1},
        {"Id": 7},
    ],
)
def test_a_question_of_other_kinds_is_a_fault_of_its_row(
    tmp_path: Path, change: dict[str, object]
) -> None:
    good = {"Id": "TCGA-1", "Question": "What?", "Choice": ["yes", "no"], "Answer": "no"}
    (tmp_path / "x.json").write_text(json.dumps([{**good, **change}, good]))
    benchmark = read_benchmark("wsi-vqa", tmp_path / "x.json")
    assert len(benchmark.questions) == 1
    assert [(fault.row, fault.kind) for fault in benchmark.row_faults] == [(1, "malformed row")]


def test_a_fault_is_one_short_line_whatever_the_file_says(tmp_path: Path) -> None:
    rows = [{**row(("human", "One?"), ("gpt", "1")), "image": ["\n\x1b" + "x" * 9000] * 2}]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    (fault,) = read_conversations(tmp_path / "x.json").faults
    assert len(fault) < 250
    assert fault.isprintable()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * 70 + "]" * 70, "levels of nesting"),
        ('[{"id": 1, "id": 2}]', "the name 'id' stands twice"),
        ('["\\ud800"]', "is not valid JSON"),
        ("{}", "must hold a list, holds an object"),
        ('"a"', "must hold a list, holds one value"),
    ],
)
def test_json_that_could_be_read_in_two_ways_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "x.json").write_text(text)
    for read in (read_conversations, lambda path: read_benchmark("wsi-vqa", path)):
        with pytest.raises(TableError, match=reason):
            read(tmp_path / "x.json")


def test_the_published_table_has_the_paper_s_figure() -> None:
    published = read_published()
    paper = next(system for system in published.systems if system.system == "TC-SSA")
    assert (paper.slidebench_tcga, paper.visual_tokens) == (78.34, 32)
    assert "1,494" in published.caveat


ASKED = (("human", "<image>\nOne?"), ("gpt", "1"))


def test_a_row_of_several_slides_is_read_where_they_come_together(tmp_path: Path) -> None:
    rows = [
        row(*ASKED, image=("a", "b")),
        row(("human", "<image> or <image>?"), ("gpt", "1"), image=("a", "b")),
        row(("human", "<image>, <image>, <image>?"), ("gpt", "1"), image=("a", "b")),
        row(*ASKED, image=("a", "a")),
        row(*ASKED, image=()),
        row(*ASKED, image=("a", 1)),
    ]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    refused = read_conversations(tmp_path / "x.json")
    assert [fault.kind for fault in refused.row_faults[:3]] == ["several slides"] * 3
    assert "--several merge or concat" in refused.faults[0]
    read = read_conversations(tmp_path / "x.json", "concat")
    assert [told.slides for told in read.conversations] == [("a", "b")] * 2
    assert read.conversations[0].slide == "a + b"
    assert [fault.row for fault in read.row_faults] == [3, 4, 5, 6]
    assert "has 3 <image> for 2 slides" in read.faults[0]
    assert "names 'a' twice" in read.faults[1]
    assert "'image' must name its slides, found []" in read.faults[2]


def test_questions_keep_a_mark_for_each_slide_or_none(tmp_path: Path) -> None:
    rows = [
        {**row(*ASKED, image=("a", "b")), "id": "together"},
        {**row(("human", "<image> or <image>?"), ("gpt", "1"), image=("a", "b")), "id": "apart"},
        {**row(*ASKED), "id": "one"},
    ]
    (tmp_path / "x.json").write_text(json.dumps(rows))
    found = read_benchmark("conversations", tmp_path / "x.json", "concat").questions
    assert [each.text for each in found] == ["One?", "<image> or <image>?", "One?"]


def test_a_first_question_shows_the_slides_that_it_marks(tmp_path: Path) -> None:
    """Slides marked in later turns are shown with the first question only where all are merged."""
    later = row(
        ("human", "<image> or <image>?"), ("gpt", "1"), ("human", "And <image>?"), ("gpt", "2"),
        image=("a", "b", "c"),
    )  # fmt: skip
    one = row(
        ("human", "What is <image>?"), ("gpt", "1"), ("human", "And <image>?"), ("gpt", "22"),
        image=("a", "b"),
    )  # fmt: skip
    together = row(
        ("human", "<image>\nOne?"), ("gpt", "1"), ("human", "Two?"), ("gpt", "333"),
        image=("a", "b"),
    )  # fmt: skip
    last = row(
        ("human", "One?"), ("gpt", "1"), ("human", "<image> or <image>?"), ("gpt", "4444"),
        image=("a", "b"),
    )  # fmt: skip
    (tmp_path / "x.json").write_text(json.dumps([later, one, together, last]))
    found = read_benchmark("conversations", tmp_path / "x.json", "concat").questions
    assert [(each.slides, each.text) for each in found] == [
        (("a", "b"), "<image> or <image>?"),
        (("a",), "What is ?"),
        (("a", "b"), "One?"),
        (("a", "b"), "One?"),
    ]
    found = read_benchmark("conversations", tmp_path / "x.json", "merge").questions
    assert [each.slides for each in found] == [("a", "b", "c"), *[("a", "b")] * 3]
    assert found[0].text == "or ?"


def test_a_mark_that_stands_for_no_slide_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "ID,Slide,Task,Question,A,B,C,D,Answer\n1,a.csv,t,<image> What?,one,two,,,A\n"
        "2,a.csv,t,<image>,one,two,,,A\n"
    )
    read = read_benchmark("slidebench-bcnb", tmp_path / "x.csv")
    assert [each.text for each in read.questions] == ["What?"]
    assert [fault.kind for fault in read.row_faults] == ["empty question"]
    wsi = [
        {"Id": named, "Question": f"{marks} What?".strip(), "Answer": "x", "Choice": choice}
        for named, marks, choice in [
            (["P1", "P2"], "<image> <image>", None),
            (["P1", "P2"], "<image>", None),
            (["P1", "P2"], "<image> <image>", ["x", "y"]),
            ("P1", "<image>", None),
        ]
    ]
    (tmp_path / "x.json").write_text(json.dumps(wsi))
    read = read_benchmark("wsi-vqa", tmp_path / "x.json", "concat")
    assert [each.text for each in read.questions] == ["<image> <image> What?", *["What?"] * 3]


def test_benchmarks_name_several_slides_by_a_semicolon_or_a_list(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "ID,Slide,Task,Question,A,B,C,D,Answer\n1,a.csv; b.csv,t,What?,one,two,,,A\n"
        "2,a.csv;,t,What?,one,two,,,A\n3,a.csv,t,What?,one,two,,,A\n"
    )
    read = read_benchmark("slidebench-bcnb", tmp_path / "x.csv", "merge")
    assert [each.slides for each in read.questions] == [("a.csv", "b.csv"), ("a.csv",)]
    assert [fault.row for fault in read.row_faults] == [2]
    refused = read_benchmark("slidebench-bcnb", tmp_path / "x.csv").row_faults
    assert [fault.kind for fault in refused] == ["several slides", "malformed row"]
    wsi = [{"Id": ["P1", "P2"], "Question": "What?", "Answer": "x"}]
    (tmp_path / "x.json").write_text(json.dumps(wsi))
    (question,) = read_benchmark("wsi-vqa", tmp_path / "x.json", "merge").questions
    assert question.slides == ("P1", "P2")
    assert not read_benchmark("wsi-vqa", tmp_path / "x.json").questions
