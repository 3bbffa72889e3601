package engine

import (
	"io"
	"log/slog"
	"strings"

	"google.golang.org/grpc/grpclog"
)

// newLogger writes JSON lines with time, level, component and message.
func newLogger(to io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level, ReplaceAttr: ownKeys})).With("component", "policy-engine")
}

func ownKeys(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return attr
	}
	switch attr.Key {
	case slog.MessageKey:
		attr.Key = "message"
	case slog.LevelKey:
		attr.Value = slog.StringValue(strings.ToLower(attr.Value.String()))
	}
	return attr
}

// logGRPC turns the errors that grpc-go writes to stderr as text into lines of log.
func logGRPC(log *slog.Logger) {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, grpcErrors{log}))
}

type grpcErrors struct{ log *slog.Logger }

func (g grpcErrors) Write(line []byte) (int, error) {
	g.log.Error("grpc", "text", strings.TrimSpace(string(line)))
	return len(line), nil
}
