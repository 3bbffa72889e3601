package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"
)

// framesExecutor answers each execution of each frame with the execution's own bytes, like the fastest possible executor.
func framesExecutor(_ any, stream grpc.ServerStream) error {
	for acknowledged := uint64(1); ; acknowledged++ {
		var frame []byte
		if err := stream.RecvMsg(&frame); err != nil {
			return nil //nolint:nilerr // the end of the stream
		}
		time.Sleep(answerDelay)
		reply := protowire.AppendVarint(protowire.AppendTag(nil, replyAcknowledged, protowire.VarintType), acknowledged)
		_ = fields(frame, func(number protowire.Number, _ uint64, data []byte) {
			answer := protowire.Number(replyInstances)
			if number == frameOfExecutions {
				answer = replyActions
			}
			reply = protowire.AppendBytes(protowire.AppendTag(reply, answer, protowire.BytesType), data)
		})
		if err := stream.SendMsg(&reply); err != nil {
			return err
		}
	}
}

func echoExecutor(_ any, stream grpc.ServerStream) error {
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			return nil //nolint:nilerr // the end of the stream
		}
		time.Sleep(answerDelay)
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

// serveExecutor serves in memory until the test ends.
func serveExecutor(t *testing.T, handler grpc.StreamHandler) dialer {
	t.Helper()
	listener := bufconn.Listen(window)
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(handler))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return listener.DialContext(ctx) }
}

func writeFile(t *testing.T, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func executions(t *testing.T, handler grpc.StreamHandler, more ...string) result {
	t.Helper()
	message := protowire.AppendString(protowire.AppendTag(nil, 9, protowire.BytesType), "x-wanted")
	arguments := append([]string{"-socket", "passthrough:///in.memory", "-method", "/s/m", "-message", writeFile(t, message),
		"-in-flight", "8", "-warmup", "10ms", "-duration", "100ms"}, more...)
	p, err := parseExecutionsPlan(arguments)
	if err != nil {
		t.Fatal(err)
	}
	p.dial = serveExecutor(t, handler)
	var out bytes.Buffer
	if err := execute(t.Context(), p, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitN(out.String(), "\n", 3)
	if lines[0] != "begin" || lines[1] != "end" {
		t.Fatalf("expected begin and end before the result, got %q", out.String())
	}
	var printed result
	if err := json.Unmarshal([]byte(lines[2]), &printed); err != nil {
		t.Fatal(err)
	}
	return printed
}

func TestExecutions(t *testing.T) {
	configure := writeFile(t, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil))
	for name, c := range map[string]struct {
		handler grpc.StreamHandler
		more    []string
		count   int
	}{
		"one message each": {echoExecutor, nil, 100},
		"frames":           {framesExecutor, []string{"-configure", configure}, 8 * 100},
		"an open loop":     {echoExecutor, []string{"-rate", "500"}, 50},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := executions(t, c.handler, append(c.more, "-expect", "x-wanted")...)
				if got.Count != c.count || got.Failures != 0 {
					t.Errorf("expected %d right answers, got %+v", c.count, got)
				}
			})
		})
	}
}

func TestExecutionsWithAWrongAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := executions(t, echoExecutor, "-expect", "x-other")
		if got.Count != 0 || got.Failures == 0 || !strings.Contains(got.FirstFailure, `expected "x-other" in the answer`) {
			t.Errorf("expected wrong answers only, got %+v", got)
		}
	})
}
