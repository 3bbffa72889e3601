package grpcstream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"

	"gatewright.dev/policy-engine/internal/await"
)

// tester is the common part of testing.T and rapid.T.
type tester interface {
	rapid.TB
	Cleanup(func())
	Context() context.Context
}

// The defaults of HTTP/2, and the server's changes of them.
const (
	frameLimit       = 16 << 10
	firstWindow      = 16 << 10
	streamWindow     = 64 << 10
	connectionWindow = 8 << 20
)

// peer speaks HTTP/2 to a server, frame by frame. It describes the frames that it reads in words, so that tests read as
// transcripts, and fails if the server sends more than allowed.
type peer struct {
	*http2.Framer
	t       tester
	conn    net.Conn
	encoded bytes.Buffer
	encoder *hpack.Encoder
	decoder *hpack.Decoder

	ours, theirs windows
	unacked      [][]http2.Setting
	answers      map[uint32]*answer
}

// answer is the server's response on a stream.
type answer struct {
	data  []byte
	end   string // what the headers said that ended it
	reset bool
}

// connect makes a connection, on which neither side has sent yet.
func (h *host) connect(t tester) *peer {
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", h.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p := &peer{Framer: http2.NewFramer(conn, conn), t: t, conn: conn, ours: newWindows(), theirs: newWindows(), answers: map[uint32]*answer{}}
	p.check(conn.SetDeadline(time.Now().Add(await.Limit)))
	p.AllowIllegalWrites = true
	p.SetMaxReadFrameSize(frameLimit)
	p.encoder, p.decoder = hpack.NewEncoder(&p.encoded), hpack.NewDecoder(4<<10, nil)
	return p
}

// dial makes a connection, and exchanges the greetings.
func (h *host) dial(t tester, settings ...http2.Setting) *peer {
	p := h.connect(t)
	p.write(http2.ClientPreface)
	p.settings(settings...)
	p.expect("SETTINGS INITIAL_WINDOW_SIZE=16384", "WINDOW_UPDATE 0: 8323073", "SETTINGS ACK")
	return p
}

func (p *peer) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%v", err)
	}
}

// ---------------------------------------------------------------- sending

func (p *peer) write(text string) {
	_, err := p.conn.Write([]byte(text))
	p.check(err)
}

// block is the headers of a stream.
func (p *peer) block(path string) []byte {
	p.encoded.Reset()
	for _, field := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: path},
		{Name: ":authority", Value: "engine"}, {Name: "te", Value: "trailers"}, {Name: "content-type", Value: "application/grpc"},
	} {
		p.check(p.encoder.WriteField(field))
	}
	return bytes.Clone(p.encoded.Bytes())
}

func (p *peer) open(id uint32) { p.openAt(id, method, false) }

func (p *peer) openAt(id uint32, path string, ended bool) {
	p.opens(id)
	p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block(path), EndHeaders: true, EndStream: ended}))
}

// opens records that a stream is opened.
func (p *peer) opens(id uint32) {
	p.ours.open(id)
	p.theirs.open(id)
	p.answers[id] = &answer{}
}

// message is text as a message of gRPC.
func message(text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
}

func (p *peer) send(id uint32, text string) { p.data(id, message(text)) }

// data sends data, reading on while the server has to give credit first.
func (p *peer) data(id uint32, data []byte) {
	for len(data) > 0 {
		size := min(p.ours.room(id), frameLimit, len(data))
		if size <= 0 {
			p.read()
			continue
		}
		p.ours.spend(id, size)
		p.check(p.WriteData(id, false, data[:size]))
		data = data[size:]
	}
}

func (p *peer) end(id uint32)   { p.check(p.WriteData(id, true, nil)) }
func (p *peer) reset(id uint32) { p.check(p.WriteRSTStream(id, http2.ErrCodeCancel)) }

func (p *peer) trailers(id uint32) {
	p.encoded.Reset()
	p.check(p.encoder.WriteField(hpack.HeaderField{Name: "x-end", Value: "yes"}))
	p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encoded.Bytes(), EndHeaders: true, EndStream: true}))
}

func (p *peer) grant(id uint32, more int) {
	p.theirs.grant(id, more)
	p.check(p.WriteWindowUpdate(id, uint32(more)))
}

func (p *peer) settings(settings ...http2.Setting) {
	p.unacked = append(p.unacked, settings)
	p.check(p.WriteSettings(settings...))
}

func initialWindow(size int) http2.Setting {
	return http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(size)}
}

// ---------------------------------------------------------------- reading

// expect reads frames, which have to be these.
func (p *peer) expect(frames ...string) {
	p.t.Helper()
	for _, want := range frames {
		if got := p.read(); got != want {
			p.t.Fatalf("expected %s, got %s", want, got)
		}
	}
}

// until reads on until a frame comes.
func (p *peer) until(frame string) {
	p.t.Helper()
	for p.read() != frame {
	}
}

// quiet fails if the server sends a frame before it has read everything so far.
func (p *peer) quiet() {
	p.t.Helper()
	p.check(p.WritePing(false, [8]byte{'q'}))
	p.expect("PING ACK: q")
}

// settle reads the server's frames until it has read everything so far.
func (p *peer) settle() {
	p.t.Helper()
	p.check(p.WritePing(false, [8]byte{'s'}))
	p.until("PING ACK: s")
}

// exchange has a stream that is open echo a message, and ends it.
func (p *peer) exchange(id uint32, text string) {
	p.t.Helper()
	p.send(id, text)
	p.expect(opened(id), fmt.Sprintf("DATA %d: %s", id, text))
	p.end(id)
	p.expect(done(id))
}

func opened(id uint32) string {
	return fmt.Sprintf("HEADERS %d: :status=200, content-type=application/grpc", id)
}

func done(id uint32) string { return fmt.Sprintf("HEADERS %d END: grpc-status=0", id) }

// closed fails unless the server has closed the connection.
func (p *peer) closed() {
	p.t.Helper()
	if frame, err := p.ReadFrame(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("expected the connection to be closed, got %v, %v", frame, err)
	}
}

// read reads a frame, and describes it in words.
func (p *peer) read() string {
	p.t.Helper()
	frame, err := p.ReadFrame()
	if err != nil {
		p.t.Fatalf("expected a frame, got %v", err)
	}
	head := frame.Header()
	id := head.StreamID
	switch frame := frame.(type) {
	case *http2.DataFrame:
		return fmt.Sprintf("DATA %d: %s", id, p.readData(id, frame.Data()))
	case *http2.HeadersFrame:
		return p.readHeaders(frame)
	case *http2.RSTStreamFrame:
		p.answer(id).reset = true
		return fmt.Sprintf("RST_STREAM %d: %v", id, frame.ErrCode)
	case *http2.SettingsFrame:
		return p.readSettings(frame)
	case *http2.PingFrame:
		return fmt.Sprintf("PING%s: %s", ifSet(frame.IsAck(), " ACK"), bytes.TrimRight(frame.Data[:], "\x00"))
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d: %v", frame.LastStreamID, frame.ErrCode)
	case *http2.WindowUpdateFrame:
		return p.readCredit(id, int(frame.Increment))
	}
	return head.String()
}

// answer returns the response on a stream that was opened.
func (p *peer) answer(id uint32) *answer {
	p.t.Helper()
	if p.answers[id] == nil {
		p.t.Fatalf("something came on stream %d, which was never opened", id)
	}
	return p.answers[id]
}

func ifSet(set bool, text string) string {
	if set {
		return text
	}
	return ""
}

// readData describes data as the text of one message, if it is one.
func (p *peer) readData(id uint32, data []byte) string {
	p.theirs.spend(id, len(data))
	if p.theirs.room(id) < 0 {
		p.t.Fatalf("stream %d: %d bytes came, %d more than there was credit for", id, len(data), -p.theirs.room(id))
	}
	a := p.answer(id)
	if a.end != "" || a.reset {
		p.t.Fatalf("stream %d: data came after its end", id)
	}
	a.data = append(a.data, data...)
	if len(data) >= 5 && bytes.Equal(data, message(string(data[5:]))) && len(data) < 100 {
		return string(data[5:])
	}
	return fmt.Sprintf("%d bytes", len(data))
}

func (p *peer) readHeaders(frame *http2.HeadersFrame) string {
	fields, err := p.decoder.DecodeFull(frame.HeaderBlockFragment())
	p.check(err)
	var lines []string
	for _, field := range fields {
		lines = append(lines, field.Name+"="+field.Value)
	}
	text := strings.Join(lines, ", ")
	if !frame.StreamEnded() {
		return fmt.Sprintf("HEADERS %d: %s", frame.StreamID, text)
	}
	p.answer(frame.StreamID).end = text
	return fmt.Sprintf("HEADERS %d END: %s", frame.StreamID, text)
}

func (p *peer) readCredit(id uint32, more int) string {
	p.ours.grant(id, more)
	if p.ours.connection > connectionWindow || p.ours.streams[id] > streamWindow {
		p.t.Fatalf("stream %d: more credit was given than was used", id)
	}
	return fmt.Sprintf("WINDOW_UPDATE %d: %d", id, more)
}

// readSettings reads the server's settings, or its acknowledgement of the peer's: only then it must keep them.
func (p *peer) readSettings(frame *http2.SettingsFrame) string {
	if !frame.IsAck() {
		size, _ := frame.Value(http2.SettingInitialWindowSize)
		p.ours.resize(int(size))
		_ = p.WriteSettingsAck() // what a server sent before it closed is still read
		return fmt.Sprintf("SETTINGS INITIAL_WINDOW_SIZE=%d", size)
	}
	for _, setting := range p.unacked[0] {
		switch setting.ID {
		case http2.SettingInitialWindowSize:
			p.theirs.resize(int(setting.Val))
		case http2.SettingMaxFrameSize:
			p.SetMaxReadFrameSize(setting.Val)
		}
	}
	p.unacked = p.unacked[1:]
	return "SETTINGS ACK"
}

// ---------------------------------------------------------------- windows

// windows are the bytes of data that one side may still send.
type windows struct {
	connection, initial int
	streams             map[uint32]int
}

func newWindows() windows {
	return windows{connection: 64<<10 - 1, initial: 64<<10 - 1, streams: map[uint32]int{}}
}

func (w *windows) open(id uint32)     { w.streams[id] = w.initial }
func (w *windows) room(id uint32) int { return min(w.connection, w.streams[id]) }

func (w *windows) spend(id uint32, size int) {
	w.connection -= size
	w.streams[id] -= size
}

func (w *windows) grant(id uint32, more int) {
	if id == 0 {
		w.connection += more
	} else {
		w.streams[id] += more
	}
}

func (w *windows) resize(initial int) {
	for id := range w.streams {
		w.streams[id] += initial - w.initial
	}
	w.initial = initial
}
