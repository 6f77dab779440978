"""``slots.html``: the pictures of an inspection, and what each can and cannot tell."""

from __future__ import annotations

from collections.abc import Iterator

from tcssa.mil.slots.inspection import SlotInspection
from tcssa.mil.slots.plots import FDR
from tcssa.reports.html_page import Figure, Section, write_page

_LEAST_ROWS = 3
"""Slots of each fold that the tables show, however weak."""


def write_page_of(found: SlotInspection) -> None:
    """Write the page, atomically."""
    write_page(found.page, f"Slots of {found.run.name}", list(_sections(found)))


def _sections(found: SlotInspection) -> Iterator[Section]:
    pictures = found.folder / "plots"
    num_slides = sum(use.num_slides for use in found.use)
    yield Section(
        "What this is",
        f"{num_slides} test slides, each seen with the model of the fold that did not train on it. "
        f"{found.num_slots} slots, {found.top_k} a patch, pool {found.pool}. A slot is a number: "
        "what tissue it holds is for you to see, and slots of two folds have nothing to do with "
        "each other even where their numbers agree.",
        rows=list(_use_rows(found)),
    )
    yield Section(
        "Use of the slots",
        "Bars: each slot's share of the gate weight of all test patches; the line is equal use, a "
        "cross is a dead slot, one that no test patch goes to.",
        figures=[Figure(pictures / "use.png", "Share of mass of each slot, fold by fold")],
    )
    yield Section(
        "Use during training",
        "Effective slots are exp(entropy of use), K if all are used alike; the largest share is at "
        "most 1 / top_k.",
        figures=[Figure(pictures / "epochs.png", "Training patches, epoch by epoch")],
    )
    yield Section(
        "Likeness of slot tokens",
        "Cosine of every two tokens of a slide, averaged over the slides in which both slots hold "
        "patches; grey pairs never meet. Near 1 means that two slots tell the classifier the same.",
        figures=[Figure(pictures / "cosine.png", "Mean cosine of slot tokens")],
    )
    yield from _meaning(found)
    yield _association(found)
    yield _ablation(found)
    if found.embedding is not None:
        yield _plane(found)
    yield Section(
        "Slot maps",
        "Patches coloured by their first slot; a colour is one slot throughout a fold. The GeoJSON "
        "beside each picture opens in QuPath.",
        figures=[Figure(path, f"{path.parent.name}, {path.stem}") for path in found.maps],
    )
    if found.sheets:
        yield Section(
            "Exemplar patches",
            "First, apart, the training patch nearest to the prototype that the slot began at; "
            "then the test patches with its greatest gate weight, at most two of a slide. "
            "They are a slot's extremes and not its average; the maps show all of it.",
            figures=[Figure(path, path.stem) for path in found.sheets],
        )
    yield Section(
        "What to do next",
        "All figures stand in the tables beside this page: slots.csv, slide_slots.csv, "
        "association.csv, ablation.csv and others. More slides, or other numbers of slots:",
        code="\n".join(_next_commands(found)),
    )


def _next_commands(found: SlotInspection) -> list[str]:
    run = found.run.name
    return [
        f"tcssa inspect slots {run} --slide ID --slides SLIDES --out SLOTS",
        f"tcssa sweep --config {run}/config.resolved.yaml --over num_slots=8,16,32 --out SWEEP",
        f"tcssa export {run} --format onnx --out ARTEFACT",
    ]


def _use_rows(found: SlotInspection) -> Iterator[list[str]]:
    yield [
        "fold", "slides", "patches", "effective slots", "largest share", "dead slots",
        "empty a slide", "first gate weight", "gate entropy / log K", "token cosine", "silhouette",
    ]  # fmt: skip
    for use, cosine in zip(found.use, found.cosine, strict=True):
        yield [
            str(use.fold),
            str(use.num_slides),
            str(use.num_patches),
            f"{use.effective_slots:.1f}",
            f"{use.largest_share:.3f}",
            str(len(use.dead)),
            f"{use.empty_per_slide:.1f}",
            f"{use.first_weight:.3f}",
            f"{use.entropy:.3f}",
            "not defined" if cosine.between is None else f"{cosine.between:.2f}",
            "not defined" if (value := found.silhouettes[use.fold]) is None else f"{value:.2f}",
        ]


def _meaning(found: SlotInspection) -> Iterator[Section]:
    if found.stability:
        rows = [["model", "other", "patches", "agreement"]]
        rows += [
            [pair.one, pair.other, str(pair.num_patches), f"{pair.agreement:.2f}"]
            for pair in found.stability
        ]
        yield Section(
            "Do other models find the same slots?",
            "Share of the same patches whose first slots are partners, the slots of two models "
            "matched one to one so that it is largest. stability.csv has the partners.",
            rows=rows,
        )
    if found.meaning:
        header = ["fold", "labelled patches", "I(slot; label) / H(label)", "purity"]
        header += [f"best slot for {name} (AUC)" for name in found.patch_labels]
        rows = [header]
        for each in found.meaning:
            detectors = [
                "none" if score is None else f"{slot} ({score:.2f})"
                for slot, score in each.detectors
            ]
            known = [
                "not defined" if value is None else f"{value:.2f}"
                for value in (each.information, each.purity)
            ]
            rows.append([str(each.fold), str(each.num_labelled), *known, *detectors])
        yield Section(
            "Slots and what patches show",
            "Of the labels of test patches: how much of their entropy the first slot tells, 1 is "
            "all; the share of patches with the commonest label of their slot; and the slot whose "
            "weight finds each label best.",
            rows=rows,
        )


def _association(found: SlotInspection) -> Section:
    limits = dict.fromkeys(
        f"{' + '.join(map(str, fold.counts.values()))} patients, "
        f"p ≥ {_probability(fold.smallest_p)}"
        for fold in found.association
        if fold.smallest_p is not None
    )
    reach = f" What a fold's patients can reach at best: {'; '.join(limits)}." if limits else ""
    rows = [["fold", "slot", "AUC", "for", "p", "q"]]
    for fold in found.association:
        ranked = sorted(fold.slots, key=lambda row: (row.p_value, row.slot))
        shown = max(_LEAST_ROWS, sum(row.q_value < FDR for row in ranked))
        rows += [
            [
                str(row.fold),
                str(row.slot),
                f"{row.auc:.2f}",
                found.classes[row.auc_class],
                _probability(row.p_value),
                _probability(row.q_value),
            ]
            for row in ranked[:shown]
        ]
    count = sum(row.q_value < FDR for fold in found.association for row in fold.slots)
    return Section(
        "Slots and the label",
        f"Does a slot hold more of a patient's slides in one class? {count} slots stand at a false "
        f"discovery rate of {FDR:g} within their fold (filled points). Shares sum to 1, so where "
        f"one slot grows others must shrink.{reach}",
        rows=rows,
        figures=[Figure(found.folder / "plots" / "association.png", "AUC of each slot's share")],
    )


def _probability(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _ablation(found: SlotInspection) -> Section:
    rows = [["fold", "slot", "slides", "change, mean ± SD", "predictions that change"]]
    for of_fold in found.ablation:
        known = [row for row in of_fold if row.true_mean is not None]
        known.sort(key=lambda row: -abs(row.true_mean or 0))
        for row in known[:_LEAST_ROWS]:
            spread = "" if row.true_sd is None else f" ± {row.true_sd:.2f}"
            # a true minus, in the typeface of the page
            change = f"{row.true_mean:+.2f}{spread}".replace("-", "−")
            numbers = [str(row.num_slides), change, str(row.num_flips)]
            rows.append([str(row.fold), str(row.slot), *numbers])
    return Section(
        "What the prediction owes to a slot",
        "Each slot is emptied in turn, as if no patch had gone to it, and the slide classified "
        "again: the change of the log-odds of the true class, over the slides in which the slot "
        "holds patches. Below 0 the slot spoke for the true class. Evidence that two slots share "
        "does not show here, since the other still has it.",
        rows=rows,
        figures=[
            Figure(found.folder / "plots" / "ablation.png", "Mean and SD over slides, by slot")
        ],
    )


def _plane(found: SlotInspection) -> Section:
    embedding = found.embedding
    assert embedding is not None
    name = {"tsne": "t-SNE", "umap": "UMAP"}[embedding.method]
    return Section(
        f"Patches by {name}",
        f"{len(embedding.patches)} of {embedding.num_all} test patches, drawn at random, placed by "
        "their features (PCA first); the colour and the number are of the first slot. Neighbours "
        "are alike; distances between heaps and their sizes mean nothing.",
        figures=[
            Figure(found.folder / "plots" / "embedding.png", "Patches of each fold in colour")
        ],
    )
