"""What a signed state has, for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from gatewright_controller._gen import node_pb2
from gatewright_controller.resource.node_labels import labels_text
from gatewright_controller.signed_state import Authority, Head, SignedStateError, authority, read_head, verify
from gatewright_documents.mistake import Invalid
from google.protobuf.message import DecodeError

from gatewright_cli.mistakes import PreflightError

UNCHECKED = "not checked: name the public key with --authority"


def describe_state(file: Path, authority_file: Path | None) -> list[str]:
    """Raises PreflightError."""
    try:
        document = file.read_bytes()
        keys = authority(authority_file) if authority_file else None
        head, update = verify(document, keys or _trusting(document))
        content = node_pb2.Update.FromString(update)
    except OSError as error:
        raise PreflightError([f"{file}: {error.strerror}"]) from None
    except Invalid as invalid:
        raise PreflightError([str(mistake) for mistake in invalid.mistakes]) from None
    except SignedStateError as error:
        raise PreflightError([f"{file}: {error}"]) from None
    except DecodeError:
        raise PreflightError([f"{file}: expected a serialized Update, got other bytes: export it anew"]) from None
    return [*_lines(head, content, is_checked=keys is not None)]


def _trusting(document: bytes) -> Authority:
    """For a state whose signature is not checked: only its bytes are held against its head."""
    return Authority({read_head(document).key: lambda _text, _signature: True})


def _lines(head: Head, content: node_pb2.Update, is_checked: bool) -> Iterator[str]:
    yield f"revision    {head.revision}"
    yield f"made        {head.made}, {_age(head.made)} ago"
    yield f"controller  {head.controller}"
    yield f"for nodes   {_nodes(head)}"
    yield f"signature   of the key {head.key}, {'checked' if is_checked else UNCHECKED}"
    gateway = content.gateway.digest[:12] if content.HasField("gateway") else "none: nodes listen by their own"
    yield f"gateway     {gateway}"
    yield f"consumers   {sum(len(shard.consumers) for shard in content.consumers.shards)}"
    yield f"APIs        {len(content.bundles)}"
    for bundle in content.bundles:
        reason = f"  not served: {bundle.unserved}" if bundle.unserved else ""
        labels = sorted(content.nodes[bundle.api].labels.items()) if bundle.api in content.nodes else []
        nodes = f"  for nodes with {' '.join(f'{key}={value}' for key, value in labels)}" if labels else ""
        yield f"  {bundle.api}  {bundle.version}  {bundle.context}{nodes}{reason}"


def _nodes(head: Head) -> str:
    if head.labels is None:
        return "with any labels"
    return f"with {labels_text(head.labels)}" if head.labels else "without labels"


def _age(made: str) -> str:
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(made)).total_seconds()
    except ValueError:
        return "an unknown time"
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
