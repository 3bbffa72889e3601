// Package auditlog is the policy audit-log: it appends a line of JSON for each exchange to a file of the operator.
package auditlog

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"gatewright.dev/sdk/policy/v1alpha"
)

const (
	refuse = "refuse"
	never  = "never"
)

type policy struct {
	name     string // audit-log:v1.0.0
	file     *file
	recorder recorder
	begin    bool // also write a line before the request goes upstream
	refuses  bool // refuse exchanges whose line cannot be written
	lost     *v1alpha.Counter
	failing  atomic.Bool
}

// settings are an attachment's parameters.
type settings struct {
	File            string   `json:"file"`
	Begin           bool     `json:"begin"`
	RequestHeaders  []string `json:"requestHeaders"`
	ResponseHeaders []string `json:"responseHeaders"`
	OnFailure       string   `json:"onFailure"`
	Sync            string   `json:"sync"`
	HashChain       bool     `json:"hashChain"`
}

// operator has the operator's settings.
type operator struct {
	Folder          string   `json:"folder"`
	RedactedHeaders []string `json:"redactedHeaders"`
}

// GetPolicy builds an instance, and opens its file. The definition describes the parameters and their defaults.
func GetPolicy(metadata v1alpha.Metadata, params v1alpha.Params) (v1alpha.Policy, error) {
	var parsed settings
	if err := params.Decode(&parsed); err != nil {
		return nil, err
	}
	var system operator
	if err := metadata.SystemParams.Decode(&system); err != nil {
		return nil, fmt.Errorf("system parameters: %w", err)
	}
	interval, err := syncInterval(parsed.Sync)
	if err != nil {
		return nil, err
	}
	lost, err := metadata.Metrics.Counter("lines_lost_total", "Lines of the audit log that could not be written.", "api")
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(system.Folder) || parsed.File == "" || filepath.Base(parsed.File) != parsed.File {
		return nil, fmt.Errorf("expected an absolute folder and a file's name in it, got %q and %q", system.Folder, parsed.File)
	}
	opened, err := newFile(filepath.Join(system.Folder, parsed.File), interval, parsed.HashChain)
	if err != nil {
		return nil, fmt.Errorf("%w; the operator sets the folder by the system parameter folder of %s", err, metadata.PolicyName)
	}
	return &policy{
		name:     metadata.PolicyName + ":" + metadata.PolicyVersion,
		file:     opened,
		recorder: recorder{newNames(system.RedactedHeaders), parsed.RequestHeaders, parsed.ResponseHeaders},
		begin:    parsed.Begin,
		refuses:  parsed.OnFailure == refuse,
		lost:     lost,
	}, nil
}

// syncInterval returns the longest time until a line is on the disk: 0 for at once, negative if lines are not synced.
func syncInterval(text string) (time.Duration, error) {
	if text == never {
		return -1, nil
	}
	interval, err := time.ParseDuration(text)
	if err != nil || interval < 0 {
		return 0, fmt.Errorf("sync: expected never or a time like 0s or 500ms, got %q", text)
	}
	return interval, nil
}

// OnRequest appends a line if the parameter begin requires one before the request goes upstream.
func (p *policy) OnRequest(_ context.Context, req *v1alpha.RequestContext) (v1alpha.RequestAction, error) {
	if !p.begin {
		return nil, nil
	}
	return nil, p.append(p.recorder.request(req), req.APIName)
}

// OnResponse appends the exchange's line.
func (p *policy) OnResponse(_ context.Context, res *v1alpha.ResponseContext) (v1alpha.ResponseAction, error) {
	return nil, p.append(p.recorder.response(res), res.Request.APIName)
}

// append returns an error if the line could not be written and the exchange must not go on without it.
func (p *policy) append(line *entry, api string) error {
	err := p.file.append(line)
	if err == nil {
		if p.failing.Swap(false) {
			slog.Info("the audit log is written again", "policy", p.name, "api", api, "file", p.file.path)
		}
		return nil
	}
	p.lost.Inc(api)
	if !p.failing.Swap(true) {
		slog.Error("a line of the audit log could not be written", "policy", p.name, "api", api, "error", err.Error(), "refuses", p.refuses)
	}
	if p.refuses {
		return v1alpha.Failf(v1alpha.ClassUnavailable, "a line of the audit log could not be written: %v", err)
	}
	return nil
}

// Close syncs the file to the disk and closes it.
func (p *policy) Close() error { return p.file.close() }
