"""Maps the paths in an upstream's answers to those of the API: by a filter of the cluster, which sees what the upstream
has answered before any policy does, and none of the gateway's own answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import cast

import msgspec
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from gatewright_controller._gen import envoy_names
from gatewright_controller.translate.envoy.common import EnvoyMessage, packed_any


class UpstreamPaths(msgspec.Struct, frozen=True):
    """Where an API's paths are at the gateway and at its upstream, "" being the root, and the upstream's authority."""

    context: str
    base: str
    authority: str


@cache
def _source() -> str:
    return Path(__file__).with_suffix(".lua").read_text("utf-8")


def upstream_filters() -> Iterator[EnvoyMessage]:
    """Those of a cluster; the last one sends the request."""
    mapping = lua_pb2.Lua()
    mapping.default_source_code.inline_string = _source()
    named = {
        envoy_names.UPSTREAM_PATHS_FILTER: mapping,
        "envoy.filters.http.upstream_codec": upstream_codec_pb2.UpstreamCodec(),
    }
    for name, settings in named.items():
        made = http_connection_manager_pb2.HttpFilter(name=name)
        made.typed_config.CopyFrom(packed_any(cast("EnvoyMessage", settings)))
        yield cast("EnvoyMessage", made)
