package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"google.golang.org/grpc/grpclog"
)

const (
	component         = "policy-engine"
	executorComponent = "python-executor"
)

// logTime is RFC 3339 with milliseconds; the time is in UTC.
const logTime = "2006-01-02T15:04:05.000Z"

// newLogger writes JSON lines that begin with time, level (debug, info, warning, error), component and message. The
// supervisor passes lines in this form on unchanged.
func newLogger(to io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level, ReplaceAttr: rewriteAttr}))
}

func rewriteAttr(groups []string, attr slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return attr
	}
	switch attr.Key {
	case slog.TimeKey:
		if attr.Value.Kind() == slog.KindTime {
			attr.Value = slog.StringValue(attr.Value.Time().UTC().Format(logTime))
		}
	case slog.MessageKey:
		attr.Key = "message"
	case slog.LevelKey:
		if level, ok := attr.Value.Any().(slog.Level); ok {
			// A group without a name is written as its members, which puts the component before the message.
			return slog.Attr{Value: slog.GroupValue(slog.String(slog.LevelKey, levelName(level)), slog.String("component", component))}
		}
	}
	return attr
}

func levelName(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "error"
	case level >= slog.LevelWarn:
		return "warning"
	case level >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

// levelFlag is a flag.Value: debug, info, warning or error.
type levelFlag struct{ level *slog.Level }

func (l levelFlag) String() string {
	if l.level == nil {
		return ""
	}
	return levelName(*l.level)
}

func (l levelFlag) Set(text string) error {
	level, err := parseLevel(text)
	if err == nil {
		*l.level = level
	}
	return err
}

func parseLevel(text string) (slog.Level, error) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if levelName(level) == text {
			return level, nil
		}
	}
	return 0, fmt.Errorf("expected debug, info, warning or error, got %q", text)
}

// setLogLevel changes the log level of a component: the engine itself, or all its executors.
func (e *Engine) setLogLevel(ctx context.Context, componentName, text string) error {
	level, err := parseLevel(text)
	switch {
	case err != nil:
		return err
	case componentName == executorComponent:
		return e.groups.SetLogLevel(ctx, text)
	case componentName != component:
		return fmt.Errorf("expected the component %s or %s, got %q", component, executorComponent, componentName)
	case e.options.LogLevel == nil:
		return errors.New("this engine logs to the logger of the program that started it; change the level there")
	}
	e.options.LogLevel.Set(level)
	e.options.Log.Info("log level changed", "to", text)
	return nil
}

// logGRPC turns the errors that grpc-go writes to stderr as text into lines of log.
func logGRPC(log *slog.Logger) {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, grpcErrors{log}))
}

type grpcErrors struct{ log *slog.Logger }

func (g grpcErrors) Write(line []byte) (int, error) {
	g.log.Error("grpc", "error", strings.TrimSpace(string(line)))
	return len(line), nil
}
