"""Tables and files of questions."""

from __future__ import annotations

import gzip
import json

HERE = "seed-slide.svs"
"""A slide that manifests name; targets put one there."""
FEATURES_HERE = "seed-slide.h5"

LABELS = (
    "case_id,slide_id,label\nP1,S1,a\nP1,S2,b\nP2,S3,a\n",
    'slide_id;label;site\n"S1.svs";b;x\nTCGA-AA-0001-01Z;a;\n',
    'PATIENT\tFILENAME\tlabel\nP1\tS1.h5\t"a, or b"\nP2\tS2.h5\tb\n',
    'image_id,isup_grade,note\r\nS1,0,""\r\nS2,3,"said ""no"""\r\n',
)
SLIDES = (
    f"wsi,mpp\n{HERE},0.25\n",
    f"sample_id,image_path,spacing_at_level_0\nA,{HERE},0.5\n",
    f'slide_id;path;mpp\n"A";"{HERE}";\n',
)
SPLITS = (
    "train,val,test\nS1,S3,S4\nS2,,S5\n",
    "slide_id,fold_0,fold_1\nS1,train,test\nS2,test,train\nS3,val,val\n",
    "slide_id,split\nS1,train\nS2,validation\nS3,testing\n",
)
ARCHIVE = (f"path\n{FEATURES_HERE}\n", f'slide,path\n"a,b",{FEATURES_HERE}\n')
PREDICTIONS = (
    "slide_id,case_id,label,predicted,fold,prob_a,prob_b\nS1,P1,a,a,0,0.75,0.25\n"
    "S2,P2,b,a,,0.5,0.5\n",
)
SLIDEBENCH = (
    "ID,Slide,Broad Category,Narrow Category,Tumor,Question,A,B,C,D,Answer\n"
    '1,S1,Micro,Cells,BRCA,"Which, of these?",one,two,three,four,B\n'
    '2,S2,Micro,Cells,LUAD,"Two\nlines?",yes,no,,,A\n',
)
ANSWERS = ('row_id,answer\n1,B\n2,"A. one,\nyes"\n', "ID,prediction\n1,A\n1,A\n")
ANSWER_LINES = ('{"row_id": "1", "answer": "B"}\n{"row_id": 2, "answer": "x"}\n',)
INSTANCES = ("1,1,0.5,2\n1,1,0.25,3\n0,2,1e-3,-4\n", "0,10,1\n0,11,2\n")


def encoded(texts: tuple[str, ...]) -> list[bytes]:
    """The bytes of these tables; the first also with a byte-order mark."""
    return [*plain(texts), b"\xef\xbb\xbf" + texts[0].encode()]


def plain(texts: tuple[str, ...]) -> list[bytes]:
    """The bytes of these tables."""
    return [text.encode() for text in texts]


def gzipped(texts: tuple[str, ...]) -> list[bytes]:
    """The bytes of these tables, packed by gzip without a time."""
    return [gzip.compress(text.encode(), mtime=0) for text in texts]


def wsi_vqa() -> list[bytes]:
    """Questions of WSI-VQA."""
    rows = [
        {"Id": "P1", "Question": "Which?", "Choice": ["a", "b"], "Answer": "a"},
        {"Id": "P2", "Question": "Why?", "Answer": "since"},
    ]
    return [json.dumps(rows).encode()]


def conversations() -> list[bytes]:
    """Conversations as SlideInstruct has them."""
    said = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "This."}]
    rows = [
        {"id": "1", "image": ["./BLCA/S1.csv"], "conversations": said},
        {"id": 2, "image": "S2", "conversations": [{"from": "system", "value": "x"}, *said]},
    ]
    return [json.dumps(rows).encode()]
