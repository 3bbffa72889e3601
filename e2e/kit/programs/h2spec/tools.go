//go:build tools

// Package h2spec names the HTTP/2 conformance test that check_h2spec.py builds, so that its versions are held.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
