"""The format of a signed state. conformance/signed-state has one that the engine reads, too."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatewright_controller._gen import node_pb2
from gatewright_controller.signed_state import (
    MAGIC,
    Authority,
    SignedStateError,
    SigningKey,
    authority,
    make_key,
    read_head,
    sign,
    signing_key,
    verify,
)
from gatewright_controller.signed_state.document import key_id
from gatewright_documents.mistake import Invalid

GOLDEN = Path(__file__).parents[3] / "conformance" / "signed-state"
UPDATE = node_pb2.Update(
    revision=7,
    bundles=[
        node_pb2.ApiBundle(api="orders", digest="1", context="/orders/v1.0", version="v1.0"),
        node_pb2.ApiBundle(api="unserved", digest="2", context="/unserved", unserved="no upstream"),
    ],
    gateway=node_pb2.Gateway(digest="3"),
)
CONTENT = UPDATE.SerializeToString(deterministic=True)


def golden_document() -> bytes:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    key = SigningKey(key_id(private.public_key().public_bytes_raw()), private.sign)
    labels = {"zone": "eu", "tier": "edge"}
    return sign(CONTENT, controller="gateway-1", made="2026-12-01T04:00:00.000Z", revision=7, labels=labels, key=key)


@pytest.fixture
def known() -> Authority:
    return authority(GOLDEN / "public.pem")


def test_the_golden_state_is_what_is_written(request: pytest.FixtureRequest, known: Authority) -> None:
    document = golden_document()
    if request.config.getoption("--update"):
        (GOLDEN / "state").write_bytes(document)
    assert document == (GOLDEN / "state").read_bytes(), "a change of the format takes another first line"
    head, update = verify(document, known)
    assert (head.controller, head.made, head.revision) == ("gateway-1", "2026-12-01T04:00:00.000Z", 7)
    assert head.labels == {"tier": "edge", "zone": "eu"}
    assert update == CONTENT


def test_every_changed_bit_is_refused(known: Authority) -> None:
    document = golden_document()
    for at in range(len(document)):
        for bit in range(8):
            changed = bytearray(document)
            changed[at] ^= 1 << bit
            with pytest.raises(SignedStateError):
                verify(bytes(changed), known)


def test_spoilt_states_are_refused(known: Authority) -> None:
    document, draw = golden_document(), random.Random(30)  # noqa: S311 - no secret
    for _ in range(2000):
        begin, end = sorted(draw.randrange(len(document) + 1) for _ in range(2))
        spoilt = document[:begin] + draw.randbytes(draw.choice((0, 1, end - begin))) + document[end:]
        if spoilt != document:
            with pytest.raises(SignedStateError):
                verify(spoilt, known)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (b"", "expected a file whose first line is 'gatewright-signed-state 1', got another"),
        (b"gatewright-signed-state 2\n{}\n", "expected a file whose first line is"),
        (MAGIC + b"{}", "expected a head and a signature"),
        (MAGIC + b"{}\n" + b"0" * 128 + b"\n", "expected a head in JSON"),
        (golden_document()[:-1], r"expected \d+ bytes of state, got \d+: it is cut short; fetch it again"),
        (golden_document() + b"x", "it is longer"),
        (golden_document()[:-1] + b"x", "got damaged bytes"),
        (golden_document().replace(b'"revision":7', b'"revision":8'), "expected a signature of the key"),
    ],
)
def test_what_is_wrong_is_said(document: bytes, sentence: str, known: Authority) -> None:
    with pytest.raises(SignedStateError, match=sentence):
        verify(document, known)


def test_only_named_keys_count(tmp_path: Path) -> None:
    made = make_key(tmp_path / "key.pem", tmp_path / "key.pub.pem")
    other = authority(tmp_path / "key.pub.pem")
    ours = read_head(golden_document()).key
    with pytest.raises(SignedStateError, match=f"signed by the key {made}, got one by the key {ours}: name the public"):
        verify(golden_document(), other)
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "key.pub.pem").read_bytes() + (GOLDEN / "public.pem").read_bytes())
    assert verify(golden_document(), authority(both))[0].revision == 7, "while one key takes another's place"


def test_a_pair_is_made_once_and_its_private_key_is_the_owners_alone(tmp_path: Path) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    name = make_key(private, public)
    assert (private.stat().st_mode & 0o777, public.stat().st_mode & 0o777) == (0o600, 0o644)
    assert (signing_key(private).id, list(authority(public).verifiers)) == (name, [name])
    before = private.read_bytes()
    with pytest.raises(Invalid, match="expected no file there, got one"):
        make_key(private, public)
    assert private.read_bytes() == before
    private.unlink()
    with pytest.raises(Invalid, match=r"key\.pub\.pem: expected no file there"):
        make_key(private, public)
    assert not private.exists(), "no half of a pair"


def test_other_files_are_no_keys(tmp_path: Path) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    make_key(private, public)
    with pytest.raises(
        Invalid, match="expected a private Ed25519 key in PEM, without a passphrase, got another content"
    ):
        signing_key(public)
    with pytest.raises(Invalid, match="expected one or more public Ed25519 keys in PEM"):
        authority(private)
    with pytest.raises(Invalid, match=r"none\.pem: expected a file that can be read, got: No such file"):
        signing_key(tmp_path / "none.pem")
