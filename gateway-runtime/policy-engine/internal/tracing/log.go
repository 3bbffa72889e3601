package tracing

import (
	"context"
	"encoding/hex"
	"log/slog"
)

// Handler is a log's that says of which trace a line is, where the line names the request of a traced exchange that is
// under way. Lines are few, and exchanges many: so it is looked up here, and stands in no exchange.
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
			made := traced.(*tracedExchange).trace
			record = record.Clone()
			record.AddAttrs(slog.String("traceId", hex.EncodeToString(made.ID[:])), slog.String("spanId", hex.EncodeToString(made.Exchange[:])))
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
