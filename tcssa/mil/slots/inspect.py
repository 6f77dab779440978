"""A whole inspection: every fold's test slides through its model, tables, pictures, one page.

Or slides that are not the run's own, through its final model (`tcssa.mil.slots.given`).

::

    OUT/
      slots.html                      all pictures, and what each means
      folds.csv slots.csv             use of the slots; epochs.csv during training
      slides.csv slide_slots.csv      slide by slide
      cosine.csv association.csv ablation.csv exemplars.csv embedding.csv
      stability.csv                   agreement with slots of other folds, or of another run
      meaning.csv                     what slots tell about patch labels, if these are given
      plots/                          the pictures of these tables
      maps/fold-0/S.png, S.geojson    slot maps
      exemplars/fold-0.jpg            contact sheets
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tcssa.compute.devices import resolve_device
from tcssa.errors import RunError, SlideError, UsageError, counted
from tcssa.mil.bags.bag_store import BagStore
from tcssa.mil.classifier.classifiers import TCSSA
from tcssa.mil.classifier.classify_bags import places_of
from tcssa.mil.classifier.slide_classifier import SlideClassifier
from tcssa.mil.cohort.cohort import Cohort, CohortSlide, listed
from tcssa.mil.results.finished import FinishedRun, read_finished
from tcssa.mil.results.metrics_file import METRICS_FILE, read_fold_metrics
from tcssa.mil.slots import plots, tables
from tcssa.mil.slots.ablation import ablation_of
from tcssa.mil.slots.association import association_of
from tcssa.mil.slots.colours import Colours, slot_colours
from tcssa.mil.slots.embedding import Method, embed, require_method
from tcssa.mil.slots.exemplars import (
    Exemplar,
    choose_exemplars,
    crop_exemplars,
    prototype_exemplars,
    write_sheet,
)
from tcssa.mil.slots.given import slides_of
from tcssa.mil.slots.inspection import SlotInspection
from tcssa.mil.slots.maps import draw_map, write_geojson
from tcssa.mil.slots.meaning import meaning_of
from tcssa.mil.slots.patch_labels import read_patch_labels
from tcssa.mil.slots.report import write_page_of
from tcssa.mil.slots.routed import FINAL, RoutedSlide, model_folder, model_name, route
from tcssa.mil.slots.stability import silhouettes_of, stability_of
from tcssa.mil.slots.utilisation import cosine_of, use_of
from tcssa.mil.training.prototypes import read_prototypes
from tcssa.reporter import Reporter
from tcssa.run import CHECKPOINT_FILE
from tcssa.slides.image.places import Places, picture_of, read_places
from tcssa.slides.manifest import find_slides


def inspect_slots(
    run: Path,
    out: Path,
    reporter: Reporter,
    *,
    features: Path | None = None,
    slides: Path | None = None,
    slide_ids: Sequence[str] = (),
    all_maps: bool = False,
    patch_labels: Path | None = None,
    against: Path | None = None,
    embedding: Method = "tsne",
    seed: int = 0,
    device: str = "auto",
) -> SlotInspection:
    """Look at the slots of a finished run of a tcssa model.

    Args:
        run: The run directory of train-mil.
        out: Folder for the tables, the pictures and the page.
        reporter: Receives progress, and a warning about everything that is left out.
        features: Where the run's features are now; or those of other slides, for the final model.
        slides: Folder of the slides, for exemplar crops and for pictures to draw maps on.
        slide_ids: Slides to draw maps of; if none is given, the first of each class and fold.
        all_maps: Draw maps of all slides.
        patch_labels: A table of patch labels, or a folder of outlines; see `read_patch_labels`.
        against: Another run of the same folds, to match slots with; None matches this one's folds.
        embedding: Method that projects patches into the plane.
        seed: Seed of the sample of patches and of the embedding.
        device: Device that the models run on.

    Raises:
        RunError: The run is not finished, is of a method without slots, or its cohort changed.
        MissingDataError: The features or the folder of slides are missing.
        UsageError: A slide in ``slide_ids`` is not among the slides.
    """
    require_method(embedding)
    trained = _read_tcssa_run(run, features)
    given = slides_of(trained, features, reporter)
    files = {} if slides is None else {s.slide_id: s.path for s in find_slides([slides])}
    _require_known(given.folds, slide_ids)
    found = _begun(trained, run, out, has_labels=given.cohort is not None)
    store, where = BagStore(cache_bytes=0, half=trained.is_rounded), resolve_device(device)
    _route_all(found, given.folds, store, where, reporter)
    chosen = _slides_to_map(found.slides, slide_ids, all_maps)
    places = _places(found.slides, reporter)
    _sum_up(found, given.cohort, places, reporter)
    if patch_labels is not None:
        _add_meaning(found, patch_labels, places, reporter)
    found.stability = stability_of(found, store, against, where)
    found.silhouettes = silhouettes_of(found, store, where)
    _add_embedding(found, store, embedding, seed, reporter)
    colours = {use.fold: slot_colours(use.by_mass) for use in found.use}
    _write_tables(found, colours)
    _draw_maps(found, chosen, places, files, colours, reporter)
    if slides is not None:
        _draw_sheets(found, files, reporter)
    write_page_of(found)
    return found


def _begun(trained: FinishedRun, run: Path, out: Path, *, has_labels: bool) -> SlotInspection:
    """Return an inspection of a run with nothing found yet."""
    model, classes = trained.settings.model, list(trained.task.label_names)
    shape = (model.pool, model.num_slots, model.top_k)
    return SlotInspection(run, out, classes, *shape, has_labels=has_labels)


def _read_tcssa_run(run: Path, features: Path | None) -> FinishedRun:
    """Read a run with slots, and where its features lie now."""
    trained = read_finished(run)
    settings = trained.settings
    if settings.cohort.kind != "classes" or settings.cohort.targets:
        raise RunError(
            run,
            "learnt no plain classes, and slots are set against classes",
            hint="give a run of one label without --kind and --target",
        )
    if settings.model.name != TCSSA:
        raise RunError(
            run,
            f"is a run of --model {settings.model.name}, which has no slots",
            hint="give a run of train-mil --model tcssa",
        )
    if features is None:
        return trained
    cohort = settings.cohort.model_copy(update={"features": features})
    return replace(trained, settings=settings.model_copy(update={"cohort": cohort}))


def _require_known(folds: Mapping[int, Sequence[CohortSlide]], slide_ids: Sequence[str]) -> None:
    known = {slide.slide_id for slides in folds.values() for slide in slides}
    if unknown := sorted(set(slide_ids) - known):
        are_own = FINAL not in folds
        raise UsageError(
            f"no {'test ' if are_own else ''}slides of {'this run' if are_own else '--features'}: "
            f"{', '.join(unknown)}",
            hint="splits.csv of the run lists them" if are_own else "give names of feature files",
        )


def _slides_to_map(
    slides: Sequence[RoutedSlide], slide_ids: Sequence[str], all_maps: bool
) -> set[tuple[int, str]]:
    """Return fold and slide_id of the slides to draw maps of."""
    every = {(routed.fold, routed.slide.slide_id) for routed in slides}
    if all_maps:
        return every
    if slide_ids:
        return {(fold, slide_id) for fold, slide_id in every if slide_id in slide_ids}
    first: dict[tuple[int, int], str] = {}
    for routed in slides:
        first.setdefault((routed.fold, routed.slide.label), routed.slide.slide_id)
    return {(fold, slide_id) for (fold, _), slide_id in first.items()}


def _route_all(
    found: SlotInspection,
    folds: Mapping[int, Sequence[CohortSlide]],
    store: BagStore,
    where: torch.device,
    reporter: Reporter,
) -> None:
    total = sum(map(len, folds.values()))
    with reporter.task("routing slides", total, "slides") as task:
        for fold, slides in folds.items():
            folder = found.run / model_folder(fold)
            model = SlideClassifier.load(folder / CHECKPOINT_FILE).to(where)
            is_noted = (folder / METRICS_FILE).exists()
            found.epochs[fold] = read_fold_metrics(folder).epochs if is_noted else []
            for (slide,), (bag,) in store.batches([[slide] for slide in slides]):
                places = places_of(model, [slide], store)
                routed = route(model, bag.to(where), slide, fold, places)
                if not found.has_labels:  # what is predicted stands for what is not known
                    routed = replace(routed, slide=replace(slide, label=routed.predicted))
                found.slides.append(routed)
                task.advance()


def _places(slides: Sequence[RoutedSlide], reporter: Reporter) -> dict[str, Places]:
    """Read where the patches of slides lie; warn of slides for which that is not known."""
    known: dict[str, Places] = {}
    without: dict[str, str] = {}
    for routed in slides:
        place = read_places(routed.slide.path)
        if isinstance(place, str):
            without[routed.slide.slide_id] = place
        else:
            known[routed.slide.slide_id] = place
    if without:
        reporter.warn(
            f"{counted(len(without), 'slide')} without a map and crops: {listed(without)}"
        )
    return known


def _prototypes_of(
    found: SlotInspection, cohort: Cohort, places: Mapping[str, Places]
) -> list[Exemplar]:
    """Read the training patches that the slots of each fold were initialised from."""
    paths = {slide.slide_id: slide.path for slide in cohort.slides}
    known, exemplars = dict(places), []
    for fold in found.epochs:
        prototypes = read_prototypes(found.run / model_folder(fold))
        for slide_id in {each.slide_id for each in prototypes} & (paths.keys() - known.keys()):
            place = read_places(paths[slide_id])
            if isinstance(place, Places):
                known[slide_id] = place
        exemplars += prototype_exemplars(prototypes, fold, known)
    return exemplars


def _sum_up(
    found: SlotInspection, cohort: Cohort | None, places: Mapping[str, Places], reporter: Reporter
) -> None:
    if cohort is not None:
        found.exemplars = _prototypes_of(found, cohort, places)
    for fold in found.epochs:
        slides = [routed for routed in found.slides if routed.fold == fold]
        found.use.append(use_of(slides))
        found.cosine.append(cosine_of(slides))
        if found.has_labels:
            found.association.append(association_of(slides, len(found.classes)))
        found.ablation.append(ablation_of(slides))
        found.exemplars += choose_exemplars(slides, places)
    untested = [fold.fold for fold in found.association if not fold.slots]
    if untested:
        reporter.warn(f"the test slides of folds {untested} are of one class: no association")


def _add_meaning(
    found: SlotInspection, table: Path, places: Mapping[str, Places], reporter: Reporter
) -> None:
    found.patch_labels, labels = read_patch_labels(table, found.slides, places, reporter)
    for use in found.use:
        of_fold = [routed for routed in found.slides if routed.fold == use.fold]
        found.meaning.append(meaning_of(of_fold, labels, len(found.patch_labels)))


def _add_embedding(
    found: SlotInspection, store: BagStore, method: Method, seed: int, reporter: Reporter
) -> None:
    found.embedding = embed(found.slides, store, method, seed)
    if found.embedding is None:
        reporter.warn("there are too few patches for a picture of them in the plane")


def _write_tables(found: SlotInspection, colours: Mapping[int, Colours]) -> None:
    out, pictures = found.folder, found.folder / "plots"
    tables.write_epochs(out / "epochs.csv", found.epochs)
    tables.write_use(out, found.use, found.silhouettes)
    tables.write_slides(out, found.slides, found.classes, has_labels=found.has_labels)
    tables.write_cosine(out / "cosine.csv", found.cosine)
    tables.write_association(out / "association.csv", found.association, found.classes)
    tables.write_ablation(out / "ablation.csv", found.ablation)
    tables.write_meaning(out / "meaning.csv", found.meaning, found.patch_labels)
    tables.write_stability(out / "stability.csv", found.stability)
    tables.write_exemplars(out / "exemplars.csv", found.exemplars)
    plots.plot_use(pictures / "use.png", found.use)
    plots.plot_cosine(pictures / "cosine.png", found.cosine)
    if found.has_labels:
        plots.plot_epochs(pictures / "epochs.png", found.epochs)
        plots.plot_association(pictures / "association.png", found.association, found.classes)
    plots.plot_ablation(pictures / "ablation.png", found.ablation)
    if found.embedding is not None:
        tables.write_embedding(out / "embedding.csv", found.embedding)
        plots.plot_embedding(pictures / "embedding.png", found.embedding, colours)


def _draw_maps(
    found: SlotInspection,
    chosen: set[tuple[int, str]],
    places: Mapping[str, Places],
    files: Mapping[str, Path],
    colours: Mapping[int, Colours],
    reporter: Reporter,
) -> None:
    grids: list[str] = []
    failed: dict[str, str] = {}
    wanted = [r for r in found.slides if (r.fold, r.slide.slide_id) in chosen]
    for routed in [r for r in wanted if r.slide.slide_id in places]:
        slide_id = routed.slide.slide_id
        place, of_slot = places[slide_id], colours[routed.fold]
        try:
            picture, is_slide = picture_of(routed.slide.path, files.get(slide_id), place)
        except SlideError as error:
            failed[slide_id] = error.reason
            picture, is_slide = picture_of(routed.slide.path, None, place)
        if not is_slide:
            grids.append(slide_id)
        # the origin of a grid of patches is its own corner, not the slide's
        drawn = place if is_slide else place.from_own_corner()
        stem = found.folder / "maps" / model_folder(routed.fold) / slide_id
        label = found.classes[routed.slide.label]
        said = label if found.has_labels else f"predicted {label}"
        title = f"{slide_id}, {said}, {model_name(routed.fold)}"
        png = stem.with_name(f"{slide_id}.png")
        draw_map(png, routed, drawn, picture, of_slot, title)
        write_geojson(stem.with_name(f"{slide_id}.geojson"), routed, place, of_slot)
        found.maps.append(png)
    if failed:
        reporter.warn(f"{counted(len(failed), 'slide')} that cannot be read: {listed(failed)}")
    if grids:
        reporter.warn(
            f"{len(grids)} maps are drawn on the grid of patches, for want of a thumbnail or a "
            f"slide: {', '.join(grids[:5])}"
        )


def _draw_sheets(found: SlotInspection, files: Mapping[str, Path], reporter: Reporter) -> None:
    crops, failed = crop_exemplars(found.exemplars, files)
    names = [routed.slide.slide_id for routed in found.slides]
    lacking = {name: "no slide file" for name in names if name not in files} | failed
    if lacking:
        reporter.warn(f"no crops of {counted(len(lacking), 'slide')}: {listed(lacking)}")
    for use in found.use:
        of_fold = {e: pixels for e, pixels in crops.items() if e.fold == use.fold}
        if of_fold:
            sheet = found.folder / "exemplars" / f"{model_folder(use.fold)}.jpg"
            write_sheet(sheet, of_fold, use.by_mass, use.mass_share)
            found.sheets.append(sheet)
