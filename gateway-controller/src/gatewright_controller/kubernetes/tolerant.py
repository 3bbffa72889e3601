"""Translation that survives an object which it fails for: that object stays what it was, and the others go on. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from gatewright_documents.values import JsonObject
from msgspec.structs import replace

from gatewright_controller.gateway_api import Key, Objects, Translation

log = logging.getLogger(__name__)
Translate = Callable[[Objects], Translation]


class TolerantTranslation:
    """failing: the objects whose newest versions could not be translated."""

    def __init__(self, translate: Translate) -> None:
        self._translate = translate
        self._good: Mapping[Key, JsonObject] = {}
        self.failing: Sequence[Key] = ()

    def translate(self, objects: Objects) -> Translation:
        """Raises what translation raises where it fails for no object at all."""
        try:
            translation = self._translate(objects)
        except Exception:
            log.exception(
                "the translation of Gateway API has failed; it is tried without the objects that it fails for"
            )
            return self._translate_others(objects)
        self._good, self.failing = objects.by_key, ()
        return translation

    def _translate_others(self, objects: Objects) -> Translation:
        good, failing = dict(self._good), list[Key]()
        newest = objects.by_key
        changed = [key for key in {**self._good, **newest} if self._good.get(key) is not newest.get(key)]
        self._take(good, failing, changed, objects)
        self._good, self.failing = good, failing
        log.error("objects of Kubernetes are not translated", extra={"objects": ["/".join(key) for key in failing]})
        return self._translate(replace(objects, by_key=good))

    def _take(self, good: dict[Key, JsonObject], failing: list[Key], keys: Sequence[Key], objects: Objects) -> None:
        """Puts into `good` what can be translated of these keys, by halves."""
        tried = {key: found for key, found in good.items() if key not in keys}
        tried |= {key: objects.by_key[key] for key in keys if key in objects.by_key}
        try:
            self._translate(replace(objects, by_key=tried))
        except Exception:  # the first translation of all of them has logged it
            if len(keys) <= 1:
                failing += keys
                return
            half = len(keys) // 2
            self._take(good, failing, keys[:half], objects)
            self._take(good, failing, keys[half:], objects)
            return
        good.clear()
        good.update(tried)
