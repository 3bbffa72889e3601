"""Converts decK files, the declarative configuration of Kong, to `Api`, `Consumer` and `Plan` resources.

source          bytes → document with lines, placeholders filled in; its fields, read one by one
report          what became of each field
deck            entities and their references
templates       paths of routes → templates of segments
ways            routes → ways: a path on a host, in the order of Kong's router
router          ways → contexts and operations
pools, health   services and upstreams → pools
consumers       consumers → Consumers with labels, and keys
credentials     their credentials → keys, secrets, parameters, conditions
names           texts → names of resources
attachments     what converters of plugins share
authentication, traffic, transformers    plugins → attachments
counterparts    the list of plugins
plans           limits of consumers and groups → Plans
chains          plugins of a route, in order, one instance of each
operations      contexts and operations → documents
importing       combines these, and validates the result as the controller does
"""

from gatewright_cli.kong.counterparts import COUNTERPARTS, OBSERVERS
from gatewright_cli.kong.importing import Imported, import_kong
from gatewright_cli.kong.report import Entry, count_outcomes, report_document, report_text
from gatewright_cli.kong.source import MAX_BYTES, is_deck_file

__all__ = [
    "COUNTERPARTS",
    "MAX_BYTES",
    "OBSERVERS",
    "Entry",
    "Imported",
    "count_outcomes",
    "import_kong",
    "is_deck_file",
    "report_document",
    "report_text",
]
