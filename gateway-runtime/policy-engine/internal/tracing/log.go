package tracing

import (
	"context"
	"encoding/hex"
	"log/slog"
)

// Handler adds the trace to log lines that name the request of a traced exchange that is
// under way. Log lines are rare and exchanges frequent, so the trace is looked up here.
func (t *Tracing) Handler(next slog.Handler) slog.Handler { return &handler{next, t} }

type handler struct {
	slog.Handler
	tracing *Tracing
}

func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	record.Attrs(func(attribute slog.Attr) bool {
		if attribute.Key != "requestId" {
			return true
		}
		if traced, ok := h.tracing.active.Load(attribute.Value.String()); ok {
			current := traced.(*tracedExchange).trace
			record = record.Clone()
			record.AddAttrs(slog.String("traceId", hex.EncodeToString(current.ID[:])), slog.String("spanId", hex.EncodeToString(current.Exchange[:])))
		}
		return false
	})
	return h.Handler.Handle(ctx, record)
}

func (h *handler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attributes), h.tracing}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.tracing}
}
