package redaction

import (
	"bufio"
	"bytes"
	"mime"
	"net/textproto"
	"strings"
)

// multipart redacts a form in parts (RFC 7578). A part whose header is truncated or cannot be parsed is removed.
func (l *List) multipart(boundary string, body []byte) ([]byte, int) {
	delimiter := []byte("--" + boundary)
	if boundary == "" || !bytes.HasPrefix(body, delimiter) {
		return []byte(Mark), 1
	}
	var shown []byte
	total := 0
	for len(body) > 0 {
		body = body[len(delimiter):]
		shown = append(shown, delimiter...)
		end := bytes.Index(body, append([]byte("\r\n"), delimiter...))
		rest := []byte{}
		if end >= 0 {
			rest, body = body[end+2:], body[:end+2]
		}
		part, count := l.part(body, end < 0)
		shown, total = append(shown, part...), total+count
		body = rest
	}
	return shown, total
}

// part redacts the content between two delimiters.
func (l *List) part(raw []byte, last bool) ([]byte, int) {
	if last && (len(raw) < 2 || bytes.HasPrefix(raw, []byte("--"))) { // the end, or truncated within the delimiter's line
		return raw[:min(len(raw), 4)], 0
	}
	head, content, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.TrimPrefix(head, []byte("\r\n")), "\r\n\r\n"...)))).ReadMIMEHeader()
	_, parameters, dispositionErr := mime.ParseMediaType(header.Get("Content-Disposition"))
	name, hasName := parameters["name"]
	if !found || err != nil || dispositionErr != nil || !hasName {
		return []byte("\r\n" + Mark + "\r\n"), 1
	}
	newline := ""
	if !last {
		content, newline = bytes.TrimSuffix(content, []byte("\r\n")), "\r\n"
	}
	begin := append(bytes.Clone(head), "\r\n\r\n"...)
	if isSecretName(name, l.formField) {
		return append(begin, Mark+newline...), 1
	}
	kind := header.Get("Content-Type")
	if strings.HasPrefix(strings.ToLower(kind), "multipart/") {
		return append(begin, Mark+newline...), 1
	}
	shown, count := l.Body(kind, content)
	return append(append(begin, shown...), newline...), count
}
