BEGIN TRANSACTION;
CREATE TABLE apis (
    name TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    versions TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "apis" VALUES('billing','{"apiVersion":"gatewright.dev/v1","kind":"Api","metadata":{"name":"billing"},"spec":{"version":"v1","context":"/billing","hosts":["a.example","*.example"],"listeners":["inside","outside"],"upstream":{"main":{"url":"http://orders"}},"policies":[{"name":"set-headers","version":"v1","params":{"text":"it''s ä \u0000"}}],"operations":[{"method":"GET","path":"/{id}"}]}}',3,'2026-11-30T18:50:02.981Z','2026-11-30T18:50:02.981Z','["v1.3.0"]');
INSERT INTO "apis" VALUES('orders','{"apiVersion":"gatewright.dev/v1","kind":"Api","metadata":{"name":"orders"},"spec":{"version":"v1","context":"/orders/$version","hosts":["b.example"],"upstream":{"main":{"url":"http://orders"}},"operations":[{"method":"GET","path":"/{id}"}]}}',4,'2026-11-30T18:50:02.979Z','2026-11-30T18:50:02.981Z','[]');
CREATE TABLE claims (
    host TEXT NOT NULL,
    context TEXT NOT NULL,
    listener TEXT NOT NULL,
    api TEXT NOT NULL,
    PRIMARY KEY (host, context, listener)
) WITHOUT ROWID
;
INSERT INTO "claims" VALUES('*.example','/billing','inside','billing');
INSERT INTO "claims" VALUES('*.example','/billing','outside','billing');
INSERT INTO "claims" VALUES('a.example','/billing','inside','billing');
INSERT INTO "claims" VALUES('a.example','/billing','outside','billing');
INSERT INTO "claims" VALUES('b.example','/orders/v1','','orders');
CREATE TABLE gateway (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    document TEXT NOT NULL,
    revision INTEGER NOT NULL,
    updated_at TEXT NOT NULL
);
INSERT INTO "gateway" VALUES(1,'{"apiVersion":"gatewright.dev/v1","kind":"Gateway","metadata":{"name":"gateway"},"spec":{"listeners":[{"name":"http","port":8080}]}}',5,'2026-11-30T18:50:02.982Z');
CREATE TABLE revision (value INTEGER NOT NULL);
INSERT INTO "revision" VALUES(6);
CREATE INDEX claims_of ON claims (api);
COMMIT;
PRAGMA user_version = 5;
