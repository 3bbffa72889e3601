// Package logmessage is the policy log-message: one structured log line for each request, and one for its response.
package logmessage

import (
	"cmp"
	"context"
	"log/slog"

	"gatewright.dev/sdk/policy/v1alpha"
)

// policy logs to slog's default logger, which the engine configures.
type policy struct {
	message string
	name    string // log-message:v1.0.0
}

// GetPolicy builds an instance. Parameters: {"message": TEXT}, by default "request".
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var p struct {
		Message string `json:"message"`
	}
	if err := params.Decode(&p); err != nil {
		return nil, err
	}
	return &policy{cmp.Or(p.Message, "request"), metadata.PolicyName + ":" + metadata.PolicyVersion}, nil
}

// OnRequest logs the request.
func (p *policy) OnRequest(ctx context.Context, r *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	slog.LogAttrs(ctx, slog.LevelInfo, p.message, append(p.attributes("request", r), slog.String("authority", r.Authority))...)
	return nil, nil
}

// OnResponse logs the response's status, with the request it belongs to.
func (p *policy) OnResponse(ctx context.Context, r *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	slog.LogAttrs(ctx, slog.LevelInfo, p.message, append(p.attributes("response", r.Request), slog.Int("status", r.StatusCode))...)
	return nil, nil
}

func (p *policy) attributes(phase string, r *v1alpha.RequestContext) []slog.Attr {
	return []slog.Attr{
		slog.String("policy", p.name), slog.String("phase", phase), slog.String("requestId", r.RequestID),
		slog.String("method", r.Method), slog.String("path", r.Path), slog.String("api", r.APIName),
	}
}

// Close does nothing.
func (*policy) Close() error { return nil }

// NeverBlocks marks a policy that never waits.
func (*policy) NeverBlocks() {}
