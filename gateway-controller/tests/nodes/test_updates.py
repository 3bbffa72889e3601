from __future__ import annotations

import pytest
from gatewright_controller._gen import node_pb2
from gatewright_controller.nodes.updates import SHARED_BYTES, SharedMessages, Step
from gatewright_controller.translate import Bundle
from hypothesis import given
from hypothesis import strategies as st


def bundle(api: str, size: int = 0) -> Bundle:
    return Bundle.of(node_pb2.ApiBundle(api=api, digest=f"digest of {api}", context=f"/{api}", routes=[b"x" * size]))


SECRET = node_pb2.SecretValues(name="key", version="1", values={"value": "s3cret"})


@given(
    revision=st.integers(0, 2**64 - 1),
    bundles=st.lists(st.builds(bundle, st.text(max_size=5), st.sampled_from([0, 1, 127, 128, 20_000])), max_size=4),
    removed=st.lists(st.text(max_size=5), max_size=3),
    gateway=st.sampled_from([None, node_pb2.Gateway(digest="g", listeners=[b"listener"])]),
    secrets=st.sampled_from([(), (SECRET,)]),
)
def test_what_is_sent_is_the_message(
    revision: int,
    bundles: list[Bundle],
    removed: list[str],
    gateway: node_pb2.Gateway | None,
    secrets: tuple[node_pb2.SecretValues, ...],
) -> None:
    step = Step(revision, tuple(bundles), tuple(removed), gateway, secrets)
    received = node_pb2.ControllerMessage.FromString(step.encoded())
    assert received == node_pb2.ControllerMessage(update=step.message)
    assert received.HasField("update")
    assert [api_bundle.api for api_bundle in received.update.bundles] == [sent.api for sent in bundles]


def test_nodes_that_lack_the_same_share_a_message() -> None:
    shared = SharedMessages()
    first = shared.of(Step(1, (bundle("a"), bundle("b"))))
    assert shared.of(Step(1, (bundle("a"), bundle("b")))) is first
    others = [
        Step(2, (bundle("a"), bundle("b"))),
        Step(1, (bundle("a"),)),
        Step(1, (bundle("a"), bundle("b")), ("c",)),
        Step(1, (bundle("a"), bundle("b")), gateway=node_pb2.Gateway(digest="g")),
    ]
    for step in others:
        assert shared.of(step) == step.encoded()
        assert shared.of(step) is not first


def test_values_of_secrets_are_kept_for_no_other_node() -> None:
    shared = SharedMessages()
    with_secret, without = Step(1, (bundle("a"),), secrets=(SECRET,)), Step(1, (bundle("a"),))
    assert shared.of(with_secret) == with_secret.encoded()
    assert shared.of(without) == without.encoded()
    assert shared.of(with_secret) is not shared.of(with_secret)


@pytest.mark.parametrize("size", [SHARED_BYTES // 3, 2 * SHARED_BYTES], ids=["several-fit", "none-fits"])
def test_the_messages_that_are_kept_are_bounded(size: int) -> None:
    shared = SharedMessages()
    steps = [Step(revision, (bundle("a", size),)) for revision in range(4)]
    messages = [shared.of(step) for step in steps]
    assert shared.of(steps[-1]) is messages[-1]
    assert shared.of(steps[0]) is not messages[0]
