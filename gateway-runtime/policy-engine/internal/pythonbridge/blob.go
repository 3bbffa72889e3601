package pythonbridge

import (
	"bytes"
	"strings"

	"gatewright.dev/sdk/policy/v1alpha"
)

// A header blob is name NUL value NUL name NUL value NUL (python_executor.proto).

// textBuilder puts all text of one execution into one allocation.
type textBuilder struct{ buffer []byte }

// newTextBuilder makes a builder with room for that many bytes; more text is allowed, and costs another allocation.
func newTextBuilder(room int) *textBuilder { return &textBuilder{buffer: make([]byte, 0, room)} }

func (b *textBuilder) text(value string) []byte {
	start := len(b.buffer)
	b.buffer = append(b.buffer, value...)
	return b.since(start)
}

// body copies the value, since the caller may change its own once the hook has returned. Nil stays nil, empty stays
// empty.
func (b *textBuilder) body(value []byte) []byte {
	if value == nil {
		return nil
	}
	start := len(b.buffer)
	b.buffer = append(b.buffer, value...)
	return b.since(start)
}

func (b *textBuilder) headers(list v1alpha.Headers) ([]byte, error) {
	start := len(b.buffer)
	for i := range list {
		if strings.IndexByte(list[i].Name, 0) >= 0 || strings.IndexByte(list[i].Value, 0) >= 0 {
			return nil, v1alpha.Failf(v1alpha.ClassBadAction, "expected headers without NUL, got one in header %q", list[i].Name)
		}
		b.buffer = append(append(b.buffer, list[i].Name...), 0)
		b.buffer = append(append(b.buffer, list[i].Value...), 0)
	}
	return b.since(start), nil
}

// pathParams are written like headers. They are percent-encoded, as in the path, and so have no NUL.
func (b *textBuilder) pathParams(params v1alpha.PathParams) []byte {
	if len(params) == 0 {
		return nil
	}
	start := len(b.buffer)
	for n := range params {
		b.buffer = append(append(b.buffer, params[n].Name...), 0)
		b.buffer = append(append(b.buffer, params[n].Encoded...), 0)
	}
	return b.since(start)
}

func pathParamsSize(params v1alpha.PathParams) int {
	room := 2 * len(params)
	for n := range params {
		room += len(params[n].Name) + len(params[n].Encoded)
	}
	return room
}

func (b *textBuilder) since(start int) []byte { return b.buffer[start:len(b.buffer):len(b.buffer)] }

func headersSize(list v1alpha.Headers) int {
	room := 2 * len(list)
	for i := range list {
		room += len(list[i].Name) + len(list[i].Value)
	}
	return room
}

// headerList reads a header blob. An empty blob has no headers.
func headerList(field string, blob []byte) ([]v1alpha.Header, error) {
	parts := bytes.Count(blob, []byte{0})
	if len(blob) > 0 && (blob[len(blob)-1] != 0 || parts%2 != 0) {
		return nil, malformedBlob(field, blob)
	}
	if parts == 0 {
		return nil, nil
	}
	list, rest := make([]v1alpha.Header, 0, parts/2), string(blob)
	for rest != "" {
		var header v1alpha.Header
		header.Name, rest, _ = strings.Cut(rest, "\x00")
		header.Value, rest, _ = strings.Cut(rest, "\x00")
		list = append(list, header)
	}
	return list, nil
}

// nameList reads name NUL name NUL.
func nameList(field string, blob []byte) ([]string, error) {
	if len(blob) == 0 {
		return nil, nil
	}
	if blob[len(blob)-1] != 0 {
		return nil, malformedBlob(field, blob)
	}
	return strings.Split(string(blob[:len(blob)-1]), "\x00"), nil
}

func malformedBlob(field string, blob []byte) *v1alpha.Failure {
	return v1alpha.Failf(v1alpha.ClassBadAction, "expected %s of the action as name NUL value NUL …, got %.80q", field, blob)
}
