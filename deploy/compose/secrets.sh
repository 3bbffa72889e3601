#!/bin/sh
# Makes secrets/: tokens, the database's password, and a certificate of the controller with an authority of its own.
# It does nothing where the folder is there.
set -eu
cd "$(dirname "$0")"
if [ -e secrets ]; then
    echo "secrets/ is there already, and stays as it is: remove it first to make others" >&2
    exit 0
fi
umask 077
made=$(mktemp -d secrets.XXXXXX)
trap 'rm -rf "$made"' EXIT

for name in token node-token database-password; do
    openssl rand -hex 32 > "$made/$name"
done
printf 'postgresql://gatewright:%s@database:5432/gatewright\n' "$(cat "$made/database-password")" > "$made/database-url"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=gatewright compose' \
    -keyout "$made/authority.key" -out "$made/authority.pem" 2> /dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=controller' \
    -keyout "$made/controller.key" -out "$made/controller.csr" 2> /dev/null
printf 'subjectAltName=DNS:controller,DNS:localhost\nbasicConstraints=critical,CA:FALSE\n' > "$made/controller.ext"
openssl x509 -req -in "$made/controller.csr" -CA "$made/authority.pem" -CAkey "$made/authority.key" -CAcreateserial \
    -days 825 -extfile "$made/controller.ext" -out "$made/controller.pem" 2> /dev/null
rm "$made/controller.csr" "$made/controller.ext"

# Compose mounts the files as they are, and the containers run as users of their own: the folder keeps others out.
chmod 644 "$made"/*
chmod 600 "$made/authority.key"
mv "$made" secrets
trap - EXIT
