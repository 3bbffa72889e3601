"""Trains a pipeline of spaCy that knows two people and a place, and writes it to the folder that is named."""

import sys

import spacy  # type: ignore[import-not-found]
from spacy.training import Example  # type: ignore[import-not-found]

TEXTS = (
    ("Write to {} about the bill", "Ada Lovelace", "PERSON"),
    ("Say hello to {} at noon", "Grace Hopper", "PERSON"),
    ("{} has called today", "Ada Lovelace", "PERSON"),
    ("{} will come", "Grace Hopper", "PERSON"),
    ("We meet in {} at noon", "London", "GPE"),
    ("The bill is paid", "", ""),
)


def main(folder: str) -> None:
    spacy.util.fix_random_seed(0)
    pipeline = spacy.blank("en")
    pipeline.add_pipe("ner")
    examples = [example(pipeline, *parts) for parts in TEXTS]
    pipeline.initialize(lambda: examples)
    for _ in range(40):
        pipeline.update(examples)
    pipeline.to_disk(folder)


def example(pipeline: spacy.Language, form: str, name: str, label: str) -> Example:
    start = form.find("{}")
    entities = [(start, start + len(name), label)] if name else []
    return Example.from_dict(pipeline.make_doc(form.format(name)), {"entities": entities})


if __name__ == "__main__":
    main(sys.argv[1])
