package extproc

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"gatewright.dev/policy-engine/gen/envoynames"
	"gatewright.dev/policy-engine/internal/chain"
	"gatewright.dev/policy-engine/internal/extproc/demux"
	"gatewright.dev/sdk/policy/v1alpha"
)

// incoming is the part of a ProcessingRequest that the engine reads. Other fields are not decoded.
type incoming struct {
	demux.Message
	requestAttributes

	token                     string // that the client has presented to have its exchange traced
	requestMode, responseMode filterv3.ProcessingMode_BodySendMode
}

// requestAttributes are those that Envoy sends with the first message.
type requestAttributes struct {
	route, client string
	cluster       string // of the upstream whose answer comes; of attempts alone
	certificate   string // the client's, if its listener requests one
	minor         int    // of the version of an Envoy that is not the node's own; 0: unknown
}

// find returns the place of an attribute's value; nil if the engine does not read it.
func (a *requestAttributes) find(name string) *string {
	switch name {
	case envoynames.RouteNameAttribute:
		return &a.route
	case envoynames.ClientAddressAttribute:
		return &a.client
	case envoynames.ClusterNameAttribute:
		return &a.cluster
	case envoynames.PeerAttribute:
		return &a.certificate
	}
	return nil
}

// The fields of ProcessingRequest.
const (
	requestHeaders   = 2<<3 + bytesField
	responseHeaders  = 3<<3 + bytesField
	requestBody      = 4<<3 + bytesField
	responseBody     = 5<<3 + bytesField
	requestTrailers  = 6<<3 + bytesField
	responseTrailers = 7<<3 + bytesField
	metadataTag      = 8<<3 + bytesField
	attributesTag    = 9<<3 + bytesField
	protocolConfig   = 11<<3 + bytesField
)

// kindOf is the kind of message that a field of ProcessingRequest carries; Nothing for other fields.
func kindOf(t tag) demux.Kind {
	switch t {
	case requestHeaders:
		return demux.RequestHeaders
	case responseHeaders:
		return demux.ResponseHeaders
	case requestBody:
		return demux.RequestBody
	case responseBody:
		return demux.ResponseBody
	case requestTrailers:
		return demux.RequestTrailers
	case responseTrailers:
		return demux.ResponseTrailers
	}
	return demux.Nothing
}

// Parsers differ in which of two values counts, so two are refused.
var (
	errTwoRequests = errors.New("ext_proc: expected one request in a message, got two")
	errTwoValues   = errors.New("ext_proc: expected one value for a key, got two")
)

// decode reads a message. The result shares the message's memory.
func (m *incoming) decode(message []byte) error {
	*m = incoming{}
	for len(message) > 0 {
		f, err := consumeField(&message)
		if err == nil {
			err = m.decodeField(f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *incoming) decodeField(f field[[]byte]) error {
	switch f.tag {
	case metadataTag:
		return m.decodeMetadata(textOf(f.value))
	case attributesTag:
		return m.decodeAttributes(textOf(f.value))
	case protocolConfig:
		return m.decodeModes(f.value)
	}
	kind := kindOf(f.tag)
	switch {
	case kind == demux.Nothing:
		return nil
	case m.Kind != demux.Nothing:
		return errTwoRequests
	}
	m.Kind = kind
	switch kind {
	case demux.RequestHeaders, demux.ResponseHeaders:
		return m.decodeHeaders(textOf(f.value))
	case demux.RequestBody, demux.ResponseBody:
		return m.decodePiece(f.value)
	default:
		m.Trailers = textOf(f.value)
		return nil
	}
}

// decodeTrailers reads HttpTrailers; nil if there are none.
func decodeTrailers(text string) (v1alpha.Headers, error) {
	const trailers = 1<<3 + bytesField
	head := chain.Head{}
	for text != "" {
		f, err := consumeField(&text)
		if err == nil && f.tag == trailers {
			err = decodeHeaderMap(&head, f.value)
		}
		if err != nil {
			return nil, err
		}
	}
	return head.Headers, nil
}

// textOf returns a part of the message as text, without a copy: a received message is never changed.
func textOf(part []byte) string { return unsafe.String(unsafe.SliceData(part), len(part)) } //nolint:gosec // see above

// decodeHeaders reads HttpHeaders. The headers share the text.
func (m *incoming) decodeHeaders(text string) error {
	const headers, endOfStream = 1<<3 + bytesField, 3<<3 + varintField
	for text != "" {
		f, err := consumeField(&text)
		switch {
		case err != nil:
			return err
		case f.tag == headers:
			err = decodeHeaderMap(&m.Head, f.value)
		case f.tag == endOfStream:
			m.Ended = f.number != 0
		}
		if err != nil {
			return err
		}
	}
	m.Head.Ended = m.Ended
	return nil
}

// decodeHeaderMap reads a HeaderMap.
func decodeHeaderMap(head *chain.Head, text string) error {
	const headers = 1<<3 + bytesField
	if head.Headers == nil {
		head.Headers = make(v1alpha.Headers, 0, countFields(text))
	}
	for text != "" {
		f, err := consumeField(&text)
		if err != nil {
			return err
		}
		if f.tag != headers {
			continue
		}
		line, err := decodeHeader(f.value)
		if err != nil {
			return err
		}
		addHeader(head, line)
	}
	return nil
}

// countFields returns the number of fields up to the first that cannot be read.
func countFields(text string) (count int) {
	for text != "" {
		if _, err := consumeField(&text); err != nil {
			return count
		}
		count++
	}
	return count
}

// decodeHeader reads a HeaderValue. Envoy sends every value as bytes, in raw_value.
func decodeHeader(text string) (line v1alpha.Header, err error) {
	const key, value, rawValue = 1<<3 + bytesField, 2<<3 + bytesField, 3<<3 + bytesField
	for text != "" {
		f, err := consumeField(&text)
		switch {
		case err != nil:
			return line, err
		case (f.tag == key || f.tag == value) && !utf8.ValidString(f.value):
			return line, errNotUTF8
		case f.tag == key:
			line.Name = f.value
		case f.tag == rawValue:
			line.Value = f.value
		}
	}
	return line, nil
}

func addHeader(head *chain.Head, line v1alpha.Header) {
	switch line.Name {
	case ":method":
		head.Method = line.Value
	case ":path":
		head.Path = line.Value
	case ":authority":
		head.Authority = line.Value
	case ":scheme":
		head.Scheme = line.Value
	case ":status":
		head.Status, _ = strconv.Atoi(line.Value) // Envoy has checked it
	default:
		head.Headers = append(head.Headers, line)
	}
}

// decodePiece reads HttpBody.
func (m *incoming) decodePiece(message []byte) error {
	const body, endOfStream = 1<<3 + bytesField, 2<<3 + varintField
	for len(message) > 0 {
		f, err := consumeField(&message)
		switch {
		case err != nil:
			return err
		case f.tag == body:
			m.Piece = f.value
		case f.tag == endOfStream:
			m.Ended = f.number != 0
		}
	}
	return nil
}

// decodeModes reads ProtocolConfiguration.
func (m *incoming) decodeModes(message []byte) error {
	const requestBodyMode, responseBodyMode = 1<<3 + varintField, 2<<3 + varintField
	for len(message) > 0 {
		f, err := consumeField(&message)
		switch {
		case err != nil:
			return err
		case f.tag == requestBodyMode:
			m.requestMode = filterv3.ProcessingMode_BodySendMode(f.number)
		case f.tag == responseBodyMode:
			m.responseMode = filterv3.ProcessingMode_BodySendMode(f.number)
		}
	}
	return nil
}

// decodeAttributes reads an entry of the attributes: the filter's name, and a Struct of strings. The last entry counts.
func (m *incoming) decodeAttributes(text string) error {
	const fields = 1<<3 + bytesField
	m.requestAttributes = requestAttributes{}
	_, group, err := decodeEntry(text)
	for err == nil && group != "" {
		var f field[string]
		if f, err = consumeField(&group); err == nil && f.tag == fields {
			err = m.decodeAttribute(f.value)
		}
	}
	return err
}

func (m *incoming) decodeAttribute(text string) error {
	name, value, err := decodeEntry(text)
	if attribute := m.find(name); err == nil && attribute != nil {
		*attribute, err = decodeString(value)
	} else if err == nil && name == envoynames.EnvoyMinorAttribute {
		var minor float64
		_, minor, err = decodeScalar(value)
		m.minor = toMinor(minor)
	}
	return err
}

// toMinor returns a number that can be a part of a version; otherwise 0.
func toMinor(number float64) int {
	if number >= 0 && number < 1e6 {
		return int(number)
	}
	return 0
}

// decodeEntry reads an entry of a map from text to messages.
func decodeEntry(text string) (key, message string, err error) {
	const keyTag, valueTag = 1<<3 + bytesField, 2<<3 + bytesField
	for valued := false; text != ""; {
		f, err := consumeField(&text)
		switch {
		case err != nil:
			return "", "", err
		case f.tag == keyTag && !utf8.ValidString(f.value):
			return "", "", errNotUTF8
		case f.tag == keyTag:
			key = f.value
		case f.tag == valueTag && valued:
			return "", "", errTwoValues
		case f.tag == valueTag:
			message, valued = f.value, true
		}
	}
	return key, message, nil
}

// decodeString reads a Value (google.protobuf): its string, or "" if it is of another kind.
func decodeString(text string) (string, error) {
	value, _, err := decodeScalar(text)
	return value, err
}

// decodeScalar reads a Value: its string or its number. Values of other kinds are neither.
func decodeScalar(text string) (value string, number float64, err error) {
	const nullValue, numberValue, stringValue = 1<<3 + varintField, 2<<3 + fixed64Field, 3<<3 + bytesField
	const boolValue, structValue, listValue = 4<<3 + varintField, 5<<3 + bytesField, 6<<3 + bytesField
	for text != "" {
		f, err := consumeField(&text)
		if err != nil {
			return "", 0, err
		}
		switch f.tag {
		case stringValue:
			if value, number = f.value, 0; !utf8.ValidString(value) {
				return "", 0, errNotUTF8
			}
		case numberValue:
			value, number = "", math.Float64frombits(binary.LittleEndian.Uint64([]byte(f.value)))
		case nullValue, boolValue, structValue, listValue:
			value, number = "", 0
		}
	}
	return value, number, nil
}
