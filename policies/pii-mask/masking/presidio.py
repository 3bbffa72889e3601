"""Finds personal data by Microsoft Presidio, an optional package that this module imports once it is asked for.

Presidio judges a value by the text around it, so it gets whole texts, in overlapping windows: its time grows faster
than the text for some texts, and what it computes holds the interpreter.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from sdk.masking import Span

if TYPE_CHECKING:
    from masking.detectors import SURROGATES
else:
    from .detectors import SURROGATES

REQUIREMENT = "presidio-analyzer>=2.2.366,<3"
WINDOW, OVERLAP = 512, 128
"""Characters. A value that is longer than the overlap may be found in parts."""
QUADRATIC = {"URL": "takes seconds for a thousand dots; mask URLs by one of patterns"}
"""Entities that cannot be asked for, and the reasons."""
WARM_UP = "Ada, card 4111 1111 1111 1111, phone 212-555-5555, ada@example.org, 192.0.2.1"
LEMMAS = "pii_mask_lemmas"


class Match(NamedTuple):
    """A place in a text, and the entity that Presidio has found there."""

    start: int
    end: int
    entity: str


Analyse = Callable[[str], Iterable[Match]]


@dataclass(frozen=True, slots=True)
class Finder:
    """What an attachment has Presidio find. pool: the thread that analyses."""

    analyse: Analyse
    pool: ThreadPoolExecutor

    async def find(self, text: str) -> Mapping[str, Sequence[Span]]:
        """The spans of each entity that is found in a whole text. If it is cancelled, at most one window goes on."""
        loop = asyncio.get_running_loop()
        found = [(at, await loop.run_in_executor(self.pool, self._analyse, window)) for at, window in windows(text)]
        return spans_by_entity(found)

    def find_now(self, text: str) -> Mapping[str, Sequence[Span]]:
        """Like `find`, for a function that is not async."""
        found = [(at, self.pool.submit(self._analyse, window).result()) for at, window in windows(text)]
        return spans_by_entity(found)

    def _analyse(self, window: str) -> list[Match]:
        return list(self.analyse(SURROGATES.sub("\ufffd", window)))


def windows(text: str) -> Iterator[tuple[int, str]]:
    """The windows of a text, and where they begin. A text of spaces has none."""
    if not text.strip():
        return
    for at in range(0, max(1, len(text) - OVERLAP), WINDOW - OVERLAP):
        yield at, text[at : at + WINDOW]


def spans_by_entity(found: Iterable[tuple[int, Iterable[Match]]]) -> dict[str, list[Span]]:
    """The matches of windows as spans of the text, from left to right. Overlapping ones of an entity are one span."""
    spans: dict[str, list[Span]] = {}
    matches = (Match(at + start, at + end, entity) for at, window in found for start, end, entity in window)
    for start, end, entity in sorted(matches):
        known = spans.setdefault(entity, [])
        if known and start < known[-1][1]:
            known[-1] = (known[-1][0], max(end, known[-1][1]))
        else:
            known.append((start, end))
    return spans


# ------------------------------------------------------------------ Presidio


class Analyzers:
    """Presidio's analyzers in a process, one for each language and model, made for the first attachment that has them.

    They share a thread: they compute all the time, and spaCy's pipelines are not made for several.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "presidio")
        self._analyzers: dict[tuple[str, str], Analyzer] = {}
        self._making = threading.Lock()

    def finder(self, params: Mapping[str, Any]) -> Finder:
        """The finder of an attachment. ValueError: Presidio is not there, or cannot find what the parameters name."""
        language, model = params["language"], params.get("model", "")
        with self._making:
            if (language, model) not in self._analyzers:
                self._analyzers[language, model] = Analyzer(language, model)
        analyzer = self._analyzers[language, model]
        entities, min_score = list(params["entities"]), params["minScore"]
        refuse_unknown(entities, analyzer.entities, language, model)
        return Finder(lambda text: analyzer.analyse(text, entities, min_score), self._pool)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def refuse_unknown(entities: Iterable[str], known: Iterable[str], language: str, model: str) -> None:
    """ValueError: an entity is not among the known ones."""
    usable = sorted({*known} - {*QUADRATIC})
    for entity in entities:
        if entity in QUADRATIC:
            raise ValueError(f"presidio.entities: expected others than {entity}, since it {QUADRATIC[entity]}")
        if entity not in usable:
            by = f"the model {model}" if model else "no model; names and places need one, see presidio.model"
            raise ValueError(
                f"presidio.entities: expected some of {', '.join(usable)}, which Presidio finds in the language "
                f"{language} with {by}; got {entity}"
            )


class Analyzer:
    """An analyzer of one language. model: the package of a pipeline of spaCy; "": patterns and words around them."""

    def __init__(self, language: str, model: str) -> None:
        presidio = import_optional("presidio_analyzer", REQUIREMENT)
        engines = import_module("presidio_analyzer.nlp_engine")
        _search_no_suffixes_online()
        self._language, self._pipeline = language, load_pipeline(language, model)
        nlp_engine = engines.SpacyNlpEngine([{"lang_code": language, "model_name": model or "blank"}])
        nlp_engine.nlp = {language: self._pipeline}
        registry = presidio.RecognizerRegistry(supported_languages=[language])
        registry.load_predefined_recognizers(languages=[language], nlp_engine=nlp_engine)
        registry.remove_recognizer("SpacyRecognizer")
        self._engine = presidio.AnalyzerEngine(registry, nlp_engine, supported_languages=[language])
        self.entities = {*self._engine.get_supported_entities(language)}
        if labels := [label for names in self._pipeline.pipe_labels.values() for label in names]:
            registry.add_nlp_recognizer(nlp_engine)
            names = nlp_engine.ner_model_configuration.model_to_presidio_entity_mapping
            self.entities |= {names[label] for label in labels if label in names}
        self.analyse(WARM_UP, sorted(self.entities), 0)  # compiles its patterns

    def analyse(self, text: str, entities: list[str], min_score: float) -> list[Match]:
        """What is found with at least this score. Nothing of the text stays in spaCy's table of strings."""
        with self._pipeline.memory_zone():
            results = self._engine.analyze(text, self._language, entities, score_threshold=min_score)
            return [Match(result.start, result.end, result.entity_type) for result in results]


def load_pipeline(language: str, model: str) -> Any:
    """The pipeline of spaCy. ValueError: there is none of that name, or of that language."""
    spacy = import_module("spacy")
    try:
        pipeline = spacy.load(model, exclude=["parser"]) if model else spacy.blank(language)
    except ImportError:
        raise ValueError(f"presidio.language: expected a language that spaCy knows, got {language}") from None
    except OSError:
        name = model.replace("_", "-")
        raise ValueError(
            f"presidio.model: expected the package of a spaCy pipeline in the environment of the policy's group, got "
            f"{model}, which is not there; add {name} to requirements beside pii-mask in build.yaml"
        ) from None
    if pipeline.lang not in {language, "xx"}:
        raise ValueError(f"presidio.model: expected one of the language {language}, got {model} ({pipeline.lang})")
    if "lemmatizer" not in pipeline.pipe_names:
        spacy.Language.component(LEMMAS, func=_lower_lemmas)
        pipeline.add_pipe(LEMMAS)
    return pipeline


def _lower_lemmas(document: Any) -> Any:
    """Presidio compares words around a value by their lemmas, which a blank pipeline does not have."""
    for token in document:
        token.lemma_ = token.lower_
    return document


def _search_no_suffixes_online() -> None:
    """Has tldextract use the suffixes of domains in its package, where it would ask for the newest over the network."""
    tldextract: Any = import_module("tldextract.tldextract")
    tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())


def import_optional(module: str, requirement: str) -> Any:
    """The module. ValueError: its package is not in the environment, with the cure."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"presidio: expected the package of {module} in the environment of the policy's group, got none "
            f'({error.name} is missing); write group: presidio and requirements: ["{requirement}"] beside pii-mask in '
            "build.yaml"
        ) from None
