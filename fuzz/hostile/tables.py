"""Tables that lose or invent rows where a reader is lenient, and questions that are none."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

from fuzz.hostile.case import Case
from fuzz.seeds.tables import FEATURES_HERE, HERE


def cases() -> Iterator[Case]:
    """Make all tables of the corpus."""
    yield from _labels()
    yield from _others()
    yield from _questions()


def _labels() -> Iterator[Case]:
    texts = {
        "open-quote": 'slide_id,label\nS1,a\n"S2,b\nS3,a\nS4,b\n',
        "quote-over-lines": 'case_id,slide_id,label\nP1,S1,a\n"P2,S2,b\nP3",S3,a\n',
        "comma-in-a-cell": "slide_id,note,label\nS1,x,a\nS2,y,z,b\n",
        "row-too-short": "slide_id,note,label\nS1,x,a\nS2,y\n",
        "column-twice": "slide_id,label,label\nS1,a,b\n",
        "column-twice-in-other-words": "slide_id,Slide ID,label\nS1,S2,a\n",
        "a-zero": "slide_id,label\nS1,a\0\n",
        "text-behind-a-quote": 'slide_id,label\n"S1"x,a\n',
        "a-slide-twice": "slide_id,label\nS1,a\nS1,b\n",
        "header-alone": "slide_id,label\n",
        "nothing-but-lines": "\n\n\n",
        "no-label": "slide_id,other\nS1,a\n",
        "columns-of-a-long-line": ",".join(f"c{i}" for i in range(1_000)) + "\n",
    }
    for name, text in texts.items():
        yield Case("labels", name, text.encode())
    sound = {
        "line-separator": "slide_id,label\nS1,a\u2028S9\nS2,b\n",
        "next-line": "slide_id,note,label\nS1,x\u0085y,a\nS2,\x0b\x0c\x1c,b\n",
        "a-long-cell": "slide_id,note,label\nS1," + "x" * 131_100 + ",a\n",
        "returns-alone": "slide_id,label\rS1,a\rS2,b\r",
    }
    for name, text in sound.items():
        yield Case("labels", name, text.encode(), is_refused=False)
    utf16 = "slide_id,label\nS1,a\n".encode("utf-16")
    yield Case("labels", "utf-16", utf16)
    yield Case("labels", "latin-1", "slide_id,label\nS1,é\n".encode("latin-1"))


def _others() -> Iterator[Case]:
    texts = {
        "slides": {
            "open-quote": f'wsi,mpp\n{HERE},0.25\n"{HERE},0.25\n',
            "mpp-infinite": f"wsi,mpp\n{HERE},inf\n",
            "name-leads-out": f"slide_id,wsi\n../../x,{HERE}\n",
            "not-there": "wsi\nother.svs\n",
            "zero-in-a-path": "wsi\nx\\0.svs\n",
            "a-long-path": f"wsi\n{'x' * 5000}\n",
        },
        "resolutions": {
            "two-of-one-slide": "slide_id,mpp\nS1,0.25\nS1,0.5\n",
            "comma-in-a-cell": "slide_id,mpp\nS1,0,25\n",
        },
        "splits": {
            "in-two-parts": "train,val,test\nS1,S1,S2\n",
            "word-unknown": "slide_id,split\nS1,traim\n",
            "column-twice": "slide_id,split,split\nS1,train,test\n",
            "open-quote": 'slide_id,split\n"S1,train\nS2,test\n',
        },
        "archive": {
            "open-quote": f'path\n"{FEATURES_HERE}\n{FEATURES_HERE}\n',
            "a-long-path": f"path\n{'x' * 5000}\n",
            "no-path": f"file\n{FEATURES_HERE}\n",
        },
        "predictions": {
            "row-too-short": "slide_id,case_id,label,fold,prob_a,prob_b\nS1,P1,a,0,0.5\n",
            "no-number": "slide_id,case_id,label,fold,prob_a,prob_b\nS1,P1,a,0,x,0.5\n",
            "fold-no-number": "slide_id,case_id,label,fold,prob_a,prob_b\nS1,P1,a,x,0.5,0.5\n",
            "label-unknown": "slide_id,case_id,label,fold,prob_a,prob_b\nS1,P1,z,0,0.5,0.5\n",
            "column-gone": "slide_id,case_id,label,fold,prob_a\nS1,P1,a,0,0.5\n",
        },
        "instances": {
            "no-number": "1,1,x\n",
            "not-finite": "1,1,nan\n",
            "rows-of-other-lengths": "1,1,2,3\n1,1,2\n",
            "two-columns": "1,1\n",
            "bag-no-whole-number": "1,1.5,2\n",
            "two-labels": "0,1,2\n1,1,2\n",
            "bag-of-1e300": "1,1e300,2\n",
            "nothing": "",
        },
    }
    for target, inner in texts.items():
        for name, text in inner.items():
            yield Case(target, name, text.encode())
    packed = gzip.compress(b"1,1,0.5,2\n", mtime=0)
    yield Case("instances-gz", "cut", packed[:-9])
    yield Case("instances-gz", "checksum", packed[:-8] + b"\0" * 4 + packed[-4:])
    yield Case("instances-gz", "not-packed", b"1,1,0.5,2\n")
    bomb = gzip.compress(b"1,1," + b"0" * 30_000_000 + b"\n", mtime=0)
    yield Case("instances-gz", "grows-to-30-mb", bomb)


def _questions() -> Iterator[Case]:
    deep = "[" * 2_000 + "]" * 2_000
    for target in ("wsi-vqa", "conversations"):
        yield Case(target, "nested", deep.encode())
        yield Case(target, "an-object", b"{}")
        yield Case(target, "not-finished", b'[{"Id": "P1"')
        yield Case(target, "name-twice", b'[{"Id": "a", "Id": "b", "id": 1, "id": 2}]')
        yield Case(target, "not-utf-8", b'[{"Id": "\xff"}]')
    header = "ID,Slide,Broad Category,Narrow Category,Tumor,Question,A,B,C,D,Answer\n"
    yield Case("slidebench", "open-quote", f'{header}1,S1,x,y,z,"q,a,b,c,d,A\n'.encode())
    yield Case("slidebench", "row-too-long", f"{header}1,S1,x,y,z,q,a,b,c,d,A,B\n".encode())
    yield Case("slidebench", "column-gone", b"ID,Slide\n1,S1\n")
    yield Case("answers", "open-quote", b'row_id,answer\n1,"B\n2,A\n')
    yield Case("answers", "column-twice", b"row_id,answer,answer\n1,A,B\n")
    row = json.dumps({"row_id": "1", "answer": "B"})
    yield Case("answer-lines", "nested", f"{row}\n{deep}\n".encode())
    yield Case("answer-lines", "not-finished", f"{row}\n{row[:-1]}\n".encode())
    separated = json.dumps({"row_id": "1", "answer": "B\u2028C"}, ensure_ascii=False)
    yield Case("answer-lines", "line-separator", f"{separated}\n".encode(), is_refused=False)
