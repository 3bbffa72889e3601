"""A store compared with dictionaries, over random sequences of writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from gatewright_controller.model import Api, to_document
from gatewright_controller.store import (
    API,
    ApiExistsError,
    Author,
    ContextTakenError,
    NoSuchApiError,
    OtherOwnerError,
    Store,
    Terms,
    open_store,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from .apis import api

NAMES = st.sampled_from(["a", "b", "c"])
CONTEXTS = st.sampled_from(["/x", "/y", "/z"])
HOSTS = st.lists(st.sampled_from(["a.example", "b.example", "*.example"]), max_size=2, unique=True)
LISTENERS = st.lists(st.sampled_from(["inside", "outside"]), max_size=2, unique=True)
TERMS = st.builds(
    Terms,
    author=st.builds(Author, actor=st.sampled_from(["local", "token"]), reason=st.sampled_from(["", "because"])),
    owner=st.sampled_from(["", "", "team-a", "team-b"]),
    take_over=st.booleans(),
)


def claims(claimant: Api) -> set[tuple[str, str, str]]:
    spec = claimant.spec
    return {(host, spec.context, listener) for host in spec.hosts or ["*"] for listener in spec.listeners or [""]}


def clash(first: Api, second: Api) -> bool:
    """An API that names no listener may be on any."""
    both = [{*made.spec.hosts} or {"*"} for made in (first, second)]
    on_listeners = {*first.spec.listeners} & {*second.spec.listeners} or not (
        first.spec.listeners and second.spec.listeners
    )
    return first.spec.context == second.spec.context and bool(both[0] & both[1]) and bool(on_listeners)


@dataclass(frozen=True)
class Past:
    """What the history of an API is to have of one write. api: None where it was gone then."""

    revision: int
    action: str
    owner: str
    author: Author
    api: Api | None


class StoreMachine(RuleBasedStateMachine):
    """Acknowledged writes are there, refused ones changed nothing, revisions grow, and the history has each change."""

    new_database: Callable[[], str] = staticmethod(lambda: "sqlite::memory:")

    @initialize()
    def open(self) -> None:
        self.store: Store = open_store(self.new_database())
        self.model: dict[str, Api] = {}
        self.owners: dict[str, str] = {}
        self.past: dict[str, list[Past]] = {}
        self.revision = 0

    @rule(name=NAMES, context=CONTEXTS, hosts=HOSTS, listeners=LISTENERS, terms=TERMS)
    def create(self, name: str, context: str, hosts: list[str], listeners: list[str], terms: Terms) -> None:
        written = api(name, context, hosts, listeners)
        if name in self.model:
            with pytest.raises(ApiExistsError):
                self.store.create(written, (), terms)
        elif holder := self.holder(written):
            with pytest.raises(ContextTakenError, match=f"{context} on .* is {holder}'s"):
                self.store.create(written, (), terms)
        else:
            self.written(self.store.create(written, (), terms).revision, written, "created", terms)

    @rule(name=NAMES, context=CONTEXTS, hosts=HOSTS, listeners=LISTENERS, terms=TERMS)
    def replace(self, name: str, context: str, hosts: list[str], listeners: list[str], terms: Terms) -> None:
        written = api(name, context, hosts, listeners)
        if name not in self.model:
            with pytest.raises(NoSuchApiError):
                self.store.replace(written, (), terms)
        elif self.is_refused(name, terms):
            with pytest.raises(OtherOwnerError, match=f"is owned by {self.owners[name]}"):
                self.store.replace(written, (), terms)
        elif self.holder(written):
            with pytest.raises(ContextTakenError):
                self.store.replace(written, (), terms)
        elif not self.changes(written, terms):
            before = self.store.get(name)
            assert self.store.replace(written, (), terms) == before
        else:
            self.written(self.store.replace(written, (), terms).revision, written, "changed", terms)

    @rule(writes=st.dictionaries(NAMES, st.tuples(CONTEXTS, HOSTS), min_size=1), terms=TERMS)
    def write_all(self, writes: dict[str, tuple[str, list[str]]], terms: Terms) -> None:
        """One revision for all that changes; a context may pass from one of them to another."""
        apis = {name: api(name, context, hosts) for name, (context, hosts) in writes.items()}
        whole = [(written, ()) for written in apis.values()]
        if any(self.is_refused(name, terms) for name in apis):
            with pytest.raises(OtherOwnerError):
                self.store.write_all(whole, terms)
            return
        claimed = [claim for api in (self.model | apis).values() for claim in claims(api)]
        if len(set(claimed)) < len(claimed):
            with pytest.raises(ContextTakenError):
                self.store.write_all(whole, terms)
            return
        before = {stored.name: stored for stored in self.store.list()}
        changed = [written for written in apis.values() if self.changes(written, terms)]
        for stored in self.store.write_all(whole, terms):
            if stored.api in changed:
                assert stored.revision == self.revision + 1
                assert stored.name not in before or stored.created_at == before[stored.name].created_at
            else:
                assert stored == before[stored.name]
        self.revision += bool(changed)
        for written in changed:
            self.noted(written, "changed" if written.metadata.name in before else "created", terms)

    @rule(name=NAMES, new=NAMES, terms=TERMS)
    def rename(self, name: str, new: str, terms: Terms) -> None:
        if name == new or name not in self.model:
            return
        renamed = api(new, self.model[name].spec.context)
        if self.is_refused(name, terms):
            with pytest.raises(OtherOwnerError):
                self.store.rename(name, renamed, (), terms)
        elif new in self.model:
            with pytest.raises(ApiExistsError):
                self.store.rename(name, renamed, (), terms)
        elif self.holder(renamed, beside=name):
            with pytest.raises(ContextTakenError):
                self.store.rename(name, renamed, (), terms)
        else:
            created_at, owner = self.store.get(name).created_at, self.owners[name]
            stored = self.store.rename(name, renamed, (), terms)
            assert stored.created_at == created_at
            self.revision += 1
            self.gone(name, "renamed", terms)
            self.owners[new] = owner
            self.noted(renamed, "renamed", terms)
            assert self.store.history(API, name)[0].successor == f"{new}@{self.revision}"
            assert self.store.history(API, new)[0].source.startswith(f"{name}@")

    @rule(name=NAMES, which=st.integers(0, 50), terms=TERMS)
    def roll_back(self, name: str, which: int, terms: Terms) -> None:
        entries = [entry for entry in self.past.get(name, ()) if entry.api]
        if not entries:
            return
        target = entries[which % len(entries)]
        assert target.api is not None
        past = self.store.at(API, name, target.revision)
        if self.is_refused(name, terms):
            with pytest.raises(OtherOwnerError):
                self.store.roll_back(past, target.api, (), terms)
        elif name in self.model and not self.changes(target.api, terms):
            assert self.store.roll_back(past, target.api, (), terms) == self.store.get(name)
        elif self.holder(target.api):
            with pytest.raises(ContextTakenError):
                self.store.roll_back(past, target.api, (), terms)
        else:
            self.owners.setdefault(name, target.owner)
            self.written(self.store.roll_back(past, target.api, (), terms).revision, target.api, "rolledBack", terms)
            assert self.store.history(API, name)[0].source == f"{name}@{target.revision}"

    @rule(name=NAMES, terms=TERMS)
    def delete(self, name: str, terms: Terms) -> None:
        if name not in self.model:
            with pytest.raises(NoSuchApiError):
                self.store.delete(name, terms)
        elif self.is_refused(name, terms):
            with pytest.raises(OtherOwnerError):
                self.store.delete(name, terms)
        else:
            self.revision += 1
            assert self.store.delete(name, terms) == self.revision
            self.gone(name, "deleted", terms)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        stored = self.store.list()
        assert [kept.api for kept in stored] == [self.model[name] for name in sorted(self.model)]
        assert {kept.name: kept.owner for kept in stored} == self.owners
        claimed = [(claim, name) for name, owner_api in self.model.items() for claim in claims(owner_api)]
        assert self.store.claims() == dict(claimed)
        assert len(self.store.claims()) == len(claimed)
        assert self.store.revision == self.revision

    @invariant()
    def history_agrees(self) -> None:
        for name, entries in getattr(self, "past", {}).items():
            found = [
                Past(entry.revision, entry.action, entry.owner, entry.author, None)
                for entry in self.store.history(API, name)
            ]
            assert found == [Past(e.revision, e.action, e.owner, e.author, None) for e in reversed(entries)]
            newest = self.store.at(API, name, 0)
            assert newest.document == (to_document(entries[-1].api) if entries[-1].api else None)

    def holder(self, written: Api, beside: str = "") -> str | None:
        """A pattern of the names of the APIs that have one of its claims."""
        others = [name for name, _ in self.model.items() if name not in (written.metadata.name, beside)]
        found = [name for name in others if clash(written, self.model[name])]
        return f"({'|'.join(found)})" if found else None

    def is_refused(self, name: str, terms: Terms) -> bool:
        owner = self.owners.get(name, "")
        return bool(owner and terms.owner and owner != terms.owner and not terms.take_over)

    def changes(self, written: Api, terms: Terms) -> bool:
        name = written.metadata.name
        return self.model.get(name) != written or bool(terms.owner and self.owners[name] != terms.owner)

    def written(self, revision: int, written: Api, action: str, terms: Terms) -> None:
        self.revision += 1
        assert revision == self.revision
        self.noted(written, action, terms)

    def noted(self, written: Api, action: str, terms: Terms) -> None:
        name = written.metadata.name
        self.model[name] = written
        self.owners[name] = terms.owner or self.owners.get(name, "")
        entry = Past(self.revision, action, self.owners[name], terms.author, written)
        self.past.setdefault(name, []).append(entry)

    def gone(self, name: str, action: str, terms: Terms) -> None:
        del self.model[name]
        owner = self.owners.pop(name)
        self.past[name].append(Past(self.revision, action, owner, terms.author, None))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()


class PostgresqlMachine(StoreMachine):
    """The same in PostgreSQL."""


StoreMachine.TestCase.settings = settings(max_examples=30, deadline=None)
PostgresqlMachine.TestCase.settings = settings(max_examples=8, deadline=None)
TestStore = StoreMachine.TestCase


class TestPostgresqlStore(PostgresqlMachine.TestCase):  # type: ignore[misc, valid-type]
    @pytest.fixture(autouse=True)
    def _with_databases(self, new_postgresql: Callable[[], str]) -> None:
        PostgresqlMachine.new_database = staticmethod(new_postgresql)
