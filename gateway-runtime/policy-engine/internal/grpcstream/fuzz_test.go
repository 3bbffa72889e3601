package grpcstream_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"gatewright.dev/policy-engine/internal/await"
	"gatewright.dev/policy-engine/internal/grpcstream"
)

// FuzzConversation: with any bytes from a peer, in any pieces, and whether it reads the answers or not, the connection
// ends, no handler outlives it, and all answers to the peer keep the rules.
func FuzzConversation(f *testing.F) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	var running atomic.Int64
	h := serve(f, func(stream *grpcstream.Stream) error {
		running.Add(1)
		defer running.Add(-1)
		return echo(stream)
	})
	f.Fuzz(func(t *testing.T, script []byte) {
		sent := runScript(script)
		answer := h.exchangeBytes(t, sent, len(script)%2 == 0)
		judge(t, bytes.Join(sent, nil), answer)
		await.Until(t, "no handler outlives its connection", func() bool { return running.Load() == 0 })
	})
}

// exchangeBytes sends pieces to the server, and returns its answers. A slow peer reads only at the end.
func (h *host) exchangeBytes(t *testing.T, pieces [][]byte, slow bool) []byte {
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(await.Limit))
	var saying sync.WaitGroup
	saying.Go(func() {
		for _, piece := range pieces {
			_, err = conn.Write(piece)
			if err != nil { // it has heard enough
				return
			}
		}
		_ = conn.(*net.UnixConn).CloseWrite()
	})
	if slow {
		saying.Wait()
	}
	answer, failure := io.ReadAll(conn)
	saying.Wait()
	if errors.Is(errors.Join(err, failure), os.ErrDeadlineExceeded) {
		t.Fatal("expected an end, got none")
	}
	return answer
}

// ---------------------------------------------------------------- the peer's frames

// The actions of a script's peer. Smaller numbers are frames of any kind.
const (
	sayHeaders = 10 + iota
	sayOtherHeaders
	sayMessage
	sayAgain
	sayBytes
	sayAlone // in a piece of its own
	words
)

// maxScriptBytes bounds a conversation.
const maxScriptBytes = 1 << 20

var seeds = [][]byte{
	{},
	{sayHeaders, 4, 1, sayMessage, 0, 1, 20, sayMessage, 1, 1, 5},
	{sayHeaders, 4, 1, sayAlone, sayMessage, 0, 1, 200, byte(http2.FrameRSTStream), 0, 1, 4, 0, 0, 0, 8},
	{sayHeaders, 5, 1, sayOtherHeaders, 4, 3, byte(http2.FramePing), 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, sayAgain, 255},
	{byte(http2.FrameSettings), 0, 0, 6, 0, 4, 0, 0, 0, 1, sayHeaders, 4, 1, sayMessage, 0, 1, 20, byte(http2.FrameWindowUpdate), 0, 1, 4, 0, 0, 0, 1, sayAgain, 30},
	{byte(http2.FrameHeaders), 0, 1, 1, 0x83, byte(http2.FrameContinuation), 0, 1, 0, sayAgain, 255, sayAgain, 255, byte(http2.FrameContinuation), 4, 1, 0},
	{byte(http2.FrameHeaders), 44, 1, 12, 3, 0, 0, 0, 0, 16, 0x83, 0x86, 0x40, 0, 0, 0, byte(http2.FrameData), 9, 1, 4, 2, 0, 0, 0},
	{sayHeaders, 4, 1, byte(http2.FrameHeaders), 13, 1, 2, 9, 0},
	{byte(http2.FrameGoAway), 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, byte(http2.FramePriority), 0, 1, 5, 0, 0, 0, 0, 1, sayBytes, 3, 1, 2, 3},
}

// runScript returns the bytes that the script makes a peer send after the preface, in pieces.
func runScript(script []byte) (pieces [][]byte) {
	s := &scriptRunner{script: script, sent: []byte(http2.ClientPreface)}
	for len(s.script) > 0 && len(s.sent) < maxScriptBytes {
		before := len(s.sent)
		s.say(s.next())
		if len(s.sent) > before {
			s.last = s.sent[before:]
		}
	}
	from := 0
	for _, cut := range append(s.cuts, len(s.sent)) {
		pieces = append(pieces, s.sent[from:cut])
		from = cut
	}
	return pieces
}

// scriptRunner executes a script word by word.
type scriptRunner struct {
	script, sent, last []byte
	cuts               []int
}

func (s *scriptRunner) next() (b byte) {
	if len(s.script) > 0 {
		b, s.script = s.script[0], s.script[1:]
	}
	return b
}

func (s *scriptRunner) take(size int) []byte {
	size = min(size, len(s.script))
	taken := s.script[:size]
	s.script = s.script[size:]
	return taken
}

func (s *scriptRunner) say(word byte) {
	switch word %= words; word {
	case sayHeaders:
		s.frame(http2.FrameHeaders, s.next(), s.next(), literals(":method", "POST", ":path", method))
	case sayOtherHeaders:
		s.frame(http2.FrameHeaders, s.next(), s.next(), literals(":path", "/other"))
	case sayMessage:
		s.frame(http2.FrameData, s.next(), s.next(), message(string(make([]byte, 40*int(s.next())))))
	case sayAgain:
		s.sent = append(s.sent, bytes.Repeat(s.last, min(int(s.next()), maxScriptBytes/max(1, len(s.last))))...)
	case sayBytes:
		s.sent = append(s.sent, s.take(int(s.next()))...)
	case sayAlone:
		s.cuts = append(s.cuts, len(s.sent))
	default:
		s.frame(http2.FrameType(word), s.next(), s.next(), s.take(int(s.next())))
	}
}

func (s *scriptRunner) frame(kind http2.FrameType, flags, stream byte, payload []byte) {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))[1:]
	head = append(head, byte(kind), flags, 0, 0, 0, stream)
	s.sent = append(append(s.sent, head...), payload...)
}

// literals is a block of headers that leaves the table of headers alone.
func literals(namesAndValues ...string) (block []byte) {
	for at := 0; at < len(namesAndValues); at += 2 {
		block = append(block, 0)
		for _, text := range namesAndValues[at : at+2] {
			block = append(append(block, byte(len(text))), text...)
		}
	}
	return block
}

// ---------------------------------------------------------------- the server's answers

// received is the most that the server can have received.
type received struct {
	pings, settings int
	initial, frame  int64             // the largest that were allowed: a stream's window, a frame
	credit          map[uint32]int64  // by stream,
	data            map[uint32][]byte // of those that may have been opened
	bytes           int64             // of data
}

// parseFrames parses the peer's bytes as far as they are valid frames.
func parseFrames(sent []byte) received {
	h := received{initial: 64<<10 - 1, frame: frameLimit, credit: map[uint32]int64{}, data: map[uint32][]byte{}}
	frames := http2.NewFramer(nil, bytes.NewReader(sent[len(http2.ClientPreface):]))
	for {
		frame, err := frames.ReadFrame()
		if _, onlyOfStream := errors.AsType[http2.StreamError](err); onlyOfStream {
			continue
		}
		switch frame := frame.(type) {
		case nil:
			return h
		case *http2.PingFrame:
			h.pings++
		case *http2.SettingsFrame:
			h.settings++
			_ = frame.ForeachSetting(h.allow)
		case *http2.WindowUpdateFrame:
			h.credit[frame.StreamID] += int64(frame.Increment)
		case *http2.HeadersFrame:
			if _, opened := h.data[frame.StreamID]; !opened {
				h.data[frame.StreamID] = nil
			}
		case *http2.DataFrame:
			h.bytes += int64(frame.Length)
			h.data[frame.StreamID] = append(h.data[frame.StreamID], frame.Data()...)
		}
	}
}

func (h *received) allow(setting http2.Setting) error {
	switch setting.ID {
	case http2.SettingInitialWindowSize:
		h.initial = max(h.initial, int64(setting.Val))
	case http2.SettingMaxFrameSize:
		h.frame = max(h.frame, int64(setting.Val))
	}
	return nil
}

// judge checks an answer, with the framer and the decoder of golang.org/x/net.
func judge(t *testing.T, sent, answer []byte) {
	j := &judgement{t: t, received: parseFrames(sent), answers: map[uint32]*answered{}, fields: hpack.NewDecoder(4<<10, nil)}
	frames := http2.NewFramer(nil, bytes.NewReader(answer))
	frames.SetMaxReadFrameSize(uint32(min(j.received.frame, 1<<24-1)))
	for {
		frame, err := frames.ReadFrame()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // cut off within a frame where it does not read
			return
		}
		if err != nil {
			t.Fatalf("the answer breaks the rules: %v", err)
		}
		j.take(frame)
	}
}

// judgement is the content of an answer.
type judgement struct {
	t        *testing.T
	received received
	fields   *hpack.Decoder
	answers  map[uint32]*answered
	data     int64
	credit   int64
	gone     bool
}

type answered struct {
	data                 []byte
	opened, ended, reset bool
}

func (j *judgement) hold(kept bool, rule string, frame http2.Frame) {
	j.t.Helper()
	if !kept {
		j.t.Fatalf("expected %s, got %v", rule, frame)
	}
}

func (j *judgement) take(frame http2.Frame) {
	j.hold(!j.gone, "nothing after GOAWAY with a reason", frame)
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if frame.IsAck() {
			j.received.settings--
		}
		j.hold(j.received.settings >= 0, "no more acknowledgements than settings", frame)
	case *http2.PingFrame:
		j.received.pings--
		j.hold(frame.IsAck() && j.received.pings >= 0, "no more answers than pings", frame)
	case *http2.WindowUpdateFrame:
		j.takeCredit(frame)
	case *http2.GoAwayFrame:
		j.gone = true
		j.hold(frame.ErrCode != http2.ErrCodeNo, "a reason", frame)
	case *http2.HeadersFrame:
		j.takeHeaders(frame)
	case *http2.DataFrame:
		j.takeData(frame)
	case *http2.RSTStreamFrame:
		j.of(frame).reset = true
	default:
		j.hold(false, "no frame of this kind", frame)
	}
}

// of is the answer on a stream that the peer may have opened.
func (j *judgement) of(frame http2.Frame) *answered {
	id := frame.Header().StreamID
	_, opened := j.received.data[id]
	j.hold(opened, "a stream that was opened", frame)
	if j.answers[id] == nil {
		j.answers[id] = &answered{}
	}
	return j.answers[id]
}

func (j *judgement) takeCredit(frame *http2.WindowUpdateFrame) {
	if frame.StreamID != 0 {
		a := j.of(frame)
		j.hold(!a.ended, "no credit for a stream that has ended", frame)
		return
	}
	j.credit += int64(frame.Increment)
	j.hold(j.credit <= connectionWindow-(64<<10-1)+j.received.bytes, "no more credit than was used", frame)
}

func (j *judgement) takeHeaders(frame *http2.HeadersFrame) {
	a := j.of(frame)
	fields, err := j.fields.DecodeFull(frame.HeaderBlockFragment())
	j.hold(err == nil && frame.HeadersEnded(), "headers that can be decoded, in one frame", frame)
	j.hold(!a.ended && !a.reset && (!a.opened || frame.StreamEnded()), "headers, then trailers", frame)
	values := map[string]string{}
	for _, field := range fields {
		values[field.Name] = field.Value
	}
	j.hold(a.opened == (values[":status"] == ""), "a status of HTTP at the beginning", frame)
	j.hold(frame.StreamEnded() == (values["grpc-status"] != ""), "a status of gRPC at the end", frame)
	a.opened, a.ended = true, frame.StreamEnded()
}

func (j *judgement) takeData(frame *http2.DataFrame) {
	a := j.of(frame)
	a.data = append(a.data, frame.Data()...)
	j.data += int64(frame.Length)
	j.hold(a.opened && !a.ended && !a.reset, "data between headers and trailers", frame)
	j.hold(bytes.HasPrefix(j.received.data[frame.StreamID], a.data), "the bytes sent", frame)
	j.hold(j.data <= 64<<10-1+j.received.credit[0], "what the connection's window allows", frame)
	allowed := min(j.received.initial+j.received.credit[frame.StreamID], math.MaxInt32)
	j.hold(int64(len(a.data)) <= allowed, "what the stream's window allows", frame)
}
