package extproc

import (
	"bytes"
	"encoding/json"
)

// firstEvent finds the first event of an event stream (WHATWG HTML, 9.2), however the stream is cut, and whether it is an
// error: an event named `error`, or one whose data is a JSON object with an `error` or the type `error`. Comments, and
// events without data that have another name, are passed over.
type firstEvent struct {
	text   []byte // of the line that has not ended
	name   []byte
	data   []byte
	begun  bool // the stream's first line has been read
	cr     bool // the last line ended with CR: an LF behind it belongs to that end
	failed bool // the first event is an error
}

// add reads a piece. It reports whether the first event is known.
func (e *firstEvent) add(piece []byte) bool {
	for len(piece) > 0 {
		if e.cr && piece[0] == '\n' {
			piece = piece[1:]
		}
		e.cr = false
		end := bytes.IndexAny(piece, "\r\n")
		if end < 0 {
			e.text = append(e.text, piece...)
			return false
		}
		line := append(e.text, piece[:end]...) //nolint:gocritic // e.text begins anew below
		e.cr = piece[end] == '\r'
		piece = piece[end+1:]
		e.text = e.text[:0]
		if e.line(line) {
			return true
		}
	}
	return false
}

// end reports whether the stream, which has ended, has an error for its first event; a blank line may be missing.
func (e *firstEvent) end() bool {
	return e.line(e.text) && e.failed || e.line(nil) && e.failed
}

// line reads a whole line. It reports whether an event has ended with it.
func (e *firstEvent) line(line []byte) bool {
	if !e.begun {
		line, e.begun = bytes.TrimPrefix(line, []byte("\ufeff")), true
	}
	if len(line) == 0 {
		return e.dispatch()
	}
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "event":
		e.name = bytes.Clone(value)
	case "data":
		e.data = append(append(e.data, value...), '\n')
	}
	return false
}

func (e *firstEvent) dispatch() bool {
	if len(e.data) == 0 && string(e.name) != "error" {
		e.name = nil
		return false
	}
	e.failed = string(e.name) == "error" || isError(e.data)
	return true
}

// isError reports whether the data of an event is an error.
func isError(data []byte) bool {
	var event struct {
		Type  any             `json:"type"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &event) != nil {
		return false
	}
	return event.Type == "error" || len(event.Error) > 0 && string(event.Error) != "null"
}
